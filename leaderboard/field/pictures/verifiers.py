"""What verifiers do with a region: decide it, bound it, split it."""

from itertools import pairwise

from leaderboard.field.pictures._svg import Drawing, Panel, Point, picture, steps

MARGIN: tuple[Point, ...] = (
    (-1, 0.9),
    (-0.62, 0.45),
    (-0.2, 0.75),
    (0.15, 0.3),
    (0.55, 0.62),
    (1, 0.95),
)
"""A piecewise linear margin over a region, as a ReLU network has along a line."""


def boundary(t: float, shift: float = 0.0) -> float:
    """A bent decision boundary."""
    return 0.98 + 0.12 * t - 0.12 * t * t + shift


def region(panel: Panel, fill: str, kind: str) -> None:
    """The ball around an example, in ℓ∞ a square."""
    panel.box((-0.75, -0.75), (0.75, 0.75), kind, fill)
    panel.dot((0, 0))
    panel.text((0, 0), "x", "ink", "start", -6)


def _classes(drawing: Drawing, left: float, shift: float) -> Panel:
    panel = drawing.panel((left, 8, 168, 168), (-1.4, 1.4), (-1.4, 1.4))
    curve = [(t, boundary(t, shift)) for t in steps(-1.4, 1.4)]
    panel.area([*((x, y) for x, y in curve if y <= 1.4), (1.4, 1.4), (-1.4, 1.4)], "open")
    panel.line(curve, "ink")
    return panel


@picture(
    "region",
    "A certified region and a falsified one",
    "The square is the region around the example x, the line the decision boundary. Left: no "
    "point of the region has another class, so the example can be certified. Right: the region "
    "contains a witness.",
)
def certified_or_falsified(drawing: Drawing) -> None:
    """The question that verification asks."""
    whole = drawing.whole()
    region(_classes(drawing, 6, 0.0), "proved", "proved")
    panel = _classes(drawing, 186, -0.45)
    region(panel, "broken", "broken")
    panel.dot((0.45, 0.66), "broken", 4.5)
    whole.text((90, 22), "certified", "proved")
    whole.text((270, 22), "falsified", "broken")


@picture(
    "outputs",
    "The outputs of a region, enclosed",
    "The network maps the region onto a set of outputs (grey), in which the logit of the label "
    "and that of another class are drawn. The enclosure (outlined) lies wholly below the "
    "diagonal of equal logits, so that the label's is the larger for every input of the region.",
)
def outputs(drawing: Drawing) -> None:
    """Deterministic verification in output space."""
    panel = drawing.panel((40, 10, 290, 190), (0, 2.9), (0, 1.9))
    panel.axes("logit of the label", "logit of class j")
    panel.line([(0, 0), (1.9, 1.9)], "soft", dashed=True)
    panel.text((1.88, 1.7), "equal", "soft", "start")
    exact: list[Point] = [
        (1.3, 0.4),
        (1.75, 0.3),
        (2.3, 0.75),
        (2.15, 1.1),
        (1.95, 0.95),
        (1.6, 1.0),
        (1.5, 0.7),
    ]
    enclosure: list[Point] = [(1.15, 0.2), (1.9, 0.2), (2.5, 0.7), (2.35, 1.3), (1.6, 1.2)]
    panel.area(enclosure, "proved")
    panel.line([*enclosure, enclosure[0]], "proved")
    panel.area(exact, "open")
    panel.line([*exact, exact[0]], "ink")
    panel.text((1.85, 0.68), "exact", "ink")


@picture(
    "exact-minimum",
    "The exact least margin",
    "The margin of a ReLU network over the region is piecewise linear. A complete verifier finds"
    " out whether its least value is positive: if it is, the example is certified; if not, the "
    "minimiser is a witness.",
)
def exact_minimum(drawing: Drawing) -> None:
    """A complete verifier's answer."""
    panel = drawing.panel((20, 10, 320, 195), (-1.25, 1.25), (-0.25, 1.15))
    panel.axes("region")
    panel.line(MARGIN, "ink")
    panel.line([(-1, 0.3), (1, 0.3)], "proved", dashed=True)
    panel.dot((0.15, 0.3), "proved", 4.5)
    panel.text((0.06, 0.19), "least margin > 0: certified", "proved", "start", 4)
    panel.text((-0.72, 0.85), "margin", "ink", "start")


