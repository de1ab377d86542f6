"""A cell of the evaluators' comparison, and the tables of cells that are kept."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from leaderboard.common.errors import InputError
from leaderboard.common.strict_toml import shown
from leaderboard.common.text import MODEL_NAME, check_line
from leaderboard.field.sources import csv_lines
from leaderboard.results.columns import LONGEST, NAME
from leaderboard.results.tally import stored_fraction


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


_FORMS = {
    "network": f"{MODEL_NAME}|{NAME}",
    "sha256": "[0-9a-f]{64}",
    "dataset": NAME,
    "norm": NAME,
    "evaluator": NAME,
    "version": "[a-z0-9.+-]+",
    "commit": "([0-9a-f]{40}(-dirty)?|unknown)?",
}


def read_cells(path: Path) -> list[Cell]:
    """Read a table of cells, as `certboard compare --table` writes it as CSV.

    Raises:
        InputError: it is none, or a line says what no evaluation can.
    """
    lines = [cells for _, cells in csv_lines(path)]
    try:
        lines = [{**line, "mean_radius": line["mean_radius"] or None} for line in lines]
        cells = TypeAdapter(list[Cell]).validate_python(lines)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: is no table of cells ({type(error).__name__}).") from error
    for cell in cells:
        if problem := _fault(cell):
            raise InputError(f"{path}: {problem}.")
    return cells


def _fault(cell: Cell) -> str:
    """What is wrong with a cell by itself; empty if nothing is."""
    for name, form in _FORMS.items():
        if len(value := getattr(cell, name)) > LONGEST or not re.fullmatch(form, value):
            return f"has the {name} {shown(value)}, which it cannot be"
    try:
        radius = stored_fraction(cell.radius)
        if cell.source:
            check_line(cell.source)
    except ValueError as error:
        return f"has a line of {cell.evaluator} that cannot be: {error}"
    counts = cell.certified, cell.falsified, cell.unknown
    if min(counts) < 0 or not 0 < cell.examples == sum(counts):
        return f"the counts of '{cell.evaluator}' do not add up"
    times = cell.seconds, cell.mean_seconds, cell.median_seconds, cell.mean_radius or 0.0
    if not all(math.isfinite(one) and one >= 0 for one in times) or not radius:
        return f"has a number of '{cell.evaluator}' that is negative or not finite"
    return ""


def agreeing(cells: Iterable[Cell]) -> tuple[list[Cell], list[str]]:
    """Leave out cells that contradict others; the second are sentences about them.

    Of one network, radius and examples, an evaluator has one cell, and none certifies more than
    another leaves unfalsified.
    """
    asked: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        asked[cell.sha256, cell.dataset, cell.norm, cell.radius, cell.examples].append(cell)
    kept: list[Cell] = []
    problems: list[str] = []
    for group in asked.values():
        one, most = group[0], max(group, key=lambda cell: cell.falsified)
        where = f"comparison of {one.network}, {one.norm} {one.radius}"
        names = [cell.evaluator for cell in group]
        twice = {name for name in names if names.count(name) > 1}
        problems += [f"{where}: '{name}' stands there twice." for name in sorted(twice)]
        for cell in group:
            if cell.certified + most.falsified > cell.examples:
                problems.append(
                    f"{where}: '{cell.evaluator}' certifies {cell.certified} of {cell.examples}"
                    f" examples, of which '{most.evaluator}' falsifies {most.falsified}."
                )
                twice |= {cell.evaluator, most.evaluator}
        kept += [cell for cell in group if cell.evaluator not in twice]
    return kept, problems
