"""VNN-COMP's tables: `instances.csv` in, `results.csv` out, a row at a time.

A row that is written is kept: a run that was killed goes on behind it.
"""

import csv
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leaderboard.common.errors import InputError

COLUMNS = ("onnx", "vnnlib", "timeout")
DEFAULT_SECONDS = 60.0


@dataclass(frozen=True)
class InstanceRow:
    """One line of a table of instances: paths as they are written there, and seconds."""

    onnx: str
    vnnlib: str
    seconds: float

    @property
    def title(self) -> str:
        """For messages."""
        return f"{Path(self.onnx).name} {Path(self.vnnlib).name}"

    @property
    def file_name(self) -> str:
        """Of its counterexample, as VNN-COMP calls it."""
        stems = (Path(name.removesuffix(".gz")).stem for name in (self.onnx, self.vnnlib))
        return f"{'_'.join(stems)}.counterexample"


def read_instances(path: Path, seconds: float | None) -> list[InstanceRow]:
    """The rows of a table, without or with a header that names its columns.

    Args:
        path: rows `onnx,vnnlib,timeout`; where a header leaves out the timeout, 60 seconds.
        seconds: instead of every row's timeout.

    Raises:
        InputError: every row that is none.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [
                (number, line) for number, line in enumerate(csv.reader(file), start=1) if line
            ]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(
            f"{path} is not a text file; a table with rows {','.join(COLUMNS)} is needed."
        ) from None
    places = {name: place for place, name in enumerate(COLUMNS)}
    if lines:
        header = [cell.strip().lower() for cell in lines[0][1]]
        if {"onnx", "vnnlib"} <= set(header):
            places = {name: header.index(name) for name in COLUMNS if name in header}
            lines = lines[1:]
    if not lines:
        raise InputError(f"{path}: there are no instances; rows are {','.join(COLUMNS)}.")
    rows, problems = [], []
    for number, line in lines:
        try:
            rows.append(_row(line, places, seconds))
        except ValueError as error:
            problems.append(f"{path}, line {number}: {error}")
    if problems:
        raise InputError(*problems)
    return rows


def _row(line: list[str], places: dict[str, int], seconds: float | None) -> InstanceRow:
    cells = {name: line[at].strip() for name, at in places.items() if at < len(line)}
    if not cells.get("onnx") or not cells.get("vnnlib"):
        raise ValueError(f"a row is {','.join(COLUMNS)}, not '{','.join(line)[:80]}'.")
    if seconds is None:
        text = cells.get("timeout", "" if "timeout" in places else str(DEFAULT_SECONDS))
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise ValueError(f"the timeout is '{text}'; it must be a positive number of seconds.")
    return InstanceRow(cells["onnx"], cells["vnnlib"], seconds)


class ResultsFile:
    """A table of results: category, onnx, vnnlib, prepare time, result, run time."""

    def __init__(self, path: Path, category: str) -> None:
        self.path, self.category = path, category
        self.words: list[str] = []
        self._done: Counter[tuple[str, str]] = Counter()
        self._load()

    def _load(self) -> None:
        """Read what is there; a last line that was cut off is taken away."""
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                self.path.write_bytes(whole)
            lines = list(csv.reader(whole.decode("utf-8").splitlines()))
        except OSError as error:
            raise InputError(f"{self.path} cannot be used: {error.strerror}.") from None
        except (UnicodeDecodeError, csv.Error):
            lines = [[]]
        if any(len(line) != 6 for line in lines):
            raise InputError(
                f"{self.path} is not a table of results; give another --output, or remove it."
            )
        for category, onnx, vnnlib, _, word, _ in lines:
            if category == self.category:
                self._done[onnx, vnnlib] += 1
                self.words.append(word)

    def remaining(self, rows: list[InstanceRow]) -> Iterator[InstanceRow]:
        """The rows that have no result yet; an instance listed twice needs two."""
        done = self._done.copy()
        for row in rows:
            if done[row.onnx, row.vnnlib]:
                done[row.onnx, row.vnnlib] -= 1
            else:
                yield row

    def add(self, row: InstanceRow, word: str, seconds: float) -> None:
        """Append a result; it is in the file when this returns."""
        line = [self.category, row.onnx, row.vnnlib, "0.0", word, f"{seconds:.3f}"]
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(line)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}.") from None
        self.words.append(word)