@picture(
    "lower-bound",
    "Two lower bounds of one margin",
    "An incomplete verifier bounds the margin from below by something easy. If the bound is "
    "positive (upper dashed line) the example is certified; if it is not (lower one), nothing is"
    " known: the margin itself is positive here.",
)
def lower_bound(drawing: Drawing) -> None:
    """A tight and a loose relaxation."""
    panel = drawing.panel((20, 10, 320, 195), (-1.25, 1.25), (-0.55, 1.15))
    panel.axes("region")
    panel.line(MARGIN, "ink")
    for lowest, kind, words in ((0.15, "proved", "certified"), (-0.3, "broken", "unknown")):
        panel.line([(t, lowest + 0.5 * t * t) for t in steps(-1, 1)], kind, dashed=True)
        panel.dot((0, lowest), kind)
        panel.text((0.06, lowest), words, kind, "start", 13)
    panel.text((-0.72, 0.85), "margin", "ink", "start")


@picture(
    "solver",
    "A solver asked for a witness",
    "Network, region and a wrong prediction become the constraints of one problem. No solution "
    "means that there is no witness, and the example is certified; a solution is one.",
)
def solver(drawing: Drawing) -> None:
    """The encoding and its two answers."""
    panel = drawing.whole()
    for top, words in (
        (170, "every layer z = ReLU(Wx + b)"),
        (130, "x in the region"),
        (90, "wrong logit ≥ the label's"),
    ):
        panel.box((8, top), (196, top + 28), "soft")
        panel.text((102, top + 14), words, "ink", dy=4)
        panel.arrow((196, top + 14), (226, 145), "soft")
    panel.box((228, 122), (292, 168), "ink", "open")
    panel.text((260, 145), "solver", "ink", dy=4)
    panel.arrow((260, 122), (180, 50), "proved")
    panel.arrow((260, 122), (310, 50), "broken")
    panel.text((170, 26), "infeasible: certified", "proved")
    panel.text((310, 26), "solution: witness", "broken")


@picture(
    "cases",
    "The tree of cases, pruned by a conflict",
    "Each ReLU is active (+) or inactive (−). A partial choice of cases whose linear constraints"
    " contradict each other is refuted at once, and the lemma learnt from it (a set of choices "
    "that never goes together) prunes other branches unseen.",
)
def cases(drawing: Drawing) -> None:
    """A search over activation patterns."""
    panel = drawing.whole()
    root, left, right = (180, 198), (100, 138), (260, 138)
    leaves = ((50, 74), (140, 74), (215, 74), (305, 74))
    for start, end, sign in ((root, left, "+"), (root, right, "−")):
        panel.line([start, end], "ink")
        panel.text(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), sign, "ink", dy=-5)
    for start, end in zip((left, left, right, right), leaves, strict=True):
        panel.line([start, end], "soft", dashed=end == leaves[2])
    for point in (root, left, right):
        panel.dot(point)
    for point, kind in zip(leaves, ("broken", "ink", "soft", "ink"), strict=True):
        panel.dot(point, kind, 4.5)
    panel.text((50, 50), "conflict:", "broken")
    panel.text((50, 34), "lemma", "broken")
    panel.text((215, 50), "pruned by", "soft")
    panel.text((215, 34), "the lemma", "soft")
    panel.text((200, 200), "ReLU 1", "soft", "start")
    panel.text((280, 140), "ReLU 2", "soft", "start")


