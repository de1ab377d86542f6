"""Where the literature's rows come from, how sure they are, and the log of what was changed."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from leaderboard.common.errors import InputError
from leaderboard.common.strict_toml import Strict, parse, shown
from leaderboard.common.text import Date, Paragraph, Sha256

CHANGES = Path(__file__).parent / "literature-changes.csv"

BOARD = "SoK leaderboard, board"
COUNTED = "authors' per-example certificates"


@dataclass(frozen=True)
class Collection:
    """Where a part of the rows comes from: in words, its address, and under which licence."""

    told: str
    url: str
    licence: str


_SOK_URL = "https://sokcertifiedrobustness.github.io/leaderboard/"
_SOK_LICENCE = "its repository is under the MIT licence"
_FACTS = "figures are facts; the papers are linked"
COLLECTIONS: dict[str, Collection] = {
    BOARD: Collection(
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
        "papers published since, each number from the paper's own table or its authors' files",
        "",
        _FACTS,
    ),
    COUNTED: Collection(
        "certified accuracy counted by us from the files, one line an example, that authors of "
        "smoothing papers published beside their code",
        "",
        "counts are facts; no file is copied",
    ),
    "authors' repository": Collection(
        "numbers from the README files and the supplements in the authors' own repositories",
        "",
        _FACTS,
    ),
    "RobustBench": Collection(
        "accuracy under the strongest attack that RobustBench ran (Croce et al., arXiv "
        "2010.09670), as of March 2025",
        "https://robustbench.github.io/",
        "its repository is under the MIT licence",
    ),
}
"""What each value of `source` stands for; another one is explained by its rows' `read_in`."""

Reliability = Literal["primary", "recounted", "secondary"]

RELIABILITY: Mapping[Reliability, str] = {
    "primary": "read in the paper, its supplement or its authors' files",
    "recounted": "counted by us from the authors' per-example files",
    "secondary": "read in a summary, not yet compared with the paper",
}
"""What each value of `reliability` stands for; empty where only the collection was read."""


def count_of(cell: Any) -> Any:
    """A cell as the whole number that it writes; else as it is."""
    return int(cell) if isinstance(cell, str) and re.fullmatch("[0-9]{1,12}", cell) else cell


Count = Annotated[int, BeforeValidator(count_of), Field(ge=0)]


class ChangeOfLiterature(Strict):
    """What was changed in the literature's files on a day; `rows` and `sha256` are after it."""

    date: Date
    rows: Count
    sha256: Sha256
    change: Paragraph


@cache
def load_changes() -> tuple[ChangeOfLiterature, ...]:
    """The log of changes, oldest first.

    Raises:
        InputError: a line is wrong.
    """
    return tuple(
        parse(ChangeOfLiterature, cells, f"{CHANGES.name}, line {number}")
        for number, cells in csv_lines(CHANGES)
    )


def csv_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a CSV file, each with the number of its last line.

    Raises:
        InputError: it cannot be read, is no CSV, or has a column twice.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, restkey="surplus", strict=True)
            names = [*(reader.fieldnames or ())]
            # The last one would count, and a reader sees the first.
            if (twice := next((one for one in names if names.count(one) > 1), None)) is not None:
                raise InputError(f"{path.name}: has the column {shown(twice)} more than once.")
            return [(reader.line_num, cells) for cells in reader]
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 text (byte {error.start}).") from None
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: not CSV ({error}).") from None
