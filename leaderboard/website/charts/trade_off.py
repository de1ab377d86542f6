"""Accuracy against robustness in one setting, with what nothing else beats in both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing
from leaderboard.website import plot
from leaderboard.website.charts import MARKER, SERIES, Chart, Drawing, figure, plain

KIND_COLOURS = {"deterministic": SERIES[0], "probabilistic": SERIES[1]}
SYMBOLS = {
    ("re-evaluated", "deterministic"): MARKER["re-evaluated"],
    ("re-evaluated", "probabilistic"): "triangle-up",
    ("reported", "deterministic"): MARKER["reported"],
    ("reported", "probabilistic"): "triangle-up-open",
}
"""Filled for what was measured here; no kind is told by its colour alone."""
DASHES = {"re-evaluated": "solid", "reported": "dot"}


@dataclass(frozen=True)
class TradeOff:
    """One result; clean and certified accuracy in percent, `ranked` on enough examples."""

    clean: float
    certified: float
    title: str
    ranked: bool = True


def points(lines: Iterable[Standing], tier: str, kind: str) -> list[TradeOff]:
    """The results of a tier and kind that have both numbers, and prove something."""
    return [
        TradeOff(
            round(100 * line.clean, 2),
            round(100 * line.certified, 2),
            line.title,
            ranked=not line.short,
        )
        for line in lines
        if (line.tier, line.kind) == (tier, kind) and line.clean is not None and line.certified
    ]


def pareto_front(found: Iterable[TradeOff]) -> list[TradeOff]:
    """Those that none surpasses in one number without losing in the other, by clean accuracy."""
    front: list[TradeOff] = []
    for point in sorted(found, key=lambda one: (-one.clean, -one.certified, one.title)):
        if not front or point.certified > front[-1].certified:
            front.append(point)
    return front[::-1]


def _marks(found: Sequence[TradeOff], tier: str, kind: str) -> plot.Trace:
    return plot.scatter(
        x=[point.clean for point in found],
        y=[point.certified for point in found],
        mode="markers",
        marker={
            "symbol": SYMBOLS[tier, kind],
            "size": 11 if tier == "re-evaluated" else 8,
            "color": KIND_COLOURS[kind],
        },
        text=[plain(point.title) for point in found],
        hovertemplate="%{text}<br>clean %{x:.2f} %, certified %{y:.2f} %<extra></extra>",
        name=f"{tier}, {kind}",
    )


def _front(front: Sequence[TradeOff], tier: str, kind: str) -> plot.Trace:
    # Between two of its points nothing is promised: the line goes by the worse of each number.
    return plot.scatter(
        x=[point.clean for point in front],
        y=[point.certified for point in front],
        mode="lines",
        line={"shape": "vh", "color": KIND_COLOURS[kind], "dash": DASHES[tier], "width": 1.5},
        name=f"Pareto front, {tier}, {kind}",
        hoverinfo="skip",
    )


def draw(board: Board, subject: str) -> Drawing | None:
    """A mark a result, a front a tier and kind; a front of one is no line."""
    lines = board.standings[subject]
    drawn = figure(
        {
            "xaxis": {"title": {"text": "Clean accuracy (%)"}},
            "yaxis": {"title": {"text": "Certified accuracy (%)"}},
            "height": 420,
            "showlegend": True,
        }
    )
    table: list[list[str]] = []
    total = 0
    for tier, kind in product(MARKER, KIND_COLOURS):
        found = points(lines, tier, kind)
        if found:
            drawn.add_trace(_marks(found, tier, kind))
        front = pareto_front(point for point in found if point.ranked)
        if len(front) > 1:
            drawn.add_trace(_front(front, tier, kind))
        total += len(found)
        table += [
            [
                tier,
                kind,
                point.title,
                f"{point.clean:.2f}",
                f"{point.certified:.2f}",
                "yes" if point in front else "no" if point.ranked else "too few examples",
            ]
            for point in sorted(found, key=lambda one: (-one.certified, -one.clean, one.title))
        ]
    columns = ("Tier", "Kind", "Title", "Clean (%)", "Certified (%)", "On its front")
    return Drawing(drawn, columns, table) if total > 1 else None


CHART = Chart(
    name="trade-off",
    title="Accuracy against robustness",
    caption="Up and right is better. A line joins the results that no other of its tier and kind "
    "surpasses in one accuracy without losing in the other: the Pareto front. Results "
    "on too few examples for a rank are on no front. Filled marks were re-"
    "evaluated by certboard, open ones are numbers reported by papers; triangles are "
    "probabilistic certificates. Results with only one of the two numbers are left out.",
    pages=("setting",),
    draw=draw,
    order=5,
)
