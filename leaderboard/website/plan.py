"""What a section of the website plans: its pages, the charts on them, and files beside them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from leaderboard.board.board import Board
from leaderboard.common.formatting import safe
from leaderboard.results.kept import key_of, shared
from leaderboard.website.charts import Chart, Drawing, Page, catalogue
from leaderboard.website.still import NARROW, WIDTH, height_of, svg

View = dict[str, object]
"""What a page shows, as plain values for its template: chosen here, escaped there."""

Files = Iterable[tuple[str, bytes]]
"""Paths below the website's root, and what is written there."""


@dataclass(frozen=True)
class Drawn:
    """A chart on a page: where its JSON lies, its height in pixels and its data as a table.

    Beside the JSON lie still pictures of the same figure, for wide screens and for phones.
    """

    chart: Chart
    heading: str
    path: str
    height: int
    drawing: Drawing
    columns: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]

    @property
    def still(self) -> str:
        """Where its picture lies, for readers whose browser runs no scripts, and for print."""
        return f"{self.path.removesuffix('.json')}.svg"

    @property
    def narrow(self) -> str:
        """Where the picture for phones lies."""
        return f"{self.path.removesuffix('.json')}-narrow.svg"

    @property
    def narrow_size(self) -> tuple[int, int]:
        """Width and height of the picture for phones, in pixels."""
        return NARROW, height_of(self.drawing.figure, NARROW)


def drawn(board: Board, page: Page, subject: str = "") -> tuple[Drawn, ...]:
    """All charts of one page that have something to show."""
    found = []
    for chart in catalogue().values():
        drawing = chart.draw(board, subject) if page in chart.pages else None
        if drawing is None:
            continue
        found.append(
            Drawn(
                chart=chart,
                heading="How far are we?" if page == "home" and chart.name == "progress" else "",
                path=f"charts/{page}/{f'{subject}/' if subject else ''}{chart.name}.json",
                height=int(str(drawing.figure.layout.get("height", 360))),
                drawing=drawing,
                columns=tuple(drawing.columns),
                table=tuple(tuple(row) for row in drawing.table),
            )
        )
    return tuple(found)


def _still(item: Drawn, figure: str, width: int = WIDTH) -> bytes:
    """The picture of a chart, that wide, kept for the same figure, whose JSON is given."""
    title = item.chart.title
    return shared().made(
        key_of("still", [title, figure, str(width)]),
        lambda: svg(item.drawing.figure, title, width).encode(),
    )


def code(lines: Sequence[str]) -> Markup:
    """Lines for a block of code, indented as they are, with nothing alive in them."""
    indents = (len(line) - len(line.lstrip(" ")) for line in lines)
    return Markup("\n").join(
        Markup(" " * indent + (safe(line) or " "))
        for indent, line in zip(indents, lines, strict=True)
    )


@dataclass(frozen=True)
class PagePlan:
    """One page to generate: its path without suffix, its template and what to show.

    `beside` gives further files, made only when they are written.
    """

    path: str
    template: str
    view: View
    charts: tuple[Drawn, ...] = ()
    beside: Callable[[], Files] = tuple

    def files(self) -> Files:
        """The figures of its charts, and what else lies beside it."""
        for item in self.charts:
            figure = item.drawing.json()
            yield item.path, figure.encode()
            yield item.still, _still(item, figure)
            yield item.narrow, _still(item, figure, NARROW)
        yield from self.beside()
