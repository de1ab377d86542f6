"""How long an example takes, setting by setting and by what came of it, for one submission."""

import math
from typing import Any

from leaderboard.board.board import Board
from leaderboard.common.formatting import seconds
from leaderboard.results.highlights import Times
from leaderboard.website import plot
from leaderboard.website.charts import COLOURS, STATUSES, Chart, Drawing, figure

LEAST = 1e-6
"""Seconds: what is stored is rounded to this, and a logarithm needs more than nothing."""

_APART = 0.22
"""Between the lines of a setting, whose distance to the next setting is 1."""


def draw(board: Board, subject: str) -> Drawing | None:
    """One line a setting and status: from the fastest twentieth to the slowest, and the median."""
    found = board.results_of.get(subject, ())
    if not found:
        return None
    titles = [board.settings[result.provenance.setting].title for result in found]
    lines: dict[str, list[tuple[float, list[float], str]]] = {status: [] for status in STATUSES}
    table: list[list[str]] = []
    for position, (result, title) in enumerate(zip(found, titles, strict=True)):
        for offset, status in enumerate(STATUSES, start=-1):
            if times := result.highlights.times.get(status):
                parts = [max(part, LEAST) for part in times.parts]
                told = f"{title}: {times.examples:,} {status}"
                lines[status].append((position + _APART * offset, parts, told))
                table.append(_row(title, status, times))
    ends = [parts for ranges in lines.values() for _, parts, _ in ranges]
    ticks = _ticks(min(parts[0] for parts in ends), max(parts[-1] for parts in ends))
    drawn = figure(
        {
            "xaxis": {
                "title": {"text": "Time for one example"},
                "type": "log",
                "tickvals": ticks,
                "ticktext": [seconds(tick) for tick in ticks],
            },
            "yaxis": {
                "automargin": True,
                "range": [len(titles) - 0.5, -0.5],
                "tickvals": list(range(len(titles))),
                "ticktext": titles,
                "zeroline": False,
            },
            "height": 170 + 62 * len(titles),
        }
    )
    for status, ranges in lines.items():
        if ranges:
            _add(drawn, status, ranges)
    columns = ("Setting", "Status", "Examples", "Median", "95 % within", "Longest", "Together")
    return Drawing(drawn, columns, table)


def _ticks(least: float, most: float) -> list[float]:
    """1, 2 and 5 times powers of ten around a range; powers alone where it is wide."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    digits = (1, 2, 5) if len(powers) <= 4 else (1,)
    return [float(f"{digit}e{power}") for power in powers for digit in digits]


def _row(title: str, status: str, times: Times) -> list[str]:
    told = (times.parts[2], times.parts[4], times.longest, times.together)
    return [title, status, f"{times.examples:,}", *map(seconds, told)]


def _add(drawn: plot.Figure, status: str, ranges: list[tuple[float, list[float], str]]) -> None:
    """A thin line for 90 % of the examples, a thick one for the middle half, a mark for half."""
    colour = COLOURS[status]
    common: dict[str, Any] = {"legendgroup": status, "hoverinfo": "skip", "showlegend": False}
    for width, first, last in ((2, 0, 4), (7, 1, 3)):
        x = [end for _, parts, _ in ranges for end in (parts[first], parts[last], None)]
        y = [end for place, _, _ in ranges for end in (place, place, None)]
        line = {"color": colour, "width": width}
        drawn.add_trace(plot.scatter(x=x, y=y, mode="lines", line=line, **common))
    drawn.add_trace(
        plot.scatter(
            x=[parts[2] for _, parts, _ in ranges],
            y=[place for place, _, _ in ranges],
            mode="markers",
            marker={
                "color": colour,
                "size": 11,
                "symbol": "line-ns",
                "line": {"color": colour, "width": 3},
            },
            name=status,
            legendgroup=status,
            text=[told for _, _, told in ranges],
            hovertemplate="%{text}<br>half of them within %{x:.3g} s<extra></extra>",
        )
    )


CHART = Chart(
    name="seconds",
    title="How long it took",
    caption="Seconds per example, as its row records them, on the machine that the provenance "
    "names. The thin line spans all but the fastest and the slowest twentieth, the thick one the "
    "middle half, and the mark is the median. Evaluators that process a batch at once "
    "divide its time equally among its examples.",
    pages=("submission",),
    draw=draw,
    order=40,
)
