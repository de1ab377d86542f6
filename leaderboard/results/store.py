"""The store of verdicts: one Parquet file an evaluation, one row a test example.

Path: `site/data/results/<setting>/<slug>.parquet`; the evaluation by a named evaluator instead of
the setting's own protocol is `<slug>.<evaluator>.parquet` beside it and is not ranked. Reading
never writes; writing goes to a file beside the place and is renamed.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from leaderboard.common.errors import InputError
from leaderboard.common.memory import uncollected
from leaderboard.common.project import Project
from leaderboard.results.columns import DESCRIBED
from leaderboard.results.gather import BUFFER, gathered, witnesses
from leaderboard.results.highlights import Highlights, Witnesses, highlight
from leaderboard.results.tally import NUMBERS, TEXTS, CountedColumns, Tally, Texts, count
from leaderboard.settings.setting import load_settings

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 3


_TYPES = {
    "text": pa.string(),
    "fraction": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "bytes": pa.binary(),
}

SCHEMA = pa.schema([pa.field(one.name, _TYPES[one.kind], bool(one.null)) for one in DESCRIBED])

COLUMNS = tuple(SCHEMA.names)

PROVENANCE_KEY = b"certboard"

_CHECKSUM = "checksum"
"""Beside the provenance: Parquet's own checksums are of the rows alone."""

_LEVEL = 19
"""Of Zstandard. Counterexamples fill a file; they are written once, for many to copy, and take half
the bytes of pyarrow's default, 1, at some milliseconds each.
"""

_ENCODED = {"example": "DELTA_BINARY_PACKED", "margin": "BYTE_STREAM_SPLIT"}
"""Of columns whose values are all different; the others' are kept once each, in a dictionary."""

_DICTIONARY = 1 << 24
"""Bytes of a column's different values, beyond which each row has its own."""


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
    distribution: str | None = None
    """Of a smoothed model's noise."""
    parameters: int
    """Floating-point numbers in the model's files together."""
    model_note: str = ""
    """What was left out of the model's files when they were read, such as a final Softmax."""
    salt: str | None = None
    """Of the random numbers on which a deterministic model was compared with onnxruntime."""
    noise_salt: str = ""
    """Of a smoothed model's noise, as its board has drawn it; part of the seed. Empty for none."""
    fingerprint: str = ""
    created: str
    unchecked: str = ""
    """What the machine that accepted the rows from elsewhere could not compare with what it knows;
    written by that machine, whatever the file said."""


class Results:
    """One stored evaluation: where it lies, its rows, and where they come from.

    Without `rows` they are read from the file when they are asked for; `tally` has what most pages
    need, and is much smaller. `sha256` is of the file that tally and highlights were counted of,
    where that was asked for.
    """

    sha256: str | None = None

    def __init__(self, path: Path, rows: "pd.DataFrame | None", provenance: Provenance) -> None:
        self.path = path
        self.provenance = provenance
        self._rows = rows

    @property
    def rows(self) -> "pd.DataFrame":
        """All rows, in the columns `COLUMNS`.

        Raises:
            InputError: the file was changed since, and cannot be read any more.
        """
        return self._rows if self._rows is not None else _rows_of(self)

    @cached_property
    def tally(self) -> Tally:
        """The counts of the rows."""
        return count(_columns_of(self.rows))

    @cached_property
    def highlights(self) -> Highlights:
        """The verdict of each example, and a few that are worth a look."""
        stored = self.rows["witness"]
        return _highlights(
            _columns_of(self.rows),
            lambda places: {at: _bytes(stored.iloc[at]) for at in places},
            self.provenance,
        )


def results_path(project: Project, setting: str, slug: str, evaluator: str | None = None) -> Path:
    """Where an evaluation is kept; `evaluator` None is the setting's own protocol."""
    name = f"{slug}.parquet" if evaluator is None else f"{slug}.{evaluator}.parquet"
    return project.results / setting / name


