"""Smoothed networks: the noise, the votes, and what a shift of the input can change."""

from math import exp, pi, sqrt
from statistics import NormalDist

from leaderboard.field.pictures._svg import Drawing, Point, between, picture, steps

NORMAL = NormalDist()
P = 0.8
"""The class probability at the example in several pictures."""


def density(t: float, mean: float = 0.0) -> float:
    """The standard Gaussian density around `mean`."""
    return exp(-((t - mean) ** 2) / 2) / sqrt(2 * pi)


JAGGED: tuple[Point, ...] = (
    *((-3, 0.9), (-2.2, 0.2), (-1.7, 1.3), (-1.1, 0.45), (-0.7, 1.5), (-0.1, 0.35)),
    *((0.3, 1.15), (0.9, 0.1), (1.3, 0.9), (1.9, -0.1), (2.4, 0.55), (3, -0.4)),
)


def jagged(t: float) -> float:
    """The decision boundary of a base network: the label's class lies below."""
    return between(JAGGED, t)


SCALE = 0.45
"""σ of the noise around the jagged region."""


def label_probability(point: Point) -> float:
    """P(the noisy input lies below `jagged`): one entry of the noise exactly, one by quantiles."""
    offsets = [SCALE * NORMAL.inv_cdf((k + 0.5) / 80) for k in range(80)]
    heights = [jagged(min(max(point[0] + offset, -3.0), 3.0)) for offset in offsets]
    return sum(NORMAL.cdf((height - point[1]) / SCALE) for height in heights) / len(heights)


def smoothed_boundary(t: float) -> float:
    """Where the smoothed network changes its answer above `t`: one half, by bisection."""
    low, high = -1.0, 2.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if label_probability((t, middle)) > 0.5 else (low, middle)
    return low


@picture(
    "smoothed-region",
    "A base network's decision region, and the smoothed network's",
    "The shaded region is where the base network gives the label's class. The smoothed network "
    "asks what it answers most often under the noise around x (circles: one and two σ): its "
    "boundary (thick) is smooth, and the coloured ball is certified for it, though not for the "
    "base network.",
)
def smoothed_region(drawing: Drawing) -> None:
    """The boundary where half of the Gaussian noise falls into the class."""
    panel = drawing.panel((0, 0, 360, 220), (-2.6, 2.6), (-1.85, 1.33))
    edge: list[Point] = [(t, min(jagged(t), 1.33)) for t in steps(-2.6, 2.6, 130)]
    panel.area([(-2.6, -1.85), *edge, (2.6, -1.85)], "open")
    panel.line(edge, "soft")
    panel.line([(t, smoothed_boundary(t)) for t in steps(-2.6, 2.6, 52)], "accent")
    x = (0.0, -0.35)
    radius = SCALE * NORMAL.inv_cdf(label_probability(x))
    panel.circle(x, radius, "proved", "proved")
    for deviations in (1, 2):
        panel.circle(x, deviations * SCALE, "soft")
    panel.dot(x)
    panel.text(x, "x", "ink", "end", -5)
    panel.text((0, -1.6), "r = σ Φ⁻¹(p)", "proved", dy=4)


@picture(
    "confidence",
    "A class probability and its lower confidence bound",
    "The class won 930 of 1,000 samples. The true probability is not known, but with probability"
    " 99.9 % it is above the one-sided Clopper–Pearson bound 0.901; as this is above one half, a"
    " radius follows.",
)
def confidence(drawing: Drawing) -> None:
    """Estimate, lower bound and one half on one axis."""
    panel = drawing.panel((24, 20, 312, 170), (0.4, 1.02), (0, 1))
    panel.line([(0.4, 0.4), (1.0, 0.4)], "soft")
    for value, words in ((0.5, "½"), (1.0, "1")):
        panel.line([(value, 0.36), (value, 0.44)], "soft")
        panel.text((value, 0.36), words, "soft", dy=17)
    panel.box((0.901, 0.35), (1.0, 0.45), "proved", "proved")
    panel.dot((0.93, 0.4), "ink", 4.5)
    panel.text((0.93, 0.62), "930 / 1,000", "ink")
    panel.line([(0.901, 0.3), (0.901, 0.5)], "proved")
    panel.text((0.901, 0.3), "lower bound 0.901", "proved", "end", 14)
    panel.arrow((0.5, 0.55), (0.885, 0.55), "accent")
    panel.text((0.69, 0.6), "room to move", "accent", dy=-3)


