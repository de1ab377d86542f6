"""Results as files that readers take home: the Parquet as stored, and a CSV for spreadsheets."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leaderboard.results.store import Results

_FORMULA = re.compile(r"(^|[;\t\r\n]\s*)(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet begins to run a cell as a formula: at its start, or behind what parts cells
where a comma is the decimal point. Some read the wide forms of these signs, too."""


@dataclass(frozen=True)
class StoredDownload:
    """Where one result lies on the website, relative to its root."""

    slug: str
    title: str
    parquet: str
    csv: str
    rows: int


def download_of(result: "Results", title: str) -> StoredDownload:
    """The two files of one result."""
    origin = result.provenance
    stem = f"data/{origin.setting}/{result.path.stem}"
    return StoredDownload(
        origin.submission, title, f"{stem}.parquet", f"{stem}.csv", result.tally.examples
    )


def inert(text: str) -> str:
    """A text with an apostrophe before whatever a spreadsheet would run as a formula."""
    return _FORMULA.sub(r"\1'", text).replace("\r", " ")
