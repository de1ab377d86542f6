"""The files of rows: the same rows, checksums that hold, programs that read them."""

import contextlib
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pandas as pd
import pytest
from pyarrow.parquet import ParquetFile

from leaderboard.board.board import Board
from leaderboard.results.columns import DESCRIBED
from leaderboard.website.pages import data
from leaderboard.website.publishing import places, shelf
from leaderboard.website.publishing.snippets import SNIPPETS
from leaderboard.website.publishing.stored import StoredFile, stored_files, unranked_files
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


def test_records_stay_when_a_model_leaves_the_tables(example: Board) -> None:
    """Withdrawn, or measured before its file was replaced: the rows are still to be had."""
    gone = example.submissions["mnist-plain"].model_copy(update={"withdrawn": "a wrong file"})
    former = example.results_of["mnist-ibp"]
    lines = [line for line in example.standings["mnist-linf-0.1"] if line.reported]
    board = replace(
        example,
        submissions={**example.submissions, "mnist-plain": gone},
        standings={**example.standings, "mnist-linf-0.1": lines},
        results_of={**example.results_of, "mnist-ibp": []},
        former={"mnist-ibp": former},
    )
    taken = dict(shelf.files(board, stored_files(board)))
    for slug, why in {"mnist-plain": "withdrawn", "mnist-ibp": "of an earlier model"}.items():
        assert taken[f"data/mnist-linf-0.1/{slug}.parquet"]
        told = json.loads(taken[f"api/v1/results/mnist-linf-0.1/{slug}.json"])
        assert (told["rank"], told["unranked"]) == (None, why)
    assert places.all_rows("mnist-linf-0.1") not in taken
    page = data.setting(board, "mnist-linf-0.1", stored_files(board), unranked_files(board))
    assert {file["why"] for file in cast("list[dict[str, str]]", page["files"])} == {
        "withdrawn",
        "of an earlier model",
        "by crown alone",
    }
