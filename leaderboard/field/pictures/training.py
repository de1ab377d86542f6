"""How networks are trained, and how attacks search."""

from itertools import pairwise
from math import cos, log, pi, sin

from leaderboard.field.pictures._svg import Drawing, Panel, Point, picture, steps

LEFT, RIGHT = (6.0, 24.0, 168.0, 168.0), (186.0, 24.0, 168.0, 168.0)
A: tuple[Point, ...] = ((-1.0, 0.75), (-0.35, 0.95), (0.45, 0.8), (1.05, 0.95))
B: tuple[Point, ...] = ((-1.05, -0.7), (-0.4, -0.85), (0.35, -0.7), (1.0, -0.9))


def examples(panel: Panel, radius: float) -> None:
    """Two classes of examples, each in its region."""
    for points, kind in ((A, "proved"), (B, "accent")):
        for x, y in points:
            panel.box((x - radius, y - radius), (x + radius, y + radius), "soft")
            panel.dot((x, y), kind)


def fitted(t: float) -> float:
    """A boundary that separates the examples and not their regions."""
    return 0.28 * sin(4.6 * t + 0.5) + 0.38 * sin(2.4 * t)


def separating(t: float) -> float:
    """A boundary that separates the regions."""
    return 0.04 * sin(2.0 * t) + 0.02


def _two_panels(drawing: Drawing, words: tuple[str, str]) -> tuple[Panel, Panel]:
    whole = drawing.whole()
    for x, text in zip((90, 270), words, strict=True):
        whole.text((x, 206), text, "soft")
    both = [drawing.panel(place, (-1.5, 1.5), (-1.5, 1.5)) for place in (LEFT, RIGHT)]
    for panel in both:
        panel.box((-1.5, -1.5), (1.5, 1.5), "soft")
    return both[0], both[1]


@picture(
    "robust-training",
    "A boundary that separates examples, and one that separates regions",
    "Left: the boundary is right at every example and cuts through their regions. Right: robust "
    "training moves it until the regions, not only the examples, lie on the right side, which "
    "often takes a simpler boundary.",
)
def robust(drawing: Drawing) -> None:
    """Before and after."""
    before, after = _two_panels(drawing, ("standard training", "robust training"))
    before.line([(t, fitted(t)) for t in steps(-1.5, 1.5)], "ink")
    after.line([(t, separating(t)) for t in steps(-1.5, 1.5)], "ink")
    examples(before, 0.42)
    examples(after, 0.42)


@picture(
    "standard-training",
    "Right at the example, wrong close by",
    "A boundary that fits the examples passes closer to them than the radius: a witness lies "
    "within the region of an example that is classified rightly.",
)
def standard(drawing: Drawing) -> None:
    """One region in close-up."""
    panel = drawing.panel((80, 10, 200, 200), (-1, 1), (-1, 1))
    panel.line([(t, 0.32 + 0.25 * sin(3 * t + 0.8) - 0.2 * t) for t in steps(-1, 1)], "ink")
    panel.box((-0.62, -0.62), (0.62, 0.62), "broken")
    panel.dot((0, 0), "proved", 4.5)
    panel.text((0, 0), "x", "ink", dy=18)
    panel.dot((-0.5, 0.52), "broken", 4.5)
    panel.text((-0.45, 0.78), "witness", "broken")


@picture(
    "stable-relus",
    "Input bounds of the ReLUs of a layer, before and after regularisation",
    "Each bar is the interval that a ReLU's input can take over the region. Where it crosses "
    "zero the ReLU is unstable, and must be relaxed or split; a regulariser moves the intervals "
    "to one side, where the ReLU is linear.",
)
def stable(drawing: Drawing) -> None:
    """Unstable and stable neurons."""
    before = ((-0.7, 0.5), (-0.3, 0.9), (-1.0, 0.2), (0.2, 1.0), (-0.5, 0.6), (-0.9, -0.2))
    after = ((-0.8, -0.1), (0.1, 0.9), (-1.0, -0.3), (0.2, 1.0), (-0.25, 0.35), (-0.9, -0.2))
    for place, bars, words in ((LEFT, before, "4 unstable"), (RIGHT, after, "1 unstable")):
        panel = drawing.panel(place, (-1.2, 1.2), (0, 6.4))
        panel.line([(0, 0), (0, 6.2)], "soft", dashed=True)
        for row, (low, high) in enumerate(bars):
            kind = "broken" if low < 0 < high else "proved"
            panel.box((low, row + 0.35), (high, row + 0.75), kind, kind)
        panel.text((0, 0), words, "ink", dy=14)
        panel.text((0, 6.4), "0", "soft", dy=-2)


