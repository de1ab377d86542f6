"""The files of rows: the same rows, checksums that hold, programs that read them."""

import contextlib
import hashlib
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from pyarrow.parquet import ParquetFile

from leaderboard.board import Board
from leaderboard.columns import DESCRIBED
from leaderboard.publishing import places, shelf
from leaderboard.publishing.snippets import SNIPPETS
from leaderboard.publishing.stored import StoredFile
from tests.leaderboard.publishing.conftest import Taken


def test_two_bakings_are_byte_identical(
    example: Board, stored: dict[str, list[StoredFile]], taken: Taken
) -> None:
    assert dict(shelf.files(example, stored)) == taken


def test_checksums_are_those_of_the_files(taken: Taken) -> None:
    lines = taken[places.CHECKSUMS].decode().splitlines()
    told = {f"data/{path}": sha256 for sha256, path in (line.split("  ") for line in lines)}
    parquet = {place for place in taken if place.endswith(".parquet")}
    assert set(told) == parquet
    for place in parquet:
        assert hashlib.sha256(taken[place]).hexdigest() == told[place]


def test_all_rows_of_a_setting_are_the_rows_of_its_files(
    stored: dict[str, list[StoredFile]], taken: Taken
) -> None:
    name = "mnist-linf-0.1"
    whole = pd.read_parquet(io.BytesIO(taken[places.all_rows(name)]))
    parts = [pd.read_parquet(io.BytesIO(taken[file.download.parquet])) for file in stored[name]]
    assert len(parts) == 2
    pd.testing.assert_frame_equal(whole, pd.concat(parts, ignore_index=True))


def test_the_stored_file_is_published_byte_by_byte(
    stored: dict[str, list[StoredFile]], taken: Taken
) -> None:
    for listed in stored.values():
        for file in listed:
            assert taken[file.download.parquet] == file.result.path.read_bytes()


def test_every_column_of_the_files_is_explained(taken: Taken) -> None:
    rows = pd.read_parquet(io.BytesIO(taken[places.all_rows("mnist-linf-0.1")]))
    assert list(rows) == [column.name for column in DESCRIBED]
    for column in DESCRIBED:
        assert column.meaning.endswith(".")
        if not column.null:
            assert rows[column.name].notna().all()


@pytest.mark.parametrize("name", ["pandas"])
def test_the_programs_shown_run(name: str, taken: Taken, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(taken[places.all_rows("mnist-linf-0.1")])
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(compile(SNIPPETS[name](str(path)), name, "exec"), {})
    assert "certified" in told.getvalue()
    assert "mnist-plain" in told.getvalue()


def test_every_program_shown_is_python() -> None:
    for name, snippet in SNIPPETS.items():
        compile(snippet("rows.parquet"), name, "exec")


def test_provenance_of_every_part_is_in_the_file_of_all(taken: Taken) -> None:
    file = ParquetFile(io.BytesIO(taken[places.all_rows("mnist-linf-0.1")]))
    parts = json.loads(file.schema_arrow.metadata[b"certboard-parts"])
    assert [part["submission"] for part in parts] == ["mnist-ibp", "mnist-plain"]
