"""What is counted of a stored file, gathered batch by batch.

Every column is read, so that damage is found wherever it is; but only the counted ones are kept,
about 80 bytes a row, and of the counterexamples only those few that are asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboard.results.tally import NUMBERS, TEXTS, CountedColumns, Texts

_ROWS = 1 << 16
_BYTES = 1 << 26
"""Of counterexamples that are in memory at once: one of a large picture has 600 kB."""

BUFFER = 1 << 20
"""Bytes read from disk at once; without it a row group's column is in memory as a whole."""


def gathered(file: pq.ParquetFile, schema: pa.Schema) -> CountedColumns:
    """The counted columns of all rows, in the types of `schema`, whose columns `file` must have.

    Raises:
        pyarrow.ArrowException: a page is damaged, or a value is not of its column's type.
    """
    numbers: dict[str, list[np.ndarray]] = {name: [] for name in NUMBERS}
    texts: dict[str, list[pa.DictionaryArray]] = {name: [] for name in TEXTS}
    for batch in _batches(file, schema.remove(schema.get_field_index("witness")), _ROWS):
        for name, some in numbers.items():
            column = batch[name].combine_chunks().cast(pa.float64())
            some.append(column.to_numpy(zero_copy_only=False))
        for name, found in texts.items():
            found.append(batch[name].combine_chunks().dictionary_encode())
    return CountedColumns(
        {name: np.concatenate([*some, np.empty(0)]) for name, some in numbers.items()},
        {name: joined(found) for name, found in texts.items()},
    )


def witnesses(
    file: pq.ParquetFile, schema: pa.Schema, places: Iterable[int]
) -> Mapping[int, bytes | None]:
    """The counterexamples of some rows; the others are read, for their checksums, and dropped."""
    wanted, found, begin = sorted(places), dict[int, bytes | None](), 0
    only = pa.schema([schema.field("witness")])
    for batch in _batches(file, only, _fitting(file)):
        column = batch["witness"]
        found |= {
            at: column[at - begin].as_py() for at in wanted if begin <= at < begin + len(column)
        }
        begin += len(column)
    return found


def _fitting(file: pq.ParquetFile) -> int:
    """How many counterexamples fit, by what the file says of their size together."""
    found = file.metadata
    at = file.schema_arrow.get_field_index("witness")
    if at < 0 or found.num_columns != len(file.schema_arrow):
        return 1
    groups = range(found.num_row_groups)
    together = sum(found.row_group(group).column(at).total_uncompressed_size for group in groups)
    rows: int = found.num_rows
    return max(1, min(_ROWS, _BYTES * rows // max(1, int(together))))


def _batches(file: pq.ParquetFile, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    # One thread: for most files starting more takes longer than reading.
    for batch in file.iter_batches(rows, columns=schema.names, use_threads=False):
        yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


def joined(parts: Sequence[pa.DictionaryArray]) -> Texts:
    """Encoded parts of one column of texts as a whole; each has no text twice, and none unused."""
    if not parts:
        return Texts(np.empty(0, np.int64), [])
    chunks = pa.chunked_array(parts).unify_dictionaries().chunks
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in chunks]
    return Texts(np.concatenate(codes), chunks[0].dictionary.to_pylist())
