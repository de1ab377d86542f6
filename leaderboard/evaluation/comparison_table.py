"""The table of `certboard compare`: what each evaluator reached on each network, in what time."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pandas as pd

from leaderboard.common.errors import InputError
from leaderboard.results.cells import Cell
from leaderboard.results.metrics import proved_radii
from leaderboard.results.store import Results
from leaderboard.settings.question import Question
from leaderboard.settings.setting import exact_text


def read_origins(path: Path | None) -> dict[str, str]:
    """Read where networks are from, by SHA-256; nothing without a file.

    The file has the columns `sha256`, `source_repo`, `source_path` and `source_commit`.

    Raises:
        InputError: it cannot be read, or has other columns.
    """
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        return {
            one["sha256"]: f"{one['source_repo']}@{one['source_commit']}: {one['source_path']}"
            for one in lines
        }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--sources: {path} cannot be read as a CSV file.") from error
    except KeyError as error:
        raise InputError(f"--sources: {path} has no column {error}.") from error


def count_cell(
    results: Results, network: str, question: Question, sources: Mapping[str, str]
) -> Cell:
    """Count the rows of one cell."""
    origin, tally = results.provenance, results.tally
    radii = proved_radii(results.rows)
    proved = sum((radius for radius in radii if radius is not None), Fraction(0))
    return Cell(
        network=network,
        sha256=origin.model_sha256,
        dataset=question.dataset,
        norm=question.norm,
        radius=exact_text(question.radius),
        evaluator=origin.evaluator,
        version=origin.evaluator_version,
        seconds=question.seconds,
        examples=tally.examples,
        certified=tally.of_status("certified"),
        falsified=tally.of_status("falsified"),
        unknown=tally.of_status("unknown"),
        mean_seconds=(tally.total_seconds or 0.0) / max(1, tally.examples),
        median_seconds=tally.median_seconds or 0.0,
        mean_radius=float(proved / max(1, len(radii))) if "max_radius" in origin.options else None,
        source=sources.get(origin.model_sha256, ""),
        commit=origin.commit,
    )


def write_table(path: Path, cells: Sequence[Cell]) -> None:
    """Write the table as CSV or Parquet, as the name ends.

    Raises:
        InputError: the place cannot be written.
    """
    table = pd.DataFrame([asdict(cell) for cell in cells])
    try:
        if path.suffix == ".csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path, index=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from error
