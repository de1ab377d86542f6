"""One file a chart: a `CHART` that says on which kind of page it belongs and draws from the board.

Figures are plain Plotly JSON. Text colours and grid lines are left to the page's script, which
knows whether the reader chose light or dark.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from leaderboard.board.board import Board
from leaderboard.website import plot

Page = Literal["home", "setting", "submission"]

# Status colours are the page's own (site/assets/certboard.css); both readable on light and dark.
COLOURS = {"certified": "#1f8f75", "unknown": "#a9a392", "falsified": "#c65d43"}
SERIES = ("#1f8f75", "#3b7dbd", "#c4862c", "#c65d43", "#8a6cb8", "#5c8a2f", "#b0567f", "#6b7785")
STATUSES = tuple(COLOURS)
MOST_STEPS = 400
"""Steps of a staircase: more are not visible, and leaving some out moves no step upwards."""
MOST_LINES = 12
"""Smoothed models that one chart draws: those that certify most."""
MARKER = {"re-evaluated": "diamond", "reported": "circle-open"}


@dataclass(frozen=True)
class Drawing:
    """A figure with the same data as a small table, for readers without JavaScript."""

    figure: plot.Figure
    columns: Sequence[str]
    table: Sequence[Sequence[str]]

    def json(self) -> str:
        """The figure as Plotly's JSON, the same text for the same rows."""
        return self.figure.json()


@dataclass(frozen=True)
class Chart:
    """A kind of chart.

    `draw(board, subject)` draws it for a setting's id, a submission's slug or, on the home page,
    the empty string; None where there is nothing to draw.
    """

    name: str
    title: str
    caption: str
    pages: Sequence[Page]
    draw: Callable[[Board, str], Drawing | None]
    order: int = field(default=100)


def figure(layout: Mapping[str, object]) -> plot.Figure:
    """An empty figure in the site's style, with `layout` on top."""
    common: dict[str, object] = {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 52, "r": 16, "t": 12, "b": 92},
        "hovermode": "closest",
        "legend": {
            "orientation": "h",
            "traceorder": "normal",
            "yref": "container",
            "y": 0,
            "x": 0,
            "yanchor": "bottom",
        },
    }
    return plot.Figure(layout={**common, **layout})


def plain(text: str) -> str:
    """Foreign text for a figure: Plotly would read a few HTML tags in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


@cache
def catalogue() -> dict[str, Chart]:
    """Every chart in this folder by name, in the order they appear on a page."""
    found = [
        importlib.import_module(f"{__name__}.{module.name}").CHART
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    ]
    charts: dict[str, Chart] = {}
    for chart in sorted(found, key=lambda chart: (chart.order, chart.name)):
        if chart.name in charts:
            raise ValueError(f"two files in leaderboard/website/charts/ are called '{chart.name}'")
        charts[chart.name] = chart
    return charts
