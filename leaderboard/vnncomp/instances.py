"""VNN-COMP's tables: `instances.csv` in, `results.csv` out, a row at a time.

A row that is written is kept: a run that was killed goes on behind it.
"""

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Callable
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


CHANGED = "changed"
"""What a result is about whose files were changed before it was there: nobody knows."""


class ResultsFile:
    """A table of results: category, onnx, vnnlib, prepare time, result, run time.

    VNN-COMP's lines name files and do not say what was in them. So what each line is about
    (`subject.py`) is kept in a file beside the table, by the line's hash: a result counts only for
    the files, the method and the code that it came from.
    """

    def __init__(self, path: Path, category: str, subject: Callable[[InstanceRow], str]) -> None:
        self.path, self.category, self._subject = path, category, subject
        self._lines = self._load()
        self._beside = path.with_name(f"{path.name}.subjects")
        records, _ = _read(self._beside)
        _keep(self._beside, records)
        self._known = {(line, about) for line, _, about in (one.partition(" ") for one in records)}
        self._asked = dict[tuple[str, str], str]()

    def _load(self) -> list[str]:
        """Read what is there; a last line that was cut off is taken away."""
        lines, rest = _read(self.path)
        try:
            fits = all(len(_cells(line)) == 6 for line in lines)
        except csv.Error:
            fits = False
        # Nothing is taken away from a file of another kind.
        begins = f"{self.category},"
        fits &= bool(lines) or rest[: len(begins)] == begins[: len(rest)]
        if not fits or "\0" in rest:
            raise InputError(
                f"{self.path} is not a table of results; give another --output, or remove it."
            )
        _keep(self.path, lines)
        return lines

    @property
    def words(self) -> list[str]:
        """The results of this category."""
        return [cells[4] for cells in map(_cells, self._lines) if cells[0] == self.category]

    def remaining(self, rows: list[InstanceRow]) -> list[InstanceRow]:
        """List the rows that have no result yet; an instance listed twice needs two.

        Results of what the same names stood for before are taken out of the table.

        Raises:
            InputError: it has some of which nobody knows what they are about.
        """
        asked = self._asked = {(row.onnx, row.vnnlib): self._subject(row) for row in rows}
        done, kept = Counter[tuple[str, str]](), list[str]()
        recorded = {told for told, _ in self._known}
        for line in self._lines:
            category, onnx, vnnlib, *_ = _cells(line)
            subject = asked.get((onnx, vnnlib)) if category == self.category else None
            if subject is None:
                kept.append(line)
            elif (digest_of(line), subject) in self._known:
                kept.append(line)
                done[onnx, vnnlib] += 1
            elif digest_of(line) not in recorded:
                raise InputError(
                    f"{self.path} does not say what was in the files that it has results of: its"
                    f" {self._beside.name} is missing; give another --output, or remove it."
                )
        _keep(self.path, kept)
        self._lines = kept
        left = []
        for row in rows:
            if done[row.onnx, row.vnnlib]:
                done[row.onnx, row.vnnlib] -= 1
            else:
                left.append(row)
        return left

    def add(self, row: InstanceRow, word: str, seconds: float) -> None:
        """Append a result; it is in the file when this returns."""
        told = [self.category, row.onnx, row.vnnlib, "0.0", word, f"{seconds:.3f}"]
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(told)
        line = text.getvalue()
        subject = self._subject(row)
        if subject != self._asked.get((row.onnx, row.vnnlib)):
            subject = CHANGED
        record = digest_of(line), subject
        # First of all: what a line without it is about, nobody would know.
        _append(self._beside, " ".join(record))
        _append(self.path, line)
        self._known.add(record)
        self._lines.append(line)


def digest_of(line: str) -> str:
    """The hash by which a line of a table is known."""
    return hashlib.sha256(line.encode()).hexdigest()


def _cells(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _read(path: Path) -> tuple[list[str], str]:
    """The whole lines of a text, and what was cut off behind them; a NUL if it is no text."""
    try:
        content = path.read_bytes() if path.exists() else b""
        *lines, rest = content.decode("utf-8").split("\n")
    except OSError as error:
        raise InputError(f"{path} cannot be used: {error.strerror}.") from None
    except UnicodeDecodeError:
        return [], "\0"
    return lines, rest


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def _keep(path: Path, lines: list[str]) -> None:
    """Leave these lines in a file and no others; it is written beside its place, then renamed."""
    text = "".join(f"{line}\n" for line in lines).encode()
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        if path.exists() and path.read_bytes() != text:
            temporary.write_bytes(text)
            temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
