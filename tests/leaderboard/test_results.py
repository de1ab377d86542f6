import errno
import json
import os
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.board.files import read_sources
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project, find_project
from leaderboard.results.store import (
    COLUMNS,
    SCHEMA_VERSION,
    frame,
    read,
    read_provenance,
    results_path,
    stored_paths,
    write,
)
from tests.fixtures.board import provenance, rows, smoothed_rows
from tests.leaderboard.conftest import Certboard

STORED_ONCE = Path(__file__).parents[1] / "fixtures" / "results" / "version-3-cascade.parquet"
"""A file that the writer of this schema version made once; it is never made again."""

TABLE = rows("mnist-ibp", "mnist-linf-0.1", {("certified", "ibp"): 7, ("falsified", "pgd"): 3})


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "mnist-linf-0.1" / "mnist-ibp.parquet"
    write(path, TABLE.assign(witness=[b"\0\0\x80?"] * 10), provenance(TABLE))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read(path)
    (problem,) = error.value.problems
    return problem.replace(f"{path}: ", "")


def rewritten(path: Path, **changes: Any) -> None:
    """Store the same rows with another provenance."""
    table = pq.read_table(path, partitioning=None)
    record = json.loads(table.schema.metadata[b"certboard"]) | changes
    record.pop("checksum")  # of what it was before
    pq.write_table(table.replace_schema_metadata({b"certboard": json.dumps(record)}), path)


def test_what_is_read_is_what_was_written(stored: Path) -> None:
    result = read(stored)
    assert tuple(result.rows.columns) == COLUMNS
    assert result.provenance == provenance(TABLE) == read_provenance(stored)
    for name in COLUMNS:
        expected = [b"\0\0\x80?"] * 10 if name == "witness" else TABLE[name].tolist()
        found = result.rows[name].tolist()
        assert [None if pd.isna(v) else v for v in found] == [
            None if pd.isna(v) else v for v in expected
        ], name


def test_different_values_of_all_rows_are_written_without_a_dictionary(stored: Path) -> None:
    group = pq.ParquetFile(stored).metadata.row_group(0)
    for name, encoding in {
        "example": "DELTA_BINARY_PACKED",
        "margin": "BYTE_STREAM_SPLIT",
        "witness": "RLE_DICTIONARY",
    }.items():
        assert encoding in group.column(COLUMNS.index(name)).encodings


def test_reading_gives_the_same_types_whether_values_are_missing_or_not() -> None:
    full = frame([{"prediction": 3, "margin": 0.5, "note": ""}])
    empty = frame([{"prediction": None, "margin": None, "note": ""}])
    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    some = frame([{"prediction": 3}, {"prediction": None}])
    assert str(some["prediction"].tolist()) == "[3, <NA>]"


def test_files_of_this_schema_version_keep_loading() -> None:
    result = read(STORED_ONCE)
    assert result.provenance.schema_version == SCHEMA_VERSION
    assert tuple(result.rows.columns) == COLUMNS
    assert len(result.rows) == 12
    assert set(result.rows["status"]) <= {"certified", "falsified", "unknown"}
    assert result.provenance.total == 449


def test_every_stored_evaluation_of_the_board_is_of_this_schema_version() -> None:
    for path in stored_paths(find_project()):
        assert read_provenance(path).schema_version == SCHEMA_VERSION, path


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_another_schema_version_is_refused_whatever_else_it_changed(
    version: int, stored: Path
) -> None:
    rewritten(stored, schema_version=version, total=None)
    assert refusal(stored) == (
        f"has schema version {version}; this program reads version {SCHEMA_VERSION}."
    )


def test_unknown_keys_and_columns_are_tolerated(stored: Path) -> None:
    table = pq.read_table(stored, partitioning=None)
    extra = table.append_column("colour", pa.array(["red"] * 10))
    pq.write_table(extra, stored)
    rewritten(stored, weather="fine")
    assert tuple(read(stored).rows.columns) == COLUMNS


def test_a_missing_column_and_a_broken_provenance_are_named(stored: Path) -> None:
    rewritten(stored, total="many")
    assert refusal(stored) == "its provenance is damaged at 'total'."
    table = pq.read_table(stored, partitioning=None)
    write(stored, TABLE, provenance(TABLE))
    metadata = pq.read_schema(stored).metadata
    pq.write_table(table.drop_columns(["margin"]).replace_schema_metadata(metadata), stored)
    assert refusal(stored) == "the column 'margin' is missing."


def test_a_column_twice_and_a_text_that_is_none_are_refused(stored: Path) -> None:
    table = pq.read_table(stored, partitioning=None)
    pq.write_table(table.append_column("radius", table["radius"]), stored)
    assert refusal(stored) == "has the column 'radius' more than once."
    place = table.schema.get_field_index("note")
    note = pa.array([b"\xff"] * len(table), pa.binary()).view(pa.string())
    pq.write_table(table.set_column(place, "note", note), stored)
    assert refusal(stored) == "is not a result file, or is damaged."


