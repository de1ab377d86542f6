"""The ReLU and what encloses it: z = max(0, x) over x in [l, u]."""

from math import sqrt

from leaderboard.field.pictures._svg import Drawing, Panel, Point, picture

Bounds = tuple[float, float]


def relu(x: float) -> float:
    """z = max(0, x)."""
    return max(0.0, x)


def chord(x: float, bounds: Bounds) -> float:
    """The line through both ends of the ReLU over [l, u]: u (x - l) / (u - l)."""
    low, high = bounds
    return high * (x - low) / (high - low)


def sdp_upper(x: float, bounds: Bounds) -> float:
    """The largest z that the semidefinite relaxation of one ReLU leaves at x.

    The constraints are z >= 0, z >= x, E[z²] = E[xz], E[x²] <= (l + u) E[x] - l u and a moment
    matrix that is positive semidefinite. With a = (u - x)(x - l) there is such a matrix if and only
    if z (z - x) <= a / 4.
    """
    low, high = bounds
    return (x + sqrt((low + high) * x - low * high)) / 2


def graph(
    drawing: Drawing, bounds: Bounds, place: tuple[float, float, float, float], low_z: float = -0.55
) -> Panel:
    """Axes for a ReLU over `bounds`, with marks at l and u; the ReLU itself is drawn last."""
    low, high = bounds
    panel = drawing.panel(place, (low - 0.35, high + 0.45), (low_z, high + 0.4))
    panel.axes("x", "z")
    for end, name in ((low, "l"), (high, "u")):
        panel.line([(end, -0.06), (end, 0.06)], "soft")
        panel.text((end, 0), name, "soft", dy=16)
    return panel


def drawn_relu(panel: Panel, bounds: Bounds) -> None:
    """The graph of the ReLU over its bounds."""
    panel.line([(bounds[0], 0), (0, 0), (bounds[1], bounds[1])], "ink")


WIDE = (24.0, 8.0, 312.0, 204.0)
LEFT, RIGHT = (6.0, 22.0, 168.0, 186.0), (186.0, 22.0, 168.0, 186.0)
USUAL: Bounds = (-1.2, 1.6)


@picture(
    "relu-triangle",
    "The triangle: the convex hull of a ReLU over its input bounds",
    "The ReLU (thick) over [l, u]. The triangle between z ≥ 0, z ≥ x and the chord is its convex"
    " hull: no convex relaxation of this ReLU alone is tighter.",
)
def triangle(drawing: Drawing) -> None:
    """The triangle relaxation."""
    panel = graph(drawing, USUAL, WIDE)
    corners: list[Point] = [(USUAL[0], 0), (0, 0), (USUAL[1], USUAL[1])]
    panel.area(corners)
    panel.line([corners[0], corners[2]], "accent")
    drawn_relu(panel, USUAL)
    panel.text((0.05, 1.15), "z ≤ u (x − l) / (u − l)", "accent", "end")
    panel.text((0.95, 0.6), "z ≥ x", "accent", "start")
    panel.text((-0.62, 0), "z ≥ 0", "accent", dy=16)


