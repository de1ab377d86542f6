"""What a terminal shows: the progress of a run on standard error, tables on standard output."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from leaderboard.common.streams import visible

if TYPE_CHECKING:
    import pandas as pd

console = Console(stderr=True)
"""Everything that is not the command's result goes here."""

_NARROWEST = 16
_COUNTS = (
    "[green]{task.fields[certified]} certified[/] "
    "[red]{task.fields[falsified]} falsified[/] "
    "[yellow]{task.fields[unknown]} unknown[/]"
)


_listening: list[Callable[[str], None]] = []


def tell(line: str) -> None:
    """Print a line about what is going on, as it is but for what is not printed."""
    console.print(Text(visible(line)), soft_wrap=True)
    for listener in _listening:
        listener(line)


@contextmanager
def heard(listener: Callable[[str], None]) -> Iterator[None]:
    """Hand every line that is told in this context to a listener, too."""
    _listening.append(listener)
    try:
        yield
    finally:
        _listening.remove(listener)


class _Time(TextColumn):
    """The time left; when all is done, the time it took."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Text:
        """`1:02 left` or `in 3:04`."""
        if task.finished:
            return Text(f"in {_clock(task.finished_time)}")
        return Text(f"{_clock(task.time_remaining)} left")


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class RunProgress:
    """A title, and under it a bar; `advance` takes the rows of each shard."""

    def __init__(self, title: str, total: int) -> None:
        self._progress = Progress(
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn(_COUNTS),
            _Time(),
            console=console,
        )
        self._title, self._total = title, total
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        self.restart(self._title, self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def restart(self, title: str, total: int) -> None:
        """A new bar under a new title."""
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._progress.start()
        tell(title)
        self._counts = {"certified": 0, "falsified": 0, "unknown": 0}
        fields: dict[str, Any] = {"total": total, **self._counts}
        self._task = self._progress.add_task("", **fields)

    def advance(self, rows: "pd.DataFrame", resumed: bool) -> None:
        """Count a shard; one that was already there says nothing about the time left."""
        assert self._task is not None
        for status, count in rows["status"].value_counts().items():
            self._counts[str(status)] += int(count)
        fields: dict[str, Any] = dict(self._counts)
        if resumed:
            fields["completed"] = sum(self._counts.values())
            self._progress.reset(self._task, **fields)
        else:
            self._progress.update(self._task, advance=len(rows), **fields)


def show_table(entries: Sequence[Mapping[str, object]], hidden: Collection[str] = ()) -> None:
    """Print records as a table on standard output, without the fields that are `hidden`.

    Only the last column is ever wrapped.
    """
    names = [name for name in entries[0] if name not in hidden] if entries else ["nothing yet"]
    cells = [[_cell(entry[name]) for name in names] for entry in entries]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number, name in enumerate(names):
        table.add_column(name, no_wrap=number < len(names) - 1)
    for row in cells:
        table.add_row(*map(Text, row))
    out = Console()
    *others, last = (max(map(len, column)) + 2 for column in zip(names, *cells, strict=True))
    # A pipe has no width: do not wrap what a program may read.
    wraps = out.is_terminal and out.width - sum(others) >= _NARROWEST
    width = min(out.width, sum(others) + last) if wraps else sum(others) + last
    Console(width=width).print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else visible(str(value))
