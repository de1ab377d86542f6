"""Results that papers reported, in `literature.csv`: shown beside ours, and marked "reported".

Each row names where it was collected, in the column `source`: a collection below, or anything else,
and then `read_in` says in which file or on which page the number was read. A row of the SoK
leaderboard's board has no date of its own: `date` is the month that its progress series gives for
the same paper, else the month of its arXiv identifier, else its venue's year.

The board and its progress series have no clean accuracy: where one stands, `read_in` has where it
was read, and without that it is empty. A certified accuracy that its own source contradicts is the
source's, and `note` keeps what the collection has.

`protocol` is how the number came about, as far as the paper, its published code or the collection
says: which test examples, how many samples or seconds, which verifier or attack; `examples` is
their number. Nothing is guessed: where it is empty, nobody looked it up. `extra_data` likewise:
`none`, `unlabelled` or `generated` where the source says so, empty where it does not.

Who wrote a paper, and where its authors' code is, stands in `papers.csv`, one line for each title.
`literature-changes.csv` says what was changed in either file; its lines are only ever added.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from leaderboard.common.errors import InputError, Problems, nearest
from leaderboard.common.strict_toml import Strict, parse
from leaderboard.common.text import Date, OneLine, Url
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.field.sources import (
    BOARD,
    COLLECTIONS,
    COUNTED,
    Reliability,
    count_of,
    csv_lines,
)
from leaderboard.settings.setting import ExactText, NormName, exact_fraction

FILE = Path(__file__).parent / "literature.csv"
PAPERS = FILE.with_name("papers.csv")

_ARXIV = re.compile(r"https?://arxiv\.org/(?:abs|pdf)/([0-9]{2})(0[1-9]|1[0-2])\.")


def _number(cell: Any) -> Any:
    return (
        float(cell) if isinstance(cell, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", cell) else cell
    )


def _names(cell: Any) -> Any:
    return tuple(cell.split("; ")) if isinstance(cell, str) else cell


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
    examples: Annotated[int, BeforeValidator(count_of), Field(ge=1)] | None = None
    approach: OneLine = ""
    architecture: OneLine = ""
    title: OneLine
    venue: OneLine = ""
    date: Date = ""
    url: Url = ""
    protocol: OneLine = ""
    note: OneLine = ""
    extra_data: OneLine = ""
    source: OneLine
    read_in: OneLine = ""
    reliability: Reliability | None = None

    @property
    def radius(self) -> Fraction:
        """The exact radius."""
        return exact_fraction(self.radius_text)

    @property
    def paper(self) -> str:
        """What rows of one paper have in common: its title but for case and punctuation."""
        return paper_key(self.title)

    @property
    def authors(self) -> tuple[str, ...]:
        """Who wrote the paper, in its order; empty where it is not recorded."""
        return load_papers().get(self.paper, UNRECORDED).authors

    @property
    def code(self) -> str:
        """Where the authors' own code is; empty where it is not recorded."""
        return load_papers().get(self.paper, UNRECORDED).code

    @property
    def year(self) -> str:
        """The venue's year if it names one, else the date's; empty where neither is known."""
        found = re.search(r"\b(?:19|20)[0-9]{2}\b", self.venue)
        return found[0] if found else self.date[:4]

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
        if self.source not in COLLECTIONS and not self.read_in:
            hint = nearest(self.source, COLLECTIONS)
            raise ValueError(
                f"must say in 'read_in' where it was read: its source '{self.source}' is no known"
                f" collection.{hint}"
            )
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
    problems = Problems()
    for number, cells in csv_lines(path):
        filled = {name: cell for name, cell in cells.items() if cell not in ("", None)}
        with problems.gathered():
            row = parse(Reported, filled, f"{path.name}, line {number}")
            if (first := rows.setdefault(row, number)) != number:
                problems.append(f"{path.name}, line {number}: repeats line {first}.")
    problems.refuse()
    return list(rows)


def join(rows: Iterable[Reported]) -> tuple[Reported, ...]:
    """The rows, with a board row that another collection repeats joined into that one.

    They are the same result if dataset, norm, radius, kind, title (but for case and punctuation)
    and certified accuracy are equal, the last one as the board rounds it where the other was
    counted from the authors' files. The joined row is the other collection's, which has the date or
    more digits; what it leaves empty is the board's, and the notes are kept of both.
    """
    listed = list(rows)
    boards: dict[tuple[object, ...], list[Reported]] = defaultdict(list)
    for row in listed:
        if row.source == BOARD:
            boards[_result(row)].append(row)
    joined: list[Reported] = []
    repeated: list[Reported] = []
    for row in listed:
        same = boards[_result(row)] if row.source != BOARD else []
        if (found := next((one for one in same if _same_value(row, one)), None)) is not None:
            same.remove(found)
            repeated.append(found)
            row = _filled(row, found)
        joined.append(row)
    return tuple(row for row in joined if not any(row is other for other in repeated))


def _result(row: Reported) -> tuple[object, ...]:
    return row.dataset, row.norm, row.radius, row.kind, row.paper


def _same_value(row: Reported, board: Reported) -> bool:
    if row.source != COUNTED or row.certified is None or board.certified is None:
        return row.certified == board.certified
    digits = len(f"{board.certified:g}".partition(".")[2])
    return round(row.certified, digits) == board.certified


def _filled(row: Reported, board: Reported) -> Reported:
    values = ("approach", "architecture", "clean", "venue", "url", "protocol", "extra_data")
    empty = {name for name in values if not getattr(row, name)}
    # A counted row's own note is about the very file; the board's may be about another model.
    rounded = f"the paper rounds it to {board.certified:g}"
    more = board.note if row.certified == board.certified else rounded
    notes = dict.fromkeys(note for note in (row.note, more) if note)
    update = {name: getattr(board, name) for name in empty} | {"note": "; ".join(notes)}
    return row.model_copy(update=update)


def fingerprint() -> str:
    """The SHA-256 of `literature.csv` and `papers.csv`, one after the other."""
    return hashlib.sha256(FILE.read_bytes() + PAPERS.read_bytes()).hexdigest()


def paper_key(title: str) -> str:
    """A title but for case and punctuation: what rows of one paper have in common."""
    # Of a title in another script nothing would be left, and all such papers would be one.
    return re.sub("[^a-z0-9]", "", title.casefold()) or title.casefold()


class PaperRecord(Strict):
    """What is recorded of one paper: its title, its authors and the address of their code."""

    title: OneLine
    authors: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    code: Url = ""


UNRECORDED = PaperRecord(title="not recorded")


@cache
def load_papers() -> Mapping[str, PaperRecord]:
    """The lines of `papers.csv`, by `paper_key` of their titles.

    Raises:
        InputError: the file is no CSV, a line is wrong, or a title stands there twice.
    """
    found: dict[str, PaperRecord] = {}
    for number, cells in csv_lines(PAPERS):
        filled = {name: cell for name, cell in cells.items() if cell not in ("", None)}
        record = parse(PaperRecord, filled, f"{PAPERS.name}, line {number}")
        if found.setdefault(paper_key(record.title), record) is not record:
            raise InputError(f"{PAPERS.name}, line {number}: the title stands there twice.")
    return found


@cache
def load_literature() -> tuple[Reported, ...]:
    """Every published result once: all rows of `literature.csv`, repeated ones joined."""
    return join(read_literature(FILE))