@picture(
    "same-probability",
    "Two base networks that a class probability cannot tell apart",
    "The circles are the noise around x. In both panels the shaded class has probability 0.8, so"
    " that a zeroth-order certificate must hold for both; a shift to the right costs the half-"
    "plane (left) much and the slab (right) little.",
)
def same_probability(drawing: Drawing) -> None:
    """A half-plane and a slab of equal Gaussian measure."""
    edge, half = NORMAL.inv_cdf(P), NORMAL.inv_cdf((1 + P) / 2)
    for left, area in ((6.0, (-2.4, edge)), (186.0, (-half, half))):
        panel = drawing.panel((left, 20, 168, 168), (-2.4, 2.4), (-2.4, 2.4))
        panel.area([(area[0], -2.4), (area[1], -2.4), (area[1], 2.4), (area[0], 2.4)], "open")
        panel.box((-2.4, -2.4), (2.4, 2.4), "soft")
        for radius in (0.7, 1.4, 2.1):
            panel.circle((0, 0), radius, "soft")
        for x in area:
            if x > -2.4:
                panel.line([(x, -2.4), (x, 2.4)], "accent")
        panel.dot((0, 0))
        panel.arrow((0, 0), (0.95, 0), "ink")
        panel.text((0, 0), "x", "ink", "end", -5)
    drawing.whole().text((180, 8), "p = 0.8 in both", "ink")


@picture(
    "privacy",
    "Scores that can change only by a factor",
    "Bars: expected scores of two classes at x. Under (ε, δ)-privacy each can move, anywhere in "
    "the ball, only between exp(−ε)·(score − δ) and exp(ε)·score + δ (the whiskers). The label's"
    " lowest stays above the other's highest: certified.",
)
def privacy(drawing: Drawing) -> None:
    """The two whiskers for ε = 0.4, δ = 0.02."""
    panel = drawing.panel((70, 14, 270, 176), (0, 1), (0, 2))
    panel.line([(0, 0), (1, 0)], "soft")
    epsilon, delta = 0.4, 0.02
    lowest = exp(-epsilon) * (0.72 - delta)
    highest = exp(epsilon) * 0.2 + delta
    for y, score, kind, words in ((1.45, 0.72, "proved", "label"), (0.55, 0.2, "broken", "other")):
        panel.box((0, y - 0.22), (score, y + 0.22), kind, kind)
        low, high = exp(-epsilon) * (score - delta), min(1.0, exp(epsilon) * score + delta)
        panel.line([(low, y), (high, y)], "ink")
        for end in (low, high):
            panel.line([(end, y - 0.12), (end, y + 0.12)], "ink")
        panel.text((-0.02, y), words, kind, "end", 4)
    panel.line([(lowest, 0), (lowest, 2)], "soft", dashed=True)
    panel.line([(highest, 0), (highest, 2)], "soft", dashed=True)
    panel.text((1, 0), "expected score", "soft", "end", 15)


@picture(
    "divergence",
    "Two noises and their distance",
    "The noisy input at x and at the shifted x′, as densities. The divergence between them is "
    "known from the shift alone, and no function of the input, such as the network's vote, can "
    "have a larger one.",
)
def divergence(drawing: Drawing) -> None:
    """Two Gaussians whose means are a shift apart."""
    panel = drawing.panel((10, 14, 340, 176), (-3, 4.2), (-0.03, 0.46))
    panel.under(density, (-3, 3.2))
    panel.curve(density, (-3, 4.2), "accent")
    panel.curve(lambda t: density(t, 1.2), (-3, 4.2), "broken", dashed=True)
    panel.line([(-3, 0), (4.2, 0)], "soft")
    for x, words in ((0, "x"), (1.2, "x′")):
        panel.line([(x, 0), (x, density(0))], "soft", dashed=True)
        panel.text((x, 0), words, "ink", dy=15)
    panel.text((2.2, 0.34), "D = α r² / (2σ²)", "ink", "start")


@picture(
    "half-space",
    "The worst base network is a half-space",
    "Along the shift r, all base networks of class probability p = 0.8 keep at least as much as "
    "the half-space left of the threshold: the shaded part of the density that moved to x′. The "
    "answer is safe while that part is more than one half.",
)
def half_space(drawing: Drawing) -> None:
    """Neyman and Pearson in one dimension, σ = 1."""
    panel = drawing.panel((10, 14, 340, 176), (-3, 3.6), (-0.03, 0.46))
    threshold = NORMAL.inv_cdf(P)
    shift = 0.55
    panel.under(lambda t: density(t, shift), (-3, threshold), "proved")
    panel.curve(density, (-3, 3.6), "accent")
    panel.curve(lambda t: density(t, shift), (-3, 3.6), "ink", dashed=True)
    panel.line([(-3, 0), (3.6, 0)], "soft")
    panel.line([(threshold, 0), (threshold, 0.43)], "ink")
    panel.text((threshold + 0.1, 0.4), "σ Φ⁻¹(p)", "ink", "start")
    panel.text((0, 0), "x", "accent", dy=15)
    panel.text((shift, 0), "x′", "ink", dy=15)
    panel.text((-2.9, 0.34), "kept:", "proved", "start")
    panel.text((-2.9, 0.34), "Φ(Φ⁻¹(p) − r/σ)", "proved", "start", 17)


