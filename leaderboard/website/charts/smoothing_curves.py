"""Certified accuracy against radius, one line a smoothed model, and the best of them."""

from collections.abc import Sequence
from fractions import Fraction

from leaderboard.board.board import Board
from leaderboard.board.smoothed import columns, curves, envelope, foremost, steps, thinned
from leaderboard.common.formatting import percent
from leaderboard.website import plot
from leaderboard.website.charts import MOST_LINES, MOST_STEPS, SERIES, Chart, Drawing, figure, plain

ENVELOPE = "best of all, chosen afterwards"

Falls = Sequence[tuple[Fraction, float]]


def _staircase(falls: Falls, clean: float, label: str, line: dict[str, object]) -> plot.Trace:
    """A line from the clean accuracy down to zero."""
    radii = [0.0, *(float(radius) for radius, _ in falls)]
    shares = [clean, *(share for _, share in falls)]
    return plot.scatter(
        x=[*radii, radii[-1]],
        y=[round(100 * share, 3) for share in [*shares, 0.0]],
        mode="lines",
        line={"shape": "vh", **line},
        name=label,
        hovertemplate="radius %{x:.3f}: %{y:.1f} %<extra></extra>",
    )


def draw(board: Board, subject: str) -> Drawing | None:
    """All smoothed models of the setting's dataset and norm."""
    found = curves(board, subject)
    if not found:
        return None
    drawn = figure(
        {
            "yaxis": {"title": {"text": "Certified accuracy (%)"}, "range": [0, 101]},
            "xaxis": {"title": {"text": "Radius"}, "rangemode": "tozero"},
            "height": 400,
            "showlegend": True,
        }
    )
    if len(leading := [curve for curve in found if curve.leads]) > 1:
        best = envelope([steps(curve.result.tally, MOST_STEPS) for curve in leading])
        clean = max(curve.certified(Fraction(0)) for curve in leading)
        wide: dict[str, object] = {"color": "rgba(138,143,140,0.35)", "width": 8}
        drawn.add_trace(_staircase(thinned(best, MOST_STEPS), clean, ENVELOPE, wide))
    found = foremost(found, board.settings[subject].radius, MOST_LINES)
    for position, curve in enumerate(found):
        colour, dash = SERIES[position % len(SERIES)], "solid" if curve.own else "dash"
        line: dict[str, object] = {"color": colour, "width": 2, "dash": dash}
        falls, label = steps(curve.result.tally, MOST_STEPS), plain(curve.label)
        drawn.add_trace(_staircase(falls, curve.certified(Fraction(0)), label, line))
    radii = columns(board, subject, found)
    table = [
        [
            curve.title,
            curve.noise,
            curve.sigma,
            f"{float(radius):.4g}",
            percent(curve.certified(radius)),
        ]
        for curve in found
        for radius in radii
    ]
    return Drawing(drawn, ("Submission", "Noise", "σ", "Radius", "Certified (%)"), table)


CHART = Chart(
    name="smoothing-curves",
    title="Smoothed models: certified accuracy against radius",
    caption="One line per model, for at most the twelve with the highest certified accuracy at "
    "this radius; dashed where it was measured in another setting of this dataset and "
    "norm. A certificate holds for its own example with the stated confidence. The wide "
    "grey line is the best at each radius among models with enough examples, chosen after "
    "the fact on these same examples: it is not the accuracy of any one model, and it "
    "is somewhat too high. A procedure that stops early stops at the setting's radius, and "
    "its line means little beyond that radius.",
    pages=("setting",),
    draw=draw,
    order=30,
)