@picture(
    "branches",
    "A tree of subproblems with their bounds",
    "Each node shows a lower bound of the margin. Where it is not positive the subproblem is "
    "split at an unstable ReLU, whose two cases (x ≥ 0 and x ≤ 0) are tighter; when all leaves "
    "are positive, the example is certified.",
)
def branches(drawing: Drawing) -> None:
    """Branch and bound."""
    panel = drawing.whole()
    nodes: dict[str, tuple[Point, str]] = {
        "": ((180, 188), "−1.2"),
        "+": ((100, 122), "+0.3"),
        "-": ((250, 122), "−0.4"),
        "-+": ((195, 52), "+0.1"),
        "--": ((305, 52), "+0.5"),
    }
    for name, (point, _) in nodes.items():
        if name:
            parent = nodes[name[:-1]][0]
            panel.line([(parent[0], parent[1] - 14), (point[0], point[1] + 14)], "soft")
            sign = "x ≥ 0" if name[-1] == "+" else "x ≤ 0"
            anchor = "end" if name[-1] == "+" else "start"
            middle = ((parent[0] + point[0]) / 2, (parent[1] + point[1]) / 2)
            panel.text(
                (middle[0] + (-6 if anchor == "end" else 6), middle[1]), sign, "soft", anchor
            )
    for point, bound in nodes.values():
        kind = "proved" if bound.startswith("+") else "open"
        x, y = point
        panel.box((x - 26, y - 14), (x + 26, y + 14), "proved" if kind == "proved" else "ink", kind)
        panel.text(point, bound, "proved" if kind == "proved" else "ink", dy=4)


@picture(
    "polytope",
    "A linear objective over a polytope",
    "The relaxed network is a polytope in the space of all neurons; the margin is linear in it, "
    "and its least value is taken at a corner. The polytope contains the network's own graph "
    "(dark), so that its optimum is a lower bound.",
)
def polytope(drawing: Drawing) -> None:
    """A linear program."""
    panel = drawing.whole()
    corners: list[Point] = [(90, 60), (150, 36), (250, 60), (280, 130), (220, 190), (120, 170)]
    inside: list[Point] = [
        (125, 75),
        (160, 60),
        (180, 95),
        (235, 90),
        (240, 135),
        (190, 165),
        (150, 130),
    ]
    panel.area(corners)
    panel.line([*corners, corners[0]], "accent")
    panel.area(inside, "open")
    panel.line([*inside, inside[0]], "ink")
    panel.line([(40, 85), (140, 35), (190, 10)], "soft", dashed=True)
    panel.arrow((60, 165), (40, 125), "soft")
    panel.text((66, 172), "less margin", "soft", "middle", -6)
    panel.dot((90, 60), "accent", 4.5)
    panel.text((82, 46), "optimum", "accent", "end", 8)


@picture(
    "backwards",
    "Lines carried back to the input",
    "The margin is bounded by a linear function of the last layer, that by one of the layer "
    "before, and so on back to the input, where the extreme value over the ball is known in "
    "closed form: the dual norm of the slope.",
)
def backwards(drawing: Drawing) -> None:
    """Backward substitution."""
    panel = drawing.whole()
    columns = (50, 137, 224, 311)
    for x, name in zip(columns, ("x", "z⁽¹⁾", "z⁽²⁾", "margin"), strict=True):
        heights = (110,) if name == "margin" else (70, 110, 150)
        for y in heights:
            panel.circle((x, y), 9, "ink", "open")
        panel.text((x, 186), name, "ink")
    for left, right in pairwise(columns):
        for y in (70, 110, 150):
            for end in (110,) if right == 311 else (70, 110, 150):
                panel.line([(left + 10, y), (right - 10, end)], "soft")
        panel.arrow((right, 34), (left + 8, 34), "accent")
    panel.text((180, 12), "A x + b ≤ margin", "accent")


@picture(
    "dual",
    "Every dual point is a bound",
    "The dual function g never exceeds the least margin of the relaxation (the dashed line): any"
    " of its points is a valid bound, and ascent makes it better. Where it is positive, the "
    "example is certified.",
)
def dual(drawing: Drawing) -> None:
    """Weak duality."""
    panel = drawing.panel((24, 10, 316, 195), (-0.1, 3.1), (-1.0, 1.1))
    panel.axes("dual variables ν")
    panel.line([(0, 0.72), (3, 0.72)], "ink", dashed=True)
    panel.text((3, 0.72), "least margin", "ink", "end", -6)

    def concave(t: float) -> float:
        return 0.6 - 0.55 * (t - 1.9) ** 2

    panel.curve(concave, (0.25, 3.0), "accent")
    for t in (0.55, 1.0, 1.9):
        panel.dot((t, concave(t)), "proved" if concave(t) > 0 else "broken", 4)
    panel.text((0.62, -0.45), "g(ν)", "accent", "start", 4)