@picture(
    "growth",
    "How fast an event can grow, for three noises",
    "Φ(q) is the most by which an event of probability q can gain per unit of shift: the level "
    "sets of the noise attain it. The radius is the area under 1/Φ from 1 − p to ½, so the lower"
    " the curve, the larger the radius. All have scale 1; Gaussian in ℓ2, the others in ℓ1.",
)
def growth(drawing: Drawing) -> None:
    """Growth functions of Gaussian, Laplace and uniform noise."""
    panel = drawing.panel((34, 14, 250, 180), (0, 1), (0, 0.62))
    panel.axes("q", "Φ(q)")
    panel.line([(0, 0.5), (1, 0.5)], "broken", dashed=True)
    panel.line([(0, 0), (0.5, 0.5), (1, 0)], "proved")
    inner = steps(0.0005, 0.9995, 200)
    panel.line([(0, 0), *((q, density(NORMAL.inv_cdf(q))) for q in inner), (1, 0)], "accent")
    panel.text((1.0, 0.5), "uniform", "broken", "start", 4)
    panel.text((0.93, 0.16), "Gaussian", "accent", "start", 0)
    panel.text((0.52, 0.53), "Laplace", "proved", "start", 0)


@picture(
    "quantiles",
    "Two Lipschitz bounds of a class probability",
    "Under Gaussian noise (σ = 1) the probability p of a class falls along any shift no faster "
    "than a fixed slope 1/√(2π) (straight); its quantile Φ⁻¹(p) falls no faster than 1/σ "
    "(curved), a better bound: it reaches one half later.",
)
def quantiles(drawing: Drawing) -> None:
    """Lower bounds of p along a shift, from p = 0.9."""
    p, slope = 0.9, 1 / sqrt(2 * pi)
    panel = drawing.panel((34, 12, 300, 180), (0, 1.7), (0.3, 1.0))
    panel.line([(0, 0.3), (0, 1)], "soft")
    panel.line([(0, 0.5), (1.7, 0.5)], "soft", dashed=True)
    panel.line([(0, p), (0.4 / slope, 0.5)], "broken")
    panel.curve(lambda t: NORMAL.cdf(NORMAL.inv_cdf(p) - t), (0, 1.6), "proved")
    panel.dot((0, p))
    panel.dot((0.4 / slope, 0.5), "broken")
    panel.dot((NORMAL.inv_cdf(p), 0.5), "proved")
    panel.text((-0.04, 0.5), "½", "soft", "end", 4)
    panel.text((-0.04, p), "p", "ink", "end", 4)
    panel.text((1.7, 0.3), "shift", "soft", "end", 0)
    panel.text((0.95, 0.75), "quantile", "proved", "start")
    panel.text((0.42, 0.6), "slope", "broken", "end", 10)


@picture(
    "gradient-known",
    "What a known gradient adds",
    "Both curves are the least probability that the top class can keep along a shift (σ = 1, p ="
    " 0.8 at x). Knowing p alone, the worst case is a half-space; knowing also that the gradient"
    " of p vanishes, it is a slab, and one half is reached later.",
)
def gradient_known(drawing: Drawing) -> None:
    """Half-space against the slab of zero gradient."""
    half = NORMAL.inv_cdf((1 + P) / 2)
    panel = drawing.panel((34, 12, 300, 180), (0, 1.9), (0.2, 0.95))

    def slab(t: float) -> float:
        return NORMAL.cdf(half - t) - NORMAL.cdf(-half - t)

    panel.line([(0, 0.2), (0, 0.95)], "soft")
    panel.line([(0, 0.5), (1.9, 0.5)], "soft", dashed=True)
    panel.curve(lambda t: NORMAL.cdf(NORMAL.inv_cdf(P) - t), (0, 1.55), "accent")
    panel.curve(slab, (0, 1.85), "proved")
    panel.dot((0, P))
    panel.dot((NORMAL.inv_cdf(P), 0.5), "accent")
    panel.dot((slab_radius(half), 0.5), "proved")
    panel.text((-0.04, 0.5), "½", "soft", "end", 4)
    panel.text((-0.04, P), "p", "ink", "end", 4)
    panel.text((0.5, 0.55), "half-space", "accent", "end", 4)
    panel.text((0.95, 0.68), "slab, gradient 0", "proved", "start")
    panel.text((1.9, 0.2), "shift", "soft", "end", 0)


def slab_radius(half: float) -> float:
    """The shift at which the slab (-half, half) keeps one half, by bisection."""
    low, high = 0.0, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        kept = NORMAL.cdf(half - middle) - NORMAL.cdf(-half - middle)
        low, high = (middle, high) if kept > 0.5 else (low, middle)
    return low
