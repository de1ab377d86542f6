"""A cell of the evaluators' comparison, and the tables of cells that are kept."""

import csv
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from leaderboard.common.errors import InputError


@dataclass(frozen=True)
class Cell:
    """One line of the table: what an evaluator reached on a network at a radius, in what time.

    `network` and `sha256` name the file, `source` says where it is from, as far as that is known.
    Counts are of `examples`, seconds and `mean_radius` are of each; an example without a
    certificate has radius 0.
    """

    network: str
    sha256: str
    dataset: str
    norm: str
    radius: str
    evaluator: str
    version: str
    seconds: float
    examples: int
    certified: int
    falsified: int
    unknown: int
    mean_seconds: float
    median_seconds: float
    mean_radius: float | None
    source: str
    commit: str


def read_cells(path: Path) -> list[Cell]:
    """Read a table of cells, as `certboard compare --table` writes it as CSV.

    Raises:
        InputError: it is none.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = [
                {**line, "mean_radius": line["mean_radius"] or None}
                for line in csv.DictReader(file)
            ]
        cells = TypeAdapter(list[Cell]).validate_python(lines)
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: is no table of cells ({type(error).__name__}).") from error
    for cell in cells:
        counts = cell.certified, cell.falsified, cell.unknown
        if min(counts) < 0 or not 0 < cell.examples == sum(counts):
            raise InputError(f"{path}: the counts of '{cell.evaluator}' do not add up.")
    return cells
