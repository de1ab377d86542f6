"""Files that nobody's evaluation wrote: refused before anything large is unpacked."""

import io
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboard.common.errors import InputError
from leaderboard.intake.acceptance.foreign_file import read_foreign
from leaderboard.intake.acceptance.parquet_pages import ParquetPage, codecs, pages
from leaderboard.results.store import COLUMNS, SCHEMA
from tests.fixtures.effort import examples
from tests.fixtures.forged import Made, forge, table_of

ROWS, PIXELS = 449, 64


def refused(made: Made, path: Path) -> str:
    """Why a file is refused."""
    return made.refused(path)


def replaced(table: pa.Table, name: str, field: pa.Field, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def as_(table: pa.Table, name: str, kind: Any, nullable: bool = False) -> pa.Table:
    """A column in another type."""
    return replaced(table, name, pa.field(name, kind, nullable), table[name].cast(kind).to_pylist())


Forgery = Callable[[pa.Table], pa.Table]

SCHEMAS: dict[str, tuple[Forgery, str]] = {
    "an extra column": (
        lambda table: table.append_column("verified", pa.array([True] * len(table))),
        "has a column 'verified'",
    ),
    "a column less": (lambda table: table.drop_columns(["margin"]), "'margin' 0 times"),
    "a column twice": (
        lambda table: table.append_column(SCHEMA.field("note"), table["note"]),
        "'note' 2 times",
    ),
    "another order": (
        lambda table: table.select([*COLUMNS[1:], COLUMNS[0]]),
        "'setting' must be 'submission'",
    ),
    "another type": (lambda table: as_(table, "example", pa.int32()), "'example'"),
    "numbers as texts": (lambda table: as_(table, "label", pa.string()), "'label'"),
    "integers as floats": (lambda table: as_(table, "prediction", pa.float64(), True), "int64"),
    "large strings": (lambda table: as_(table, "note", pa.large_string()), "'note'"),
    "times": (lambda table: as_(table, "example", pa.timestamp("us")), "'example'"),
    "times with a zone": (lambda table: as_(table, "example", pa.timestamp("us", "UTC")), "int64"),
    "dictionaries": (
        lambda table: table.set_column(
            COLUMNS.index("note"),
            pa.field("note", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            table["note"].combine_chunks().dictionary_encode(),
        ),
        "'note'",
    ),
    "lists": (
        lambda table: replaced(
            table, "note", pa.field("note", pa.list_(pa.string()), False), [["a"]] * len(table)
        ),
        "'note'",
    ),
    "structures": (
        lambda table: replaced(
            table, "margin", pa.field("margin", pa.struct({"x": pa.int64()})), [None] * len(table)
        ),
        "'margin'",
    ),
    "nulls": (
        lambda table: replaced(
            table, "label", pa.field("label", pa.int64(), True), [None] * len(table)
        ),
        "never null",
    ),
    "nulls allowed": (lambda table: as_(table, "label", pa.int64(), True), "never null"),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_only_our_columns_in_our_types_and_order_are_read(plain: Made, name: str) -> None:
    change, told = SCHEMAS[name]
    path = plain.project.root / "forged.parquet"
    forge(path, change(table_of(plain.rows)), plain.result.provenance)
    assert told in refused(plain, path)


def test_two_million_rows_are_counted_in_the_footer(plain: Made) -> None:
    table = table_of(plain.rows).slice(0, 1)
    many = pa.table(
        [pa.array(np.zeros(2_000_000, np.int64))]
        + [pa.nulls(2_000_000, pa.int64())] * (len(COLUMNS) - 1),
        schema=pa.schema([pa.field(name, pa.int64(), True) for name in COLUMNS]),
    )
    assert table.num_columns == many.num_columns
    path = forge(plain.project.root / "forged.parquet", many, plain.result.provenance)
    assert path.stat().st_size < 300_000
    assert "has 2,000,000 rows" in refused(plain, path)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["note", "witness"])
def test_one_long_text_in_every_row_is_not_unpacked(plain: Made, column: str) -> None:
    """A dictionary has it once; ten thousand rows point to it."""
    field = SCHEMA.field(column)
    value: Any = "x" * 400_000 if field.type == pa.string() else bytes(400_000)
    table = replaced(table_of(plain.rows), column, field, [value] * ROWS)
    path = forge(plain.project.root / "forged.parquet", table, plain.result.provenance)
    assert path.stat().st_size < 300_000
    assert "unpacks to more than" in refused(plain, path)


def test_a_text_of_moderate_length_in_every_row_is_not_unpacked(plain: Made) -> None:
    table = replaced(table_of(plain.rows), "note", SCHEMA.field("note"), ["x" * 50_000] * ROWS)
    path = forge(plain.project.root / "forged.parquet", table, plain.result.provenance)
    assert "a note has 50,000 bytes" in refused(plain, path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"row_group_size": 100}, "groups of rows"),
        ({"compression": "gzip"}, "something else than Zstandard"),
        ({"compression": {"note": "none"}}, "something else than Zstandard"),
    ],
)
def test_only_our_way_of_storing_is_read(plain: Made, options: Any, told: str) -> None:
    path = plain.project.root / "forged.parquet"
    forge(path, table_of(plain.rows), plain.result.provenance, **options)
    assert told in refused(plain, path)


