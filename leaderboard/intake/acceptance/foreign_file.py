"""A result file from elsewhere, read within bounds that are known before anything is unpacked.

The order matters: the file's size, its footer, the headers of its pages, and only then its values;
texts as a dictionary first, for ten thousand rows can point to one long text. What comes out has
exactly the columns of `results.SCHEMA` in their types, finite numbers, and texts of the form that
`columns.DESCRIBED` gives them. Whether they are true is asked elsewhere.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from leaderboard.common.errors import InputError
from leaderboard.common.strict_toml import shown
from leaderboard.intake.acceptance.parquet_pages import codecs, pages
from leaderboard.results.columns import DESCRIBED, Column
from leaderboard.results.store import (
    PROVENANCE_KEY,
    SCHEMA,
    SCHEMA_VERSION,
    Results,
    parse_provenance,
    to_pandas,
)
from leaderboard.results.witness import fault_of, is_in_full

_LARGEST_FOOTER, _LARGEST_PROVENANCE = 300_000, 20_000
_ROOM = 2**16
"""Bytes of a column besides its values: headers, runs, checksums."""
_MAGIC = b"PAR1"
_PHYSICAL = {
    "text": "BYTE_ARRAY",
    "fraction": "BYTE_ARRAY",
    "bytes": "BYTE_ARRAY",
    "integer": "INT64",
    "number": "DOUBLE",
}
_ZSTD = 6
"""Its number among the codecs of parquet-format."""
_KEYS = {b"ARROW:schema", PROVENANCE_KEY}


def read_foreign(path: Path, rows: int, pixels: int, *, fewer: bool = False) -> Results:
    """Read the rows and the provenance of a file that anybody may have written.

    Args:
        path: the file, which is read once.
        rows: how many rows it must have.
        pixels: numbers of a witness.
        fewer: whether it may have fewer rows.

    Raises:
        InputError: why it is refused; nothing large was unpacked for that.
    """
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path}: is not a regular file.")
    largest = 2 * rows * sum(_width(column, pixels) for column in DESCRIBED) + 2**20
    if (size := path.stat().st_size) > largest:
        raise InputError(f"{path}: has {size:,} bytes; at most {largest:,} are accepted.")
    with path.open("rb") as file:
        data = file.read(largest)
    try:
        problem = _of_bytes(data) or _of_footer(data, rows, pixels, fewer)
        if problem:
            raise InputError(f"{path}: {problem}.")
        table = _values(data)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: is not a result file, or is damaged.") from error
    problems = [*_of_values(table, pixels)]
    if problems:
        raise InputError(*(f"{path}: {problem}." for problem in problems))
    return Results(path, to_pandas(_plain(table)), _provenance(path, data))


def _width(column: Column, pixels: int) -> int:
    """The most bytes of a value of this column."""
    if column.kind == "bytes":
        return 4 * pixels + 4
    return column.longest + 4 if column.kind in ("text", "fraction") else 8


def _of_bytes(data: bytes) -> str:
    """What is wrong with the ends of the file; empty if nothing is."""
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        return "is not a result file, or is damaged"
    footer = _footer_size(data)
    if not 0 < footer <= min(_LARGEST_FOOTER, len(data) - 12):
        return f"its footer has {footer:,} bytes; at most {_LARGEST_FOOTER:,} are accepted"
    return ""


def _footer_size(data: bytes) -> int:
    return int.from_bytes(data[-8:-4], "little")


def _opened(data: bytes, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(
        pa.BufferReader(data),
        thrift_string_size_limit=_LARGEST_FOOTER,
        thrift_container_size_limit=_LARGEST_FOOTER,
        page_checksum_verification=True,
        **options,
    )


def _of_footer(data: bytes, rows: int, pixels: int, fewer: bool) -> str:
    """What the footer says that it should not; empty if nothing."""
    file = _opened(data)
    facts, schema = file.metadata, file.schema_arrow
    if fewer and 0 <= facts.num_rows < rows:
        rows = facts.num_rows
    if facts.num_rows != rows:
        return f"has {facts.num_rows:,} rows, but {rows:,} examples were asked about"
    keys = facts.metadata or {}
    strange = {*keys, *(schema.metadata or {})} - _KEYS
    if strange:
        return f"has a metadata key {shown(min(strange).decode('utf-8', 'replace'))}"
    if len(keys.get(PROVENANCE_KEY, b"")) > _LARGEST_PROVENANCE:
        return f"its provenance has more than {_LARGEST_PROVENANCE:,} bytes"
    if not schema.remove_metadata().equals(SCHEMA):
        return f"{_other_schema(schema)} (schema version {SCHEMA_VERSION} is needed)"
    if facts.num_row_groups != 1 or facts.num_columns != len(SCHEMA):
        return f"has {facts.num_row_groups:,} groups of rows; 1 is accepted"
    group = facts.row_group(0)
    if group.num_rows != rows:
        return "its group of rows has another number of rows than the file"
    if set(codecs(data, len(data) - 8 - _footer_size(data), len(data) - 8)) != {_ZSTD}:
        return "is stored as something else than Zstandard"
    for place, column in enumerate(DESCRIBED):
        if problem := _of_chunk(data, group.column(place), column, rows, pixels):
            return f"its column '{column.name}' {problem}"
    return ""


def _other_schema(schema: pa.Schema) -> str:
    """How columns differ from ours, as a few words."""
    wanted = [(field.name, str(field.type), field.nullable) for field in SCHEMA]
    found = [(field.name, str(field.type), field.nullable) for field in schema]
    for name, *_ in found:
        if name not in SCHEMA.names:
            return f"has a column {shown(name)}, which results have not"
    names = [name for name, *_ in found]
    for name in SCHEMA.names:
        if names.count(name) != 1:
            return f"has the column '{name}' {names.count(name)} times"
    for one, other in zip(found, wanted, strict=True):
        if one != other:
            null = "" if other[2] else ", never null"
            return f"its column {shown(one[0])} must be '{other[0]}', {other[1]}{null}"
    return "its columns are not those of results"


def _of_chunk(data: bytes, chunk: Any, column: Column, rows: int, pixels: int) -> str:
    """What is wrong with where a column lies and how much it holds; empty if nothing is."""
    if chunk.file_path or chunk.path_in_schema != column.name:
        return "lies elsewhere"
    if chunk.physical_type != _PHYSICAL[column.kind]:
        return f"is stored as {chunk.physical_type}"
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    stop = start + chunk.total_compressed_size
    if not len(_MAGIC) <= start < stop <= len(data) - 8:
        return "lies outside the file"
    most = 2 * rows * _width(column, pixels) + _ROOM
    unpacked = values = 0
    for number, page in enumerate(pages(data, start, stop)):
        unpacked += page.unpacked
        values += 0 if page.dictionary else page.values
        if page.values > rows or values > rows or number > rows + 1:
            return "holds more values than there are rows"
        if unpacked > most:
            return f"unpacks to more than {most:,} bytes"
    if values != rows or chunk.num_values != rows:
        return f"holds {values:,} values for {rows:,} rows"
    return ""


def _values(data: bytes) -> pa.Table:
    """All columns, those of texts and bytes as dictionaries."""
    several = [one.name for one in DESCRIBED if _PHYSICAL[one.kind] == "BYTE_ARRAY"]
    table = _opened(data, read_dictionary=several).read(use_threads=False)
    for place, column in enumerate(table.columns):
        for chunk in column.chunks:
            if not column.null_count or SCHEMA.field(place).nullable:
                chunk.validate(full=True)
    return table


def _of_values(table: pa.Table, pixels: int) -> Iterator[str]:
    """Each column that holds what it cannot."""
    for column in DESCRIBED:
        values = table[column.name]
        if values.null_count and not column.null:
            yield f"its column '{column.name}' is never null, but is in some rows"
        elif column.kind == "bytes":
            # Numbers outside the pixel range are told of the example that has them.
            others = (one for one in _distinct(values) if not is_in_full(one, pixels))
            if told := next((told for one in others if (told := fault_of(one, pixels))), ""):
                yield f"a {column.name} {told}"
        elif column.kind in ("text", "fraction"):
            yield from _of_texts(column, _distinct(values))
        else:
            yield from _of_numbers(column, values)


def _distinct(values: pa.ChunkedArray) -> list[bytes]:
    """The different values of a column of texts or bytes, which are few or short."""
    found: dict[bytes, None] = {}
    for chunk in values.chunks:
        used = pc.unique(chunk.indices.drop_null())
        found |= dict.fromkeys(chunk.dictionary.cast(pa.binary()).take(used).to_pylist())
    return [one for one in found if one is not None]


def _of_texts(column: Column, texts: list[bytes]) -> Iterator[str]:
    for raw in texts:
        if len(raw) > 4 * column.longest:
            yield f"a {column.name} has {len(raw):,} bytes"
            return
        text = raw.decode("utf-8", "replace")
        if len(text) > column.longest:
            yield f"a {column.name} has more than {column.longest:,} characters"
            return
        if not re.fullmatch(column.form, text):
            yield f"a {column.name} is {shown(text)}, which it cannot be"
            return


def _of_numbers(column: Column, values: pa.ChunkedArray) -> Iterator[str]:
    numbers = values.drop_null().to_numpy()
    if not np.isfinite(numbers).all():
        yield f"a {column.name} is not finite"
    elif len(numbers) and not column.least <= numbers.min() <= numbers.max() <= column.most:
        worst = numbers.min() if numbers.min() < column.least else numbers.max()
        yield f"a {column.name} is {worst:g}; it must lie in {column.least:g} to {column.most:g}"


def _plain(table: pa.Table) -> pa.Table:
    return table.cast(SCHEMA)


def _provenance(path: Path, data: bytes) -> Any:
    text = (_opened(data).metadata.metadata or {}).get(PROVENANCE_KEY)
    try:
        return parse_provenance(path, text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its provenance is not JSON.") from error
