"""Certified accuracy against radius, for one submission."""

from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.board.smoothed import steps
from leaderboard.website import plot
from leaderboard.website.charts import COLOURS, MOST_STEPS, SERIES, Chart, Drawing, figure

if TYPE_CHECKING:
    from leaderboard.results.store import Results


def _smoothed(drawn: plot.Figure, board: Board, result: "Results", colour: str) -> list[list[str]]:
    title = board.settings[result.provenance.setting].title
    clean = board.line_of(result).clean or 0.0
    falls = steps(result.tally, MOST_STEPS)
    radii = [0.0, *(float(radius) for radius, _ in falls)]
    shares = [clean, *(share for _, share in falls)]
    end = radii[-1] * 1.02
    drawn.add_trace(
        plot.scatter(
            x=[*radii, radii[-1], end],
            y=[round(100 * share, 3) for share in [*shares, 0.0, 0.0]],
            mode="lines",
            line={"shape": "vh", "color": colour, "width": 2},
            name=title,
            hovertemplate="radius %{x:.3f}: %{y:.1f} %<extra></extra>",
        )
    )
    tenth = max(1, len(falls) // 10)
    return [[title, f"{float(r):.4f}", f"{100 * s:.1f}", ""] for r, s in falls[::tenth]]


def _exact(
    drawn: plot.Figure, board: Board, found: list["Results"], label: str, colour: str
) -> list[list[str]]:
    """One point a setting, certified below and attacked above, the unknown between them."""
    points = []
    for result in found:
        radius = board.settings[result.provenance.setting].radius
        value = board.line_of(result).measured
        points.append((radius, value["certified"] or 0.0, value["attack"], value["clean"] or 0.0))
    points.sort()
    radii = [0.0, *(float(point[0]) for point in points)]
    clean = points[0][3]
    attacked = [clean, *(clean if point[2] is None else point[2] for point in points)]
    certified = [clean, *(point[1] for point in points)]
    for name, shares, dash, fill in (
        ("not broken by an attack", attacked, "dot", None),
        ("certified", certified, "solid", "tonexty"),
    ):
        drawn.add_trace(
            plot.scatter(
                x=radii,
                y=[round(100 * share, 3) for share in shares],
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2},
                marker={"symbol": "diamond" if dash == "solid" else "triangle-down-open"},
                fill=fill,
                fillcolor="rgba(169,163,146,0.22)",
                name=f"{label}, {name}",
                hovertemplate="radius %{x:.4f}: %{y:.1f} %<extra></extra>",
            )
        )
    return [
        [label, f"{radius:.4f}", f"{100 * low:.1f}", f"{100 * high:.1f}"]
        for radius, low, high in zip(radii, certified, attacked, strict=True)
    ]


def draw(board: Board, subject: str) -> Drawing | None:
    """All results of one submission; other norms and datasets are other lines."""
    groups: dict[str, list[Results]] = {}
    table: list[list[str]] = []
    drawn = figure(
        {
            "yaxis": {"title": {"text": "Certified accuracy (%)"}, "range": [0, 101]},
            "xaxis": {"title": {"text": "Radius"}, "rangemode": "tozero"},
            "height": 380,
        }
    )
    for result in board.results_of.get(subject, ()):
        setting = board.settings[result.provenance.setting]
        if result.tally.smoothed:
            colour = SERIES[len(table) and (len(drawn.data) % len(SERIES))]
            table += _smoothed(drawn, board, result, colour)
        else:
            family = setting.title.rsplit(" · ", 1)[0]
            groups.setdefault(family, []).append(result)
    for position, (label, found) in enumerate(groups.items()):
        colour = COLOURS["certified"] if position == 0 else SERIES[position % len(SERIES)]
        table += _exact(drawn, board, found, label, colour)
    columns = ("Setting", "Radius", "Certified (%)", "Not broken by an attack (%)")
    return Drawing(drawn, columns, table) if table else None


CHART = Chart(
    name="radius-curve",
    title="Certified accuracy against radius",
    caption="A deterministic model has one point per setting: the true robust accuracy lies "
    "between the solid line (proved) and the dotted one (no attack succeeded). Straight "
    "lines between points only guide the eye. For a smoothed model the curve is measured "
    "at every radius; each example's certificate holds with the confidence stated in the "
    "provenance.",
    pages=("submission",),
    draw=draw,
    order=20,
)