@pytest.mark.parametrize("content", [b"", b"PAR1", b"<html>", b"\x80\x04K\x01.", b"PAR1" * 9])
def test_what_is_no_result_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    assert refusal(path) == "is not a result file, or is damaged."


@pytest.mark.parametrize("command", [("status", "--json"), ("check",)])
def test_a_pipe_in_the_place_of_a_result_is_not_waited_for(
    project: Project, certboard: Certboard, command: tuple[str, ...]
) -> None:
    shard = project.results / "digits-linf-0.1" / "plain.parts" / f"{'0' * 16}-{'0' * 16}"
    shard.mkdir(parents=True)
    for place in (shard / "00000000-00000001.parquet", shard.parents[1] / "plain.parquet"):
        os.mkfifo(place)
    outcome = certboard(*command)
    assert outcome.out.strip() == "[]" if command[0] == "status" else "regular" in outcome.err


def test_other_tables_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert refusal(path) == "there is no such file."
    pq.write_table(pa.table({"example": [1]}), path)
    assert refusal(path) == "is not a certboard result file (it has no provenance)."
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"certboard": "[1]"}), path)
    assert "its provenance is damaged" in refusal(path)


def test_damage_never_changes_a_row(stored: Path) -> None:
    """Every page has a checksum: a flipped bit is a sentence, or it is nowhere in the rows."""
    content, expected = stored.read_bytes(), read(stored).rows
    draw = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content[: draw.choice([len(content), draw.randrange(len(content))])])
        if damaged:
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        stored.write_bytes(damaged)
        try:
            assert read(stored).rows.equals(expected)
        except InputError:
            refused += 1
    assert refused > 200


def test_a_provenance_nested_without_end_costs_this_file_only(stored: Path) -> None:
    table = pq.read_table(stored, partitioning=None)
    deep = b'{"options": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    pq.write_table(table.replace_schema_metadata({b"certboard": deep}), stored)
    assert refusal(stored) == "is not a result file, or is damaged."


def test_reading_never_writes(stored: Path) -> None:
    folder = stored.parent
    before = [(p, p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*"))]
    modified = folder.stat().st_mtime_ns
    read(stored)
    read_provenance(stored)
    assert before == [(p, p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*"))]
    assert folder.stat().st_mtime_ns == modified


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("step", ["pyarrow.parquet.write_table", "os.fsync", "pathlib.Path.open"])
def test_a_full_or_read_only_disk_changes_nothing(
    stored: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: str
) -> None:
    before = stored.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        if number == errno.EROFS:
            patch.setattr(Path, "unlink", fail)
        with pytest.raises(InputError) as error:
            write(stored, TABLE.head(3), provenance(TABLE))
    (problem,) = error.value.problems
    reason = os.strerror(number)
    assert problem == f"{stored}: cannot be written ({reason}); nothing was changed."
    assert stored.read_bytes() == before
    if number != errno.EROFS:
        assert [path.name for path in stored.parent.iterdir()] == [stored.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_sentence(stored: Path) -> None:
    stored.parent.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        write(stored, TABLE, provenance(TABLE))


def test_a_place_that_is_no_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "results" / "x.parquet", TABLE, provenance(TABLE))


def test_an_interrupted_write_leaves_nothing_behind(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    before = stored.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write(stored, TABLE.head(3), provenance(TABLE))
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_only_evaluations_by_the_protocol_are_ranked(tmp_path: Path) -> None:
    project = Project(tmp_path)
    smoothed = smoothed_rows("noise", "mnist-l2-1.58", 5)
    write(results_path(project, "mnist-linf-0.1", "mnist-ibp"), TABLE, provenance(TABLE))
    write(results_path(project, "mnist-l2-1.58", "noise"), smoothed, provenance(smoothed))
    by_crown = TABLE.assign(evaluator="crown")
    named = results_path(project, "mnist-linf-0.1", "mnist-ibp", "crown")
    write(named, by_crown, provenance(by_crown))
    part = tmp_path / "site" / "data" / "results" / "mnist-linf-0.1" / "mnist-ibp.parts" / "a"
    write(part / "1.parquet", TABLE, provenance(TABLE))
    (part.parent.parent / ".mnist-ibp.parquet.12.tmp").write_bytes(b"half")
    sources = read_sources(project)
    found = [one.path.relative_to(project.results).as_posix() for one in sources.results]
    assert found == ["mnist-l2-1.58/noise.parquet", "mnist-linf-0.1/mnist-ibp.parquet"]
    assert [one.path for one in sources.named] == [named]
