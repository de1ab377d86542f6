"""Stored evaluations for readers: a table for spreadsheets, several in one Parquet file."""

import io
import json
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import write_csv

from leaderboard.results.store import Provenance

PARTS_KEY = b"certboard-parts"


def csv(rows: pa.Table, inert: Callable[[str], str]) -> bytes:
    """Loaded rows for spreadsheets, without witnesses, which are binary.

    `inert` is asked once about every different text and says what is written in its place.
    """
    table = rows.drop_columns(["witness"])
    for place, name in enumerate(table.column_names):
        if pa.types.is_string(table.schema.types[place]):
            column = table[name].combine_chunks().dictionary_encode()
            texts = column.dictionary.to_pylist()
            if (changed := [inert(text) for text in texts]) != texts:
                written_as = pa.array(changed, pa.string()).take(column.indices)
                table = table.set_column(place, name, written_as)
    written = io.BytesIO()
    write_csv(table, written)
    return written.getvalue()


def combined(loaded: Sequence[tuple[Provenance, pa.Table]]) -> bytes:
    """Several loaded evaluations as one Parquet file, in their order.

    The provenance of each is in the file's metadata, as a JSON list.
    """
    parts = [provenance.model_dump(mode="json") for provenance, _ in loaded]
    table = pa.concat_tables([rows for _, rows in loaded])
    table = table.replace_schema_metadata({PARTS_KEY: json.dumps(parts).encode()})
    made = io.BytesIO()
    pq.write_table(table, made, compression="zstd", write_page_checksum=True)
    return made.getvalue()