@picture(
    "losses",
    "Losses from below and from above",
    "The worst loss in the region lies between what an attack finds and what a bound allows. "
    "Adversarial training minimises the left end, interval training the right one; recent "
    "methods take a mixture, or the bound of a small box around the attack.",
)
def losses(drawing: Drawing) -> None:
    """Clean, attacked, worst, mixed and bounded loss on an axis."""
    panel = drawing.panel((20, 20, 320, 160), (0, 10), (0, 10))
    panel.arrow((0, 4), (10, 4), "soft")
    panel.text((10, 4), "loss", "soft", "end", 18)
    marks = (
        (0.7, "example", "ink", 5.6),
        (2.6, "attack", "broken", 7.0),
        (4.0, "worst", "ink", 5.6),
        (8.8, "bound", "proved", 7.0),
    )
    panel.line([(2.6, 4), (8.8, 4)], "accent")
    for x, words, kind, height in marks:
        panel.line([(x, 3.7), (x, height - 0.4)], "soft")
        panel.dot((x, 4), kind, 4.5)
        panel.text((x, height), words, kind)
    panel.dot((5.6, 4), "accent", 5)
    panel.text((5.6, 4), "(1 − λ)·attack + λ·bound", "accent", dy=24)


@picture(
    "noise-cloud",
    "Training on noisy copies",
    "Each example is shown with fresh noise, so that the base network learns to be right not "
    "only at the example but on most of the noise around it, which is what the smoothed "
    "network's certificate measures.",
)
def noise_cloud(drawing: Drawing) -> None:
    """Copies on a sunflower spiral, with Gaussian radii."""
    panel = drawing.panel((70, 8, 220, 204), (-2.2, 2.2), (-2.04, 2.04))
    panel.area([(-2.2, -2.04), (1.35, -2.04), (1.1, 2.04), (-2.2, 2.04)], "open")
    panel.line([(1.35, -2.04), (1.1, 2.04)], "ink")
    count = 70
    for k in range(count):
        radius = 0.72 * (-2 * log(1 - (k + 0.5) / count)) ** 0.5
        turn = k * pi * (3 - 5**0.5)
        point = (radius * cos(turn), radius * sin(turn))
        if abs(point[0]) < 2.1 and abs(point[1]) < 1.95:
            panel.dot(point, "accent" if point[0] < 1.2 else "broken", 2)
    panel.dot((0, 0), "ink", 4.5)
    panel.text((0, 0), "x", "ink", "start", -8)


@picture(
    "attack-path",
    "An attack on its way to a witness",
    "Projected gradient descent: steps along the gradient of the margin, projected back into the"
    " region (the square), until the prediction changes. The witness is checked by running the "
    "network; had none been found, nothing would be known.",
)
def attack_path(drawing: Drawing) -> None:
    """Steps of an attack inside a square."""
    panel = drawing.panel((70, 8, 220, 204), (-1.2, 1.2), (-1.11, 1.11))
    curve = [(t, 0.62 + 0.3 * t - 0.25 * t * t) for t in steps(-1.2, 1.2)]
    panel.area([*curve, (1.2, 1.11), (-1.2, 1.11)], "open")
    panel.line(curve, "ink")
    panel.box((-0.8, -0.8), (0.8, 0.8), "soft")
    path: tuple[Point, ...] = ((0.15, -0.55), (0.4, -0.25), (0.62, 0.1), (0.8, 0.4), (0.62, 0.72))
    for start, end in pairwise(path):
        panel.arrow(start, end, "broken")
    panel.dot((0, 0))
    panel.text((0, 0), "x", "ink", "end", -6)
    panel.dot(path[0], "soft")
    panel.dot(path[-1], "broken", 4.5)
    panel.text((0.5, 0.9), "witness", "broken")


@picture(
    "adversarial-training",
    "The worst point that an attack finds, and a step away from it",
    "In each step an attack looks for the point of the region with the largest loss, and the "
    "network is trained on that point: the boundary (dashed) moves away from it (solid). What "
    "the attack did not find is not trained on, and nothing is proved.",
)
def adversarial(drawing: Drawing) -> None:
    """The boundary before and after a step."""
    panel = drawing.panel((70, 8, 220, 204), (-1.2, 1.2), (-1.11, 1.11))
    panel.line([(t, 0.42 + 0.2 * t) for t in steps(-1.2, 1.2)], "soft", dashed=True)
    panel.line([(t, 0.86 + 0.08 * t) for t in steps(-1.2, 1.2)], "ink")
    panel.box((-0.7, -0.7), (0.7, 0.7), "soft")
    panel.arrow((0, 0), (-0.55, 0.62), "broken")
    panel.dot((0, 0))
    panel.text((0, 0), "x", "ink", "start", 14)
    panel.dot((-0.6, 0.68), "broken", 4.5)
    panel.arrow((0.35, 0.5), (0.35, 0.84), "proved")
