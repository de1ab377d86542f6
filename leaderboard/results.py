"""The store of verdicts: one Parquet file an evaluation, one row a test example.

Path: `site/data/results/<setting>/<slug>.parquet`; the evaluation by a named evaluator instead of
the setting's own protocol is `<slug>.<evaluator>.parquet` beside it and is not ranked. Reading
never writes; writing goes to a file beside the place and is renamed.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from leaderboard.errors import InputError
from leaderboard.project import Project

SCHEMA_VERSION = 1

SCHEMA = pa.schema(
    [
        pa.field("submission", pa.string(), nullable=False),
        pa.field("setting", pa.string(), nullable=False),
        pa.field("evaluator", pa.string(), nullable=False),
        pa.field("evaluator_version", pa.string(), nullable=False),
        # Index in the dataset's test split.
        pa.field("example", pa.int64(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),
        # Class at the example itself; null where a smoothed model abstains.
        pa.field("prediction", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        # Exact fraction, the largest proved, rounded down; null where nothing was proved.
        pa.field("radius", pa.string()),
        pa.field("confidence", pa.float64(), nullable=False),
        # Proved lower bound of the label's logit minus the best other over the region.
        pa.field("margin", pa.float64()),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        # Of smoothed models: samples drawn, how many gave the prediction, and the noise.
        pa.field("n0", pa.int64()),
        pa.field("n", pa.int64()),
        pa.field("count", pa.int64()),
        pa.field("p_lower", pa.float64()),
        pa.field("sigma", pa.string()),
        pa.field("seed", pa.string()),
        # Little-endian float32 pixels of the input that refutes the example.
        pa.field("witness", pa.binary()),
    ]
)

COLUMNS = tuple(SCHEMA.names)

_PROVENANCE_KEY = b"certboard"


class Provenance(BaseModel):
    """Where the rows of one file come from; everything needed to measure them again."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA_VERSION
    submission: str
    setting: str
    evaluator: str
    evaluator_version: str
    model_sha256: str
    data_sha256: str
    data_complete: bool
    data_note: str = ""
    examples: str
    total: int
    code_version: str
    commit: str
    options: dict[str, Any]
    machine: str
    python: str
    torch: str
    device: str
    threads: int
    seed: str | None = None
    fingerprint: str = ""
    created: str


@dataclass(frozen=True)
class Results:
    """One stored evaluation."""

    path: Path
    rows: pd.DataFrame
    provenance: Provenance


def results_path(project: Project, setting: str, slug: str, evaluator: str | None = None) -> Path:
    """Where an evaluation is kept; `evaluator` None is the setting's own protocol."""
    name = f"{slug}.parquet" if evaluator is None else f"{slug}.{evaluator}.parquet"
    return project.results / setting / name


def write(path: Path, rows: pd.DataFrame, provenance: Provenance) -> None:
    """Store rows, all or nothing.

    Raises:
        InputError: the disk is full or the place cannot be written.
    """
    table = pa.Table.from_pandas(rows[list(COLUMNS)], schema=SCHEMA, preserve_index=False)
    metadata = {_PROVENANCE_KEY: provenance.model_dump_json().encode()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); nothing was changed.") from error


def read(path: Path) -> Results:
    """A stored evaluation.

    Raises:
        InputError: the file is not one, or is of a newer version than this program.
    """
    provenance = read_provenance(path)
    try:
        table = pq.read_table(path, partitioning=None)
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise InputError(f"{path}: the column '{missing[0]}' is missing.")
        rows = table.select(list(COLUMNS)).cast(SCHEMA).to_pandas(types_mapper=_MAPPING.get)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: is not a result file, or is damaged.") from error
    return Results(path, rows, provenance)


_MAPPING = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}


def read_provenance(path: Path) -> Provenance:
    """The provenance alone, without reading the rows.

    Raises:
        InputError: as for `read`.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: is not a result file, or is damaged.") from error
    if _PROVENANCE_KEY not in metadata:
        raise InputError(f"{path}: is not a certboard result file (it has no provenance).")
    try:
        provenance = Provenance.model_validate_json(metadata[_PROVENANCE_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: its provenance is damaged at '{where}'.") from error
    if provenance.schema_version > SCHEMA_VERSION:
        raise InputError(
            f"{path}: has schema version {provenance.schema_version}; this program reads up to"
            f" {SCHEMA_VERSION}. Update certboard."
        )
    return provenance


def read_all(project: Project) -> list[Results]:
    """Every ranked evaluation in the project, by setting and submission."""
    paths: Iterable[Path] = sorted(project.results.glob("*/*.parquet"))
    return [read(path) for path in paths if path.name.count(".") == 1]