def frame(records: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Records of some of the columns as a table of the types that `read` gives.

    Numbers stay what they are beside missing ones, which pandas alone would turn into floats.
    """
    fields = [field for field in SCHEMA if records and field.name in records[0]]
    return to_pandas(pa.Table.from_pylist(list(records), pa.schema(fields)))


def to_pandas(table: pa.Table) -> "pd.DataFrame":
    """A table of the types of `SCHEMA` as `read` gives it."""
    with uncollected():
        import pandas as pd

    kinds = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}
    rows: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    return rows


def write(path: Path, rows: "pd.DataFrame", provenance: Provenance) -> None:
    """Store rows, all or nothing.

    Raises:
        InputError: the disk is full or the place cannot be written.
    """
    table = pa.Table.from_pandas(rows[list(COLUMNS)], schema=SCHEMA, preserve_index=False)
    record = provenance.model_dump(mode="json")
    told = json.dumps(record | {_CHECKSUM: _checksum(record)})
    table = table.replace_schema_metadata({PROVENANCE_KEY: told.encode()})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            pq.write_table(
                table,
                file,
                compression="zstd",
                compression_level=_LEVEL,
                write_page_checksum=True,
                use_dictionary=[name for name in COLUMNS if name not in _ENCODED],
                column_encoding=_ENCODED,
                # Counterexamples of many rows are the same bytes, which are kept once.
                dictionary_pagesize_limit=_DICTIONARY,
                # The least and the largest counterexample would be written four times more.
                write_statistics=[name for name in COLUMNS if name != "witness"],
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        # On a read-only disk, removing what is not there fails too.
        with suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); nothing was changed.") from error


def read(path: Path) -> Results:
    """A stored evaluation.

    Raises:
        InputError: the file is not one, is damaged, or is of another version than this program.
    """
    table, provenance = _read(path)
    return Results(path, to_pandas(table), provenance)


def scan(path: Path) -> Results:
    """A stored evaluation, of which tally and highlights are read now; the rows when asked for.

    Raises:
        InputError: as for `read`, as far as it can be seen now.
    """
    with _with_rows(path) as (file, provenance):
        columns = gathered(file, SCHEMA)
        result = Results(path, None, provenance)
        result.__dict__["tally"] = count(columns)
        result.__dict__["highlights"] = _highlights(
            columns, lambda places: witnesses(file, SCHEMA, places), provenance
        )
    return result


def _highlights(columns: CountedColumns, found: Witnesses, provenance: Provenance) -> Highlights:
    setting = load_settings().get(provenance.setting)
    return highlight(columns, found, setting.radius if setting else Fraction(0))


def _bytes(stored: object) -> bytes | None:
    """A counterexample as pandas has it, where a missing one may be one of several things."""
    return stored if isinstance(stored, bytes) else None


def _read(path: Path) -> tuple[pa.Table, Provenance]:
    """Read the columns of a file in the types of `SCHEMA`."""
    with _with_rows(path) as (file, provenance):
        # One thread: for files this small, starting more takes longer than reading.
        table = file.read(COLUMNS, use_threads=False).select(COLUMNS).cast(SCHEMA)
        # A text that is no UTF-8 would be found out by whoever asks for it.
        table.validate(full=True)
        return table, provenance


@lru_cache(maxsize=32)
def _rows_of(result: Results) -> "pd.DataFrame":
    """Rows that a page asks for, kept as long as few others come between."""
    return read(result.path).rows


def _columns_of(rows: "pd.DataFrame") -> CountedColumns:
    """What is counted of some rows."""
    import pandas as pd

    numbers = {name: rows[name].to_numpy(float, na_value=np.nan) for name in NUMBERS}
    coded = {name: pd.factorize(rows[name].astype(object)) for name in TEXTS}
    texts = {name: Texts(codes, list(values)) for name, (codes, values) in coded.items()}
    return CountedColumns(numbers, texts)


def load(result: Results) -> pa.Table:
    """All rows of a stored evaluation as they lie there, for `results_export`.

    Raises:
        InputError: as for `read`.
    """
    return _read(result.path)[0]


def read_provenance(path: Path) -> Provenance:
    """The provenance alone, without reading the rows.

    Raises:
        InputError: as for `read`.
    """
    with _opened(path) as file:
        return _provenance(path, file)


@contextmanager
def _with_rows(path: Path) -> Iterator[tuple[pq.ParquetFile, Provenance]]:
    """The open file, which has every column, and its provenance."""
    with _opened(path) as file:
        provenance = _provenance(path, file)
        there = file.schema_arrow.names
        for name in COLUMNS:
            if name not in there:
                raise InputError(f"{path}: the column '{name}' is missing.")
            if there.count(name) > 1:
                raise InputError(f"{path}: has the column '{name}' more than once.")
        yield file, provenance


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The open file; whatever is wrong with its bytes becomes one sentence."""
    # A pipe would be waited for, and a device never ends.
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a regular file.")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, buffer_size=BUFFER) as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a result file, or is damaged.") from error


def _provenance(path: Path, file: pq.ParquetFile) -> Provenance:
    return parse_provenance(path, (file.schema_arrow.metadata or {}).get(PROVENANCE_KEY))


def parse_provenance(path: Path, text: bytes | None) -> Provenance:
    """The provenance that a result file at `path` carries.

    Raises:
        InputError: there is none, it is damaged, or of another version than this program.
        ValueError: it is not JSON.
    """
    if text is None:
        raise InputError(f"{path}: is not a certboard result file (it has no provenance).")
    # First of all: what another version means by its other keys is not known here.
    record = json.loads(text)
    told = record.pop(_CHECKSUM, None) if isinstance(record, dict) else None
    version = record.get("schema_version") if isinstance(record, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: has schema version {version}; this program reads version {SCHEMA_VERSION}."
        )
    if told is not None and told != _checksum(record):
        raise InputError(f"{path}: its provenance is not what was written: it was altered.")
    try:
        return Provenance.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path}: its provenance is damaged at '{where}'.") from error


def _checksum(record: Mapping[str, Any]) -> str:
    """Of a provenance, as a file has it; found out is damage, which has no reason to hide."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def evaluator_named(path: Path) -> str | None:
    """The evaluator in the name of a result file; None for the setting's own protocol."""
    parts = path.name.split(".")
    return parts[1] if len(parts) == 3 else None


def stored_paths(project: Project) -> list[Path]:
    """Every stored evaluation's file, by setting and submission."""
    # One or two dots: what is hidden, half-written or a copy has another number of them.
    paths = sorted(project.results.glob("*/*.parquet"))
    return [path for path in paths if path.name[0] != "." and path.name.count(".") in (1, 2)]
