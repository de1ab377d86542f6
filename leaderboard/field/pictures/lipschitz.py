"""Margins that cannot fall faster than a constant allows."""

from math import cos, sin, sqrt

from leaderboard.field.pictures._svg import Drawing, Point, picture, steps


def fall(t: float) -> float:
    """A smooth margin along a line, with slopes below 0.95 in size and curvature below 1."""
    return 0.55 + 0.45 * cos(1.25 * t) - 0.12 * sin(2.0 * t)


@picture(
    "cone",
    "First and second order",
    "The margin at x is known. A Lipschitz constant bounds it from below by a cone; the gradient"
    " and a bound of the curvature by a parabola, which here stays positive for longer. The "
    "certified radius is where the bound reaches zero.",
)
def cone(drawing: Drawing) -> None:
    """A cone and a parabola under one margin."""
    panel = drawing.panel((20, 8, 320, 200), (-1.9, 1.9), (-0.25, 1.25))
    panel.axes("x′")
    panel.curve(fall, (-1.9, 1.9))
    constant, gradient, curvature = 0.95, -0.24, 1.0
    panel.line([(-1 / constant, 0), (0, 1), (1 / constant, 0)], "accent")

    def parabola(t: float) -> float:
        return 1 + gradient * t - curvature * t * t / 2

    end = gradient + sqrt(gradient**2 + 2 * curvature)
    panel.curve(parabola, (-1.45, 1.3), "proved", dashed=True)
    panel.dot((0, 1))
    panel.dot((1 / constant, 0), "accent")
    panel.dot((end / curvature, 0), "proved")
    panel.text((-0.62, 0.3), "cone", "accent", "start")
    panel.text((-1.28, 0.62), "parabola", "proved", "end")
    panel.text((0, 0), "x", "ink", "end", 14)


@picture(
    "two-cones",
    "A global and a local Lipschitz constant",
    "The steep cone has the product of all layers' norms, which holds everywhere; the wide one a"
    " bound that holds only in the region around x, where many ReLUs are fixed. The smaller the "
    "constant, the larger the certified radius.",
)
def two_cones(drawing: Drawing) -> None:
    """The same margin, two constants."""
    panel = drawing.panel((20, 8, 320, 200), (-1.9, 1.9), (-0.25, 1.25))
    panel.axes("x′")
    panel.box((-1.35, -0.03), (1.35, 1.15), "soft", "open")
    panel.curve(fall, (-1.9, 1.9))
    for constant, kind, words in ((2.6, "broken", "global"), (0.95, "proved", "local")):
        reach = 1 / constant
        panel.line([(-reach, 0), (0, 1), (reach, 0)], kind)
        panel.dot((reach, 0), kind)
        panel.text((reach, 0), words, kind, "middle", 14)
    panel.dot((0, 1))


@picture(
    "no-longer",
    "Layers that never stretch",
    "Two inputs at distance r. An orthogonal layer turns them, a sorting activation reflects "
    "parts of the space: no layer lets the distance grow, so that no logit changes by more than "
    "r.",
)
def no_longer(drawing: Drawing) -> None:
    """A ball on its way through three layers of Lipschitz constant one."""
    for left, turn, shrink, name in (
        (4, 0.3, 1.0, "x"),
        (124, 1.5, 1.0, "orthogonal"),
        (244, 2.3, 0.72, "activation"),
    ):
        panel = drawing.panel((left, 40, 112, 112), (-1.3, 1.3), (-1.3, 1.3))
        panel.circle((0, 0), 1, "soft", "open")
        end: Point = (shrink * cos(turn), shrink * sin(turn))
        panel.line([(0, 0), end], "accent")
        panel.dot((0, 0))
        panel.dot(end, "accent")
        panel.text((0, -1.3), name, "ink", dy=16)
    whole = drawing.whole()
    for x in (120, 240):
        whole.text((x, 124), "→", "soft", dy=4)
    whole.text((180, 14), "‖f(x′) − f(x)‖ ≤ ‖x′ − x‖ = r", "accent")


@picture(
    "parabola",
    "A margin bounded by its curvature",
    "From the value and the gradient at x, a margin whose curvature is at most K cannot fall "
    "below the parabola. The bound follows the margin where a cone with the largest slope would "
    "leave it at once.",
)
def parabola_bound(drawing: Drawing) -> None:
    """Second-order lower bound."""
    panel = drawing.panel((20, 8, 320, 200), (-1.9, 1.9), (-0.35, 1.25))
    panel.axes("x′")
    panel.curve(fall, (-1.9, 1.9))

    def bound(t: float) -> float:
        return 1 - 0.24 * t - 1.0 * t * t / 2

    points = [(t, bound(t)) for t in steps(-1.67, 1.19)]
    panel.area(points, "proved")
    panel.line(points, "proved")
    panel.line([(-1, 1.24), (1, 0.76)], "soft", dashed=True)
    panel.dot((0, 1))
    panel.text((1.02, 0.8), "gradient", "soft", "start")
    panel.text((-0.2, 0.3), "m(x) + g·δ − K‖δ‖² / 2", "proved")


@picture(
    "all-votes",
    "All votes, counted",
    "A noise with few values: the base network is run on every one of them and each gives a vote"
    " (here 12 against 4). A perturbation that can change at most D votes leaves the winner in "
    "place while twice D is less than the lead.",
)
def all_votes(drawing: Drawing) -> None:
    """An exact average over a finite support."""
    panel = drawing.whole()
    votes = "AAABAAAABAABAAAB"
    for place, vote in enumerate(votes):
        x = 20 + 20 * place
        kind = "proved" if vote == "A" else "broken"
        panel.box((x, 120), (x + 17, 150), kind, kind)
        panel.text((x + 8.5, 135), vote, kind, dy=4)
    panel.text((180, 170), "every value of the noise, one vote each", "soft")
    panel.box((20, 62), (20 + 17 * 12, 82), "proved", "proved")
    panel.box((20, 34), (20 + 17 * 4, 54), "broken", "broken")
    panel.text((232, 72), "12", "proved", "start", 4)
    panel.text((96, 44), "4", "broken", "start", 4)
    panel.text((250, 40), "lead 8 > 2 D", "ink", "start")


@picture(
    "splits",
    "An axis cut by splitting noise",
    "One pixel's axis, cut at all points s + 2λj. The base network sees the middle of the "
    "interval that holds the pixel. A perturbation from x to x′ changes what it sees only if a "
    "cut lies between them: for a share |x′ − x| / (2λ) of all shifts s.",
)
def splits(drawing: Drawing) -> None:
    """The coupling that makes the average Lipschitz in ℓ1."""
    panel = drawing.panel((16, 10, 328, 190), (0, 10), (0, 10))
    for row, shift in enumerate((0.4, 1.3, 2.2)):
        y = 7.6 - 2.6 * row
        panel.line([(0, y), (10, y)], "soft")
        for cut in (shift, shift + 3.0, shift + 6.0):
            if cut < 8:
                panel.line([(cut, y - 0.55), (cut, y + 0.55)], "ink")
        between = any(4.0 < shift + 3 * k < 4.8 for k in range(4))
        kind = "broken" if between else "proved"
        panel.dot((4.0, y), kind)
        panel.dot((4.8, y), kind)
        panel.text((10, y), "cut off" if between else "unchanged", kind, "end", -8)
    panel.text((4.0, 8.3), "x", "ink", "end", -4)
    panel.text((4.8, 8.3), "x′", "ink", "start", -4)
    panel.text((1.9, 0.4), "2λ", "soft")
    panel.line([(0.4, 0.2), (3.4, 0.2)], "soft")
