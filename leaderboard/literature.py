"""Results that papers reported, in `literature.csv`: shown beside ours, and marked "reported".

Three collections, named in the column `source`: the SoK leaderboard's board and its progress series
(sokcertifiedrobustness.github.io, until June 2024; arXiv:2009.04131), and results published since,
from the papers' own tables. A board row has no date of its own: `date` is its venue's year, or for
a preprint the month of its arXiv identifier.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from leaderboard.errors import InputError
from leaderboard.setting import ExactText, Norm, exact_fraction
from leaderboard.strict_toml import Strict, parse
from leaderboard.text import Date, Line, Url

FILE = Path(__file__).parent / "literature.csv"

_BOARD = "SoK leaderboard, board"
Source = Literal["SoK leaderboard, board", "SoK leaderboard, progress", "since 2024"]


def _number(cell: Any) -> Any:
    return (
        float(cell) if isinstance(cell, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", cell) else cell
    )


Percent = Annotated[float, BeforeValidator(_number), Field(ge=0, le=100)]


class Reported(Strict):
    """One published result; accuracies in percent, None where the source gives none.

    `dataset` is a dataset's name, also of datasets that certboard does not measure (`cifar100`).
    `kind` is `empirical` where nothing was proved: `attack` is then the accuracy that attacks left.
    """

    dataset: str = Field(pattern=r"^[a-z0-9]+$")
    norm: Norm
    radius_text: ExactText = Field(alias="radius")
    kind: Literal["deterministic", "probabilistic", "empirical"]
    certified: Percent | None = None
    clean: Percent | None = None
    attack: Percent | None = None
    approach: Line = ""
    title: Line
    venue: Line = ""
    date: Date = ""
    url: Url = ""
    note: Line = ""
    extra_data: Line = ""
    source: Source

    @property
    def radius(self) -> Fraction:
        """The exact radius."""
        return exact_fraction(self.radius_text)

    @model_validator(mode="after")
    def _has_what_its_kind_says(self) -> Self:
        if self.kind == "empirical" and (self.certified is not None or self.attack is None):
            raise ValueError("must have an attack accuracy and no certified one: it is empirical")
        if self.kind != "empirical" and self.certified is None:
            raise ValueError(f"must have a certified accuracy: it is {self.kind}")
        if self.clean is not None and self.certified is not None and self.certified > self.clean:
            raise ValueError("must not have a certified accuracy above the clean one")
        return self


def read_literature(path: Path) -> list[Reported]:
    """Every row of the file at `path`, in order.

    Raises:
        InputError: a sentence for each thing wrong, with its line.
    """
    rows: list[Reported] = []
    problems: list[str] = []
    with path.open(encoding="utf-8", newline="") as lines:
        for number, cells in enumerate(csv.DictReader(lines, restkey="surplus"), start=2):
            filled = {name: cell for name, cell in cells.items() if cell not in ("", None)}
            try:
                rows.append(parse(Reported, filled, f"{path.name}, line {number}"))
            except InputError as error:
                problems.extend(error.problems)
    if problems:
        raise InputError(*problems)
    return rows


def join(rows: Iterable[Reported]) -> tuple[Reported, ...]:
    """The rows, with a board row that another collection repeats joined into that one.

    They are the same result if dataset, norm, radius, kind, title (but for case and punctuation)
    and certified accuracy are equal. The joined row is the other collection's, which has the date;
    what it leaves empty is the board's, and the notes are kept of both.
    """
    listed = list(rows)
    boards: dict[tuple[object, ...], list[Reported]] = defaultdict(list)
    for row in listed:
        if row.source == _BOARD:
            boards[_result(row)].append(row)
    joined: list[Reported] = []
    repeated: list[Reported] = []
    for row in listed:
        if row.source != _BOARD and (same := boards[_result(row)]):
            repeated.append(same.pop(0))
            row = _filled(row, repeated[-1])
        joined.append(row)
    return tuple(row for row in joined if not any(row is other for other in repeated))


def _result(row: Reported) -> tuple[object, ...]:
    title = re.sub("[^a-z0-9]", "", row.title.casefold())
    return row.dataset, row.norm, row.radius, row.kind, title, row.certified


def _filled(row: Reported, board: Reported) -> Reported:
    empty = {name for name in ("approach", "venue", "url", "extra_data") if not getattr(row, name)}
    notes = dict.fromkeys(note for note in (row.note, board.note) if note)
    update = {name: getattr(board, name) for name in empty} | {"note": "; ".join(notes)}
    return row.model_copy(update=update)


@cache
def load_literature() -> tuple[Reported, ...]:
    """Every published result once: all rows of `literature.csv`, repeated ones joined."""
    return join(read_literature(FILE))