@pytest.mark.parametrize(
    ("provenance", "told"),
    [
        (b"{" * 100_000, "provenance has more than"),
        (b"[" * 15_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "provenance is damaged"),
        (b"{}", "provenance is damaged"),
        (b'{"schema_version": 99}', "has schema version 99"),
    ],
)
def test_a_provenance_that_cannot_be_read_is_refused(
    plain: Made, provenance: bytes, told: str
) -> None:
    path = forge(plain.project.root / "forged.parquet", table_of(plain.rows), provenance)
    assert told in refused(plain, path)


def test_other_metadata_are_refused(plain: Made) -> None:
    path = plain.project.root / "forged.parquet"
    forge(path, table_of(plain.rows), plain.result.provenance, {b"pandas": b"{}"})
    assert "has a metadata key 'pandas'" in refused(plain, path)
    pq.write_table(table_of(plain.rows).replace_schema_metadata(), path, compression="zstd")
    assert "no provenance" in refused(plain, path)


def test_an_encrypted_file_is_refused(plain: Made) -> None:
    content = plain.result.path.read_bytes()
    path = plain.project.root / "forged.parquet"
    path.write_bytes(b"PARE" + content[4:-4] + b"PARE")
    assert "is damaged" in refused(plain, path)


def test_a_footer_that_lies_about_its_length_is_refused(plain: Made) -> None:
    content = plain.result.path.read_bytes()
    path = plain.project.root / "forged.parquet"
    for length in (0, 1, 2**31, len(content)):
        path.write_bytes(content[:-8] + struct.pack("<I", length) + content[-4:])
        told = refused(plain, path)
        assert "its footer has" in told or "is damaged" in told


def test_a_codec_that_nobody_knows_is_refused(plain: Made) -> None:
    """Asked for its name, pyarrow would end this process."""
    content = bytearray(plain.result.path.read_bytes())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    # Of the first column: its name, which is a list of one text, and then its codec.
    name = content.index(b"\x19\x18\x0asubmission\x15", footer)
    assert content[name + 14] == 12, "Zstandard, in zigzag"
    content[name + 14] = 99
    path = plain.project.root / "forged.parquet"
    path.write_bytes(content)
    assert "something else than Zstandard" in refused(plain, path)


def test_what_is_no_regular_file_is_refused(plain: Made) -> None:
    root = plain.project.root
    link, pipe = root / "link.parquet", root / "pipe.parquet"
    link.symlink_to(plain.result.path)
    os.mkfifo(pipe)
    for path in (link, pipe, root, root / "missing.parquet"):
        assert "is not a regular file" in refused(plain, path)


def test_a_file_that_is_too_large_is_not_opened(plain: Made) -> None:
    path = plain.project.root / "forged.parquet"
    with path.open("wb") as file:
        file.truncate(10**12)
    assert "bytes are" in refused(plain, path) or "are accepted" in refused(plain, path)


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_reads_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, measured_file: Path, data: st.DataObject
) -> None:
    content = bytearray(measured_file.read_bytes())
    whole = read_foreign(measured_file, ROWS, PIXELS)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "file.parquet"
    path.write_bytes(content)
    try:
        found = read_foreign(path, ROWS, PIXELS)
    except InputError:
        return
    assert list(found.rows) == list(whole.rows)
    assert len(found.rows) == ROWS


@pytest.fixture(scope="module")
def measured_file(measured: Any) -> Path:
    found: Path = next(measured.results.glob("*/plain.parquet"))
    return found


def chunk(values: pa.Array, **options: Any) -> tuple[bytes, int, int]:
    """A file with one column, and where its pages lie."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": values}), sink, compression="zstd", **options)
    facts = pq.ParquetFile(io.BytesIO(sink.getvalue())).metadata.row_group(0).column(0)
    start = facts.dictionary_page_offset if facts.has_dictionary_page else facts.data_page_offset
    return sink.getvalue(), start, start + facts.total_compressed_size


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_the_pages_of_a_column_hold_its_values(version: str, dictionary: bool) -> None:
    options = {"data_page_version": version, "use_dictionary": dictionary, "data_page_size": 1000}
    values = pa.array([f"text {n % 700}" for n in range(5000)])
    data, start, stop = chunk(values, write_page_checksum=True, **options)
    found = list(pages(data, start, stop))
    assert found[0].dictionary is dictionary
    assert sum(page.values for page in found if not page.dictionary) == 5000
    assert not dictionary or found[0].values == 700


def test_a_page_tells_how_large_it_unpacks() -> None:
    data, start, stop = chunk(pa.array([b"\0" * 10_000_000]), use_dictionary=False)
    (page,) = pages(data, start, stop)
    assert stop - start < 10_000
    assert page == ParquetPage(False, page.unpacked, 1)
    assert page.unpacked > 10_000_000


@given(st.binary(max_size=60))
def test_bytes_that_are_no_pages_and_no_footer_are_refused(data: bytes) -> None:
    with suppress(ValueError):
        for page in pages(data, 0, len(data)):
            assert page.unpacked >= 0
    with suppress(ValueError):
        codecs(data, 0, len(data))


def test_a_footer_of_lists_in_lists_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        codecs(b"\x49" + b"\x19" * 100_000, 0, 100_001)
