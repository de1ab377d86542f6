"""The progress bar of a run: counts so far and the time left, on standard error."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pandas as pd
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

console = Console(stderr=True)
"""Everything that is not the command's result goes here."""

_COUNTS = (
    "[green]{task.fields[certified]} certified[/] "
    "[red]{task.fields[falsified]} falsified[/] "
    "[yellow]{task.fields[unknown]} unknown[/]"
)


class RunProgress:
    """A bar for one evaluation; `advance` takes the rows of each shard."""

    def __init__(self, title: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn(_COUNTS),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._counts = {"certified": 0, "falsified": 0, "unknown": 0}
        self._title, self._total = title, total
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        fields: dict[str, Any] = {"total": self._total, **self._counts}
        self._task = self._progress.add_task(self._title, **fields)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, rows: pd.DataFrame, _resumed: bool) -> None:
        """Count a finished shard."""
        assert self._task is not None
        for status, count in rows["status"].value_counts().items():
            self._counts[str(status)] += int(count)
        counts: dict[str, Any] = dict(self._counts)
        self._progress.update(self._task, advance=len(rows), **counts)


def show_table(entries: Sequence[Mapping[str, object]]) -> None:
    """Print records as a table on standard output; the first column is never cut."""
    table = Table()
    for number, name in enumerate(entries[0] if entries else ["nothing yet"]):
        table.add_column(name, no_wrap=number == 0, overflow="fold")
    for entry in entries:
        table.add_row(*("" if value is None else str(value) for value in entry.values()))
    out = Console()
    # A pipe has no width: do not wrap what a program may read.
    Console(width=out.width if out.is_terminal else 200).print(table)
