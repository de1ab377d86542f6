"""Certified accuracy against radius as counted from the files that authors published."""

from collections.abc import Sequence
from fractions import Fraction

from leaderboard.board.board import Board
from leaderboard.common.formatting import percent
from leaderboard.field.authors_curves import AuthorsCurve, load_authors_curves
from leaderboard.field.literature import Reported
from leaderboard.field.sources import COUNTED
from leaderboard.settings.setting import exact_text
from leaderboard.website import plot
from leaderboard.website.charts import SERIES, Chart, Drawing, figure

_DASHES = {Fraction("0.12"): "dot", Fraction("0.25"): "solid", Fraction("0.5"): "dash"}
"""By the scale of the noise; a larger one has dashes and dots."""


def curves_beside(board: Board, setting: str) -> list[AuthorsCurve]:
    """The files that a setting's reported numbers were counted from, and Cohen et al.'s."""
    place = board.settings[setting]
    if place.norm != "l2":
        return []
    cited = {row.read_in for row in board.literature if _counted(row, place.dataset)}
    here = {
        line.reported.read_in
        for line in board.reported(setting)
        if line.reported and line.reported.source == COUNTED
    }
    return [
        curve
        for curve in load_authors_curves()
        if curve.dataset == place.dataset
        and (f"{curve.repository} {curve.path}" in (here or cited) or _is_first(curve))
    ]


def _counted(row: Reported, dataset: str) -> bool:
    return row.source == COUNTED and row.dataset == dataset


def _is_first(curve: AuthorsCurve) -> bool:
    return curve.repository == "locuslab/smoothing" and curve.usual


def _label(curve: AuthorsCurve) -> str:
    return f"{curve.method}, σ = {float(curve.sigma):g}"


def _line(curve: AuthorsCurve, methods: Sequence[str]) -> plot.Trace:
    return plot.scatter(
        x=[float(radius) for radius in curve.counts],
        y=[round(100 * curve.share(radius), 2) for radius in curve.counts],
        mode="lines+markers",
        line={
            "color": SERIES[methods.index(curve.method) % len(SERIES)],
            "dash": _DASHES.get(curve.sigma, "dashdot"),
            "width": 1.6,
        },
        marker={"symbol": "square-open", "size": 6},
        name=_label(curve),
        hovertemplate="radius %{x}: %{y:.2f} %<extra></extra>",
    )


def draw(board: Board, subject: str) -> Drawing | None:
    """A line a file, at the radii that were counted; straight between them to guide the eye."""
    found = curves_beside(board, subject)
    if not found:
        return None
    drawn = figure(
        {
            "yaxis": {"title": {"text": "Certified accuracy (%)"}, "range": [0, 101]},
            "xaxis": {"title": {"text": "Radius"}, "rangemode": "tozero"},
            "height": 430,
            "showlegend": True,
        }
    )
    methods = list(dict.fromkeys(curve.method for curve in found))
    found.sort(key=lambda curve: (methods.index(curve.method), curve.sigma, curve.path))
    drawn.data.extend(_line(curve, methods) for curve in found)
    radii = list(found[0].counts)
    table = [
        [
            _label(curve),
            f"{curve.examples:,}",
            *(percent(curve.share(radius)) for radius in radii),
        ]
        for curve in found
    ]
    return Drawing(drawn, ("Model", "Examples", *map(exact_text, radii)), table)


CHART = Chart(
    name="authors-curves",
    title="Counted from authors’ files: certified accuracy against radius",
    caption="The third tier: certboard counted these from the files, one line per example, that "
    "authors of smoothing papers published. No sample was drawn again, and nothing here is "
    "ranked with re-evaluated models. The chart shows the files behind this page's reported "
    "numbers, and those of Cohen et al. for each noise level; a line starts, at radius 0, at the "
    "smoothed model's clean accuracy.",
    pages=("setting",),
    draw=draw,
    order=35,
)