@picture(
    "relu-box",
    "Interval arithmetic: a ReLU in its box, and a rotation that forgets dependence",
    "Left: an interval keeps only 0 ≤ z ≤ u, the box around the ReLU's graph. Right: an affine "
    "layer maps a box exactly onto a parallelogram; interval arithmetic keeps the box around it,"
    " and so on in every layer.",
)
def box(drawing: Drawing) -> None:
    """Intervals for a ReLU and for an affine map."""
    panel = graph(drawing, USUAL, LEFT)
    panel.box((USUAL[0], 0), (USUAL[1], USUAL[1]), "accent", "accent")
    drawn_relu(panel, USUAL)
    plane = drawing.panel((192, 26, 160, 160), (-2, 2), (-2, 2))
    corners = [(a - 0.55 * b, 0.55 * a + b) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    plane.box((-1.55, -1.55), (1.55, 1.55), "accent", "accent")
    plane.area(corners, "open")
    plane.line([*corners, corners[0]], "ink")
    plane.text((0, 0), "exact", "ink", dy=4)
    plane.text((0, -1.55), "kept by intervals", "accent", dy=17)


@picture(
    "relu-lines",
    "CROWN's two choices of the line below an unstable ReLU",
    "Above lies always the chord. Below lies one line α·x with a slope from 0 to 1: CROWN and "
    "DeepPoly take slope 1 where u > −l (left) and slope 0 otherwise (right), the choice of "
    "smaller area; Fast-Lin takes the chord's slope (dashed); α-CROWN optimises it.",
)
def lines(drawing: Drawing) -> None:
    """The adaptive lower line, in both cases, and the parallel one."""
    for place, bounds, slope in ((LEFT, (-0.9, 1.5), 1.0), (RIGHT, (-1.5, 0.9), 0.0)):
        low, high = bounds
        panel = graph(drawing, bounds, place, -1.0)
        panel.area([(low, slope * low), (low, 0), (high, high), (high, slope * high)])
        panel.line([(low, 0), (high, high)], "accent")
        panel.line([(low, slope * low), (high, slope * high)], "accent")
        parallel = high / (high - low)
        start = max(low, -0.95 / parallel)
        panel.line([(start, parallel * start), (high, parallel * high)], "soft", dashed=True)
        drawn_relu(panel, bounds)
    whole = drawing.whole()
    whole.text((90, 206), "u > −l: slope 1", "accent")
    whole.text((270, 206), "u ≤ −l: slope 0", "accent")


@picture(
    "relu-parallelogram",
    "The zonotope of least area around a ReLU",
    "A zonotope encloses the ReLU between two parallel lines of slope λ = u / (u − l): its one "
    "new noise symbol moves the output up and down by −λl / 2. Among all zonotopes of this form "
    "this parallelogram has the least area.",
)
def parallelogram(drawing: Drawing) -> None:
    """The zonotope transformer of DeepZ."""
    low, high = USUAL
    slope = high / (high - low)
    panel = drawing.panel(WIDE, (-1.6, 2.1), (-0.95, 2.0))
    panel.axes("x", "z")
    corners = [(low, slope * low), (low, 0), (high, high), (high, slope * high)]
    panel.area(corners)
    panel.line([*corners, corners[0]], "accent")
    middle = -slope * low / 2
    panel.line([(low, slope * low + middle), (high, slope * high + middle)], "soft", dashed=True)
    drawn_relu(panel, USUAL)
    panel.text((low, 0), "l", "soft", "end", 16)
    panel.text((high, 0), "u", "soft", dy=16)
    panel.text((0.1, 1.35), "λ (x − l)", "accent", "end")
    panel.text((1.0, 0.35), "λ x", "accent", "start")


@picture(
    "relu-sdp",
    "The semidefinite relaxation of one ReLU",
    "For one ReLU alone the semidefinite relaxation leaves the area below the curve z = (x + "
    "√((l + u)x − lu)) / 2, which contains the triangle (dashed: the chord). What it gains comes"
    " from the products of different neurons, which no linear relaxation of single neurons has.",
)
def sdp(drawing: Drawing) -> None:
    """The exact projection of the single-neuron relaxation."""
    bounds = (-0.5, 1.6)
    panel = graph(drawing, bounds, WIDE)
    points = [bounds[0] + (bounds[1] - bounds[0]) * k / 80 for k in range(81)]
    upper = [(x, sdp_upper(x, bounds)) for x in points]
    panel.area([*upper, (0, 0)])
    panel.line(upper, "accent")
    panel.line([(bounds[0], 0), (bounds[1], chord(bounds[1], bounds))], "soft", dashed=True)
    drawn_relu(panel, bounds)
    panel.text((0.55, 1.35), "M ⪰ 0", "accent", "end")


@picture(
    "relu-milp",
    "A ReLU as two linear pieces and a binary variable",
    "The binary variable a chooses the piece: a = 0 the inactive one, a = 1 the active one; both"
    " together are the ReLU exactly. With a anywhere in [0, 1] the encoding relaxes to the "
    "triangle, which shrinks with the bounds l and u.",
)
def milp(drawing: Drawing) -> None:
    """The big-M encoding and its linear relaxation."""
    panel = graph(drawing, USUAL, WIDE)
    low, high = USUAL
    panel.area([(low, 0), (0, 0), (high, high)], "open")
    panel.line([(low, 0), (0, 0)], "broken")
    panel.line([(0, 0), (high, high)], "proved")
    panel.text((-0.62, 0.22), "a = 0", "broken")
    panel.text((1.0, 0.72), "a = 1", "proved", "start")
    panel.text((0.05, 1.15), "0 ≤ a ≤ 1", "soft", "end")


@picture(
    "relu-repair",
    "Repairing a violated ReLU pair",
    "A solution of the linear part assigns the pair (x, z) a point off the ReLU's graph. A pivot"
    " moves z up or down, or x to the side, until the pair fits; a pair that is broken again and"
    " again is split into its two cases.",
)
def repair(drawing: Drawing) -> None:
    """Reluplex updates one of the two variables."""
    panel = graph(drawing, USUAL, WIDE)
    drawn_relu(panel, USUAL)
    repairs = (((0.45, 1.2), ((0.45, 0.5), (1.14, 1.2))), ((-0.85, 0.75), ((-0.85, 0.06),)))
    for start, ends in repairs:
        for end in ends:
            panel.arrow(start, end, "accent")
        panel.dot(start, "broken", 4.5)
    panel.text((0.35, 1.3), "z ≠ max(0, x)", "broken", "end")


@picture(
    "two-relus",
    "Two ReLUs relaxed one by one, and together",
    "Outputs of two ReLUs whose inputs satisfy |x₁| + |x₂| ≤ 1. One triangle each leaves the "
    "whole five-cornered area; the joint convex hull is the triangle z₁ + z₂ ≤ 1, an inequality "
    "that no relaxation of single neurons implies.",
)
def two_relus(drawing: Drawing) -> None:
    """Projection on (z₁, z₂) of both relaxations over the exact input polytope."""
    inputs = drawing.panel((14, 30, 150, 150), (-1.4, 1.4), (-1.4, 1.4))
    inputs.axes("x₁", "x₂")
    diamond: list[Point] = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    inputs.area(diamond, "open")
    inputs.line([*diamond, diamond[0]], "ink")
    outputs = drawing.panel((192, 30, 150, 150), (-0.25, 1.3), (-0.25, 1.3))
    outputs.axes("z₁", "z₂")
    alone: list[Point] = [(0, 0), (1, 0), (1, 0.5), (0.5, 1), (0, 1)]
    together: list[Point] = [(0, 0), (1, 0), (0, 1)]
    outputs.area(alone, "open")
    outputs.line([*alone, alone[0]], "soft", dashed=True)
    outputs.area(together)
    outputs.line([*together, together[0]], "accent")
    outputs.text((0.3, 0.25), "joint", "accent")
    outputs.text((1.0, 0.85), "one by one", "soft")
    whole = drawing.whole()
    whole.text((89, 12), "inputs", "soft")
    whole.text((267, 12), "outputs", "soft")
