"""Results as files that readers take home: the Parquet as stored, and a CSV for spreadsheets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leaderboard.results.store import Results

# A spreadsheet runs a cell that starts with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


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
    """A text with an apostrophe before it if a spreadsheet would run it as a formula."""
    one_line = text.replace("\r", " ")
    return f"'{one_line}" if text.startswith(_FORMULA_STARTS) else one_line
