"""Between what is proved and what is broken: the unknown of each re-evaluated model."""

from collections.abc import Sequence

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing
from leaderboard.common.formatting import percent
from leaderboard.website import plot
from leaderboard.website.charts import COLOURS, Chart, Drawing, figure, plain

MOST = 15
"""Models that are drawn: the first of the ranking."""

_LONGEST = 34


def _label(line: Standing) -> str:
    title = line.title if len(line.title) <= _LONGEST else f"{line.title[: _LONGEST - 1]}…"
    place = f"{line.rank}. " if line.rank else ""
    return plain(f"{place}{title}" + (" · sampled" if line.kind == "probabilistic" else ""))


def _upper(line: Standing) -> float:
    """What no attack has broken; for a smoothed model nothing is attacked, and all is open."""
    certified, unknown = line.certified or 0.0, line.unknown or 0.0
    return certified + unknown if line.attack is None else line.attack


def _bar(lines: Sequence[Standing], status: str, shares: Sequence[float]) -> plot.Trace:
    return plot.bar(
        y=[line.slug for line in lines],
        x=[round(100 * share, 2) for share in shares],
        orientation="h",
        name=status,
        marker={"color": COLOURS[status]},
        hovertemplate=f"{status}: %{{x:.2f}} %<extra></extra>",
    )


def _intervals(lines: Sequence[Standing]) -> plot.Trace:
    """Where a subset was evaluated: the 95 % interval of the certified accuracy."""
    known = [(line, line.interval, line.certified or 0.0) for line in lines if line.interval]
    return plot.scatter(
        y=[line.slug for line, _, _ in known],
        x=[round(100 * certified, 2) for _, _, certified in known],
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 9, "color": "#4c5557"},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [round(100 * (found.high - at), 2) for _, found, at in known],
            "arrayminus": [round(100 * (at - found.low), 2) for _, found, at in known],
            "color": "#4c5557",
            "thickness": 1.5,
        },
        name="95 % interval of certified",
        hovertemplate="certified %{x:.2f} %<extra></extra>",
    )


def _clean(lines: Sequence[Standing]) -> plot.Trace:
    return plot.scatter(
        y=[line.slug for line in lines],
        x=[round(100 * (line.clean or 0.0), 2) for line in lines],
        mode="markers",
        marker={"symbol": "diamond-open", "size": 9, "color": "#8a8f8c"},
        name="clean",
        hovertemplate="clean %{x:.2f} %<extra></extra>",
    )


def draw(board: Board, subject: str) -> Drawing | None:
    """One bar a model: certified, then unknown; right of it what an attack broke."""
    lines = board.re_evaluated(subject)[:MOST]
    if not lines:
        return None
    drawn = figure(
        {
            "barmode": "stack",
            "bargap": 0.5,
            "xaxis": {"title": {"text": "Examples (%)"}, "range": [0, 101]},
            "yaxis": {
                "automargin": True,
                "autorange": "reversed",
                "type": "category",
                # Bars of one name would be one bar, and titles may begin alike.
                "tickvals": [line.slug for line in lines],
                "ticktext": [_label(line) for line in lines],
            },
            "height": 190 + 32 * len(lines),
        }
    )
    certified = [line.certified or 0.0 for line in lines]
    between = [_upper(line) - low for line, low in zip(lines, certified, strict=True)]
    drawn.add_trace(_bar(lines, "certified", certified))
    drawn.add_trace(_bar(lines, "unknown", between))
    drawn.add_trace(_clean(lines))
    if any(line.interval for line in lines):
        drawn.add_trace(_intervals(lines))
    table = [
        [
            str(line.rank or "–"),
            line.title,
            percent(line.certified),
            f"{percent(line.interval.low)} to {percent(line.interval.high)}"
            if line.interval
            else "exact",
            percent(line.attack),
            percent(line.unknown),
            percent(line.clean),
        ]
        for line in lines
    ]
    columns = ("#", "Model", "Certified (%)", "95 % interval", "Attack (%)", "Unknown", "Clean (%)")
    return Drawing(drawn, columns, table)


CHART = Chart(
    name="bounds",
    title="Proved, broken, unknown",
    caption="The robust accuracy of a model lies between the end of the green bar (proved: a "
    "lower bound) and the end of the grey one (no attack succeeded: an upper bound). The "
    "chart shows at most fifteen re-evaluated models, proofs first and sampled certificates "
    "below them, each kind with its own ranks. Where a "
    "subset was evaluated, the thin line is the 95 % confidence interval of the certified "
    "accuracy. Smoothed models are not attacked, so all of their examples that are not "
    "certified are unknown.",
    pages=("setting",),
    draw=draw,
    order=8,
)
