"""Results as files that readers take home: the Parquet as stored, and a CSV for spreadsheets."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from leaderboard.results import Results

# A spreadsheet runs a cell that starts with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# Binary inputs; they stay in the Parquet.
_LEFT_OUT = "witness"


@dataclass(frozen=True)
class Download:
    """Where one result lies on the website, relative to its root."""

    slug: str
    title: str
    parquet: str
    csv: str
    rows: int


def download_of(result: "Results", title: str) -> Download:
    """The two files of one result."""
    origin = result.provenance
    stem = f"data/{origin.setting}/{origin.submission}"
    return Download(origin.submission, title, f"{stem}.parquet", f"{stem}.csv", len(result.rows))


def publish(result: "Results", download: Download, root: Path) -> None:
    """Write both files of `download` under `root`."""
    parquet = root / download.parquet
    parquet.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(result.path, parquet)
    table = without_formulas(result.rows.drop(columns=_LEFT_OUT, errors="ignore"))
    table.to_csv(root / download.csv, index=False, lineterminator="\n")


def without_formulas(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with an apostrophe before every text that a spreadsheet would run as a formula."""
    changed = {}
    for name in rows.columns:
        column = rows[name]
        if pd.api.types.is_numeric_dtype(column):
            continue
        texts = {text: _inert(text) for text in column.dropna().unique()}
        if any(text != inert for text, inert in texts.items()):
            changed[name] = column.map(texts)
    return rows.assign(**changed)


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    one_line = value.replace("\r", " ")
    return f"'{one_line}" if value.startswith(_FORMULA_STARTS) else one_line
