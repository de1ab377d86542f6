"""Results that papers reported, in `literature.csv`: shown beside ours, and marked "reported".

Three collections, named in the column `source`: the SoK leaderboard's board and its progress series
(sokcertifiedrobustness.github.io, until June 2024; arXiv:2009.04131), and results published since,
from the papers' own tables. A board row has no date of its own: `date` is the month that the
progress series gives for the same paper, else the month of its arXiv identifier, else its venue's
year.

`protocol` is how the number came about, as far as the paper, its published code or the collection
says: which test examples, how many samples or seconds, which verifier or attack. Nothing is
guessed: where it is empty, nobody looked it up. `extra_data` likewise: `none`, `unlabelled` or
`generated` where the source says so, empty where it does not.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from leaderboard.common.errors import InputError, nearest
from leaderboard.common.strict_toml import Strict, parse
from leaderboard.common.text import Date, OneLine, Url
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.settings.setting import ExactText, NormName, exact_fraction

FILE = Path(__file__).parent / "literature.csv"

_BOARD = "SoK leaderboard, board"
Source = Literal["SoK leaderboard, board", "SoK leaderboard, progress", "since 2024"]


@dataclass(frozen=True)
class Collection:
    """Where a part of the rows comes from: in words, its address, and under which licence."""

    told: str
    url: str
    licence: str


_SOK_URL = "https://sokcertifiedrobustness.github.io/leaderboard/"
_SOK_LICENCE = "its repository is under the MIT licence"
COLLECTIONS: dict[Source, Collection] = {
    "SoK leaderboard, board": Collection(
        "the tables of the SoK leaderboard (Li, Xie and Li, S&P 2023, arXiv 2009.04131), as "
        "collected until June 2024",
        _SOK_URL,
        _SOK_LICENCE,
    ),
    "SoK leaderboard, progress": Collection(
        "the seven progress series of the same leaderboard, by month",
        _SOK_URL,
        _SOK_LICENCE,
    ),
    "since 2024": Collection(
        "papers published since, each number from the paper's own table",
        "",
        "figures are facts; the papers are linked",
    ),
}
"""What each value of `source` stands for."""


_ARXIV = re.compile(r"https?://arxiv\.org/(?:abs|pdf)/([0-9]{2})(0[1-9]|1[0-2])\.")


def _number(cell: Any) -> Any:
    return (
        float(cell) if isinstance(cell, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", cell) else cell
    )


Percent = Annotated[float, BeforeValidator(_number), Field(ge=0, le=100)]

ELSEWHERE = {"cifar100": "CIFAR-100"}
"""Titles, by name, of datasets that papers report on and certboard does not measure."""


def _known_dataset(name: str) -> str:
    known = {*load_datasets(), *ELSEWHERE}
    if name not in known:
        raise ValueError(f"must be one of {', '.join(sorted(known))}.{nearest(name, known)}")
    return name


def dataset_title(name: str) -> str:
    """`CIFAR-10` for `cifar10`, whether certboard measures it or not."""
    return ELSEWHERE.get(name) or load_datasets()[name].title


class Reported(Strict):
    """One published result; accuracies in percent, None where the source gives none.

    `dataset` is a dataset's name, also of those `ELSEWHERE`.
    `kind` is `empirical` where nothing was proved: `attack` is then the accuracy that attacks left.
    """

    dataset: Annotated[str, AfterValidator(_known_dataset)]
    norm: NormName
    radius_text: ExactText = Field(alias="radius")
    kind: Literal["deterministic", "probabilistic", "empirical"]
    certified: Percent | None = None
    clean: Percent | None = None
    attack: Percent | None = None
    approach: OneLine = ""
    title: OneLine
    venue: OneLine = ""
    date: Date = ""
    url: Url = ""
    protocol: OneLine = ""
    note: OneLine = ""
    extra_data: OneLine = ""
    source: Source

    @property
    def radius(self) -> Fraction:
        """The exact radius."""
        return exact_fraction(self.radius_text)

    @property
    def paper(self) -> str:
        """What rows of one paper have in common: its title but for case and punctuation."""
        return re.sub("[^a-z0-9]", "", self.title.casefold())

    @property
    def month(self) -> str:
        """The date to the month where it is known, `2019-02`, else the year, else empty.

        Where `date` is only a year, an arXiv address tells the month of the first version.
        """
        told = _ARXIV.match(self.url)
        if len(self.date) > 4 or not told:
            return self.date[:7]
        return f"20{told[1]}-{told[2]}"

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
    rows: dict[Reported, int] = {}
    problems: list[str] = []
    for number, cells in _lines(path):
        filled = {name: cell for name, cell in cells.items() if cell not in ("", None)}
        try:
            row = parse(Reported, filled, f"{path.name}, line {number}")
        except InputError as error:
            problems.extend(error.problems)
            continue
        if (first := rows.setdefault(row, number)) != number:
            problems.append(f"{path.name}, line {number}: repeats line {first}.")
    if problems:
        raise InputError(*problems)
    return list(rows)


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a CSV file, each with the number of its last line."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, restkey="surplus", strict=True)
            return [(reader.line_num, cells) for cells in reader]
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 text (byte {error.start}).") from None
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: not CSV ({error}).") from None


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
    return row.dataset, row.norm, row.radius, row.kind, row.paper, row.certified


def _filled(row: Reported, board: Reported) -> Reported:
    texts = ("approach", "venue", "url", "protocol", "extra_data")
    empty = {name for name in texts if not getattr(row, name)}
    notes = dict.fromkeys(note for note in (row.note, board.note) if note)
    update = {name: getattr(board, name) for name in empty} | {"note": "; ".join(notes)}
    return row.model_copy(update=update)


@cache
def load_literature() -> tuple[Reported, ...]:
    """Every published result once: all rows of `literature.csv`, repeated ones joined."""
    return join(read_literature(FILE))
