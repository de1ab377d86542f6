"""The matrix of evaluators × networks on the comparison page, and the tables it is made from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.listing import catalogue
from evaluators.network.network import Network
from leaderboard.board.board import Board
from leaderboard.board.files import read_sources
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project, find_project
from leaderboard.results.cells import Cell, agreeing, read_cells
from leaderboard.results.store import read
from leaderboard.settings.setting import setting_id
from leaderboard.website.matrix import matrix, matrix_file

CELL = Cell(
    network="a.onnx",
    sha256="0" * 64,
    dataset="mnist",
    norm="linf",
    radius="0.1",
    evaluator="crown",
    version="1",
    seconds=10.0,
    examples=20,
    certified=12,
    falsified=1,
    unknown=7,
    mean_seconds=0.25,
    median_seconds=0.5,
    mean_radius=None,
    source="",
    commit="",
)


def board_with(example: Board, *cells: Cell) -> Board:
    return replace(example, cells=cells)


def test_an_evaluator_that_was_not_asked_has_no_cell_and_rows_follow_the_taxonomy(
    example: Board,
) -> None:
    search = replace(CELL, evaluator="branch-and-bound", certified=15, falsified=5, unknown=0)
    other = replace(CELL, sha256="1" * 64, network="b.onnx", evaluator="ibp")
    found = matrix(board_with(example, other, CELL, search))
    assert [column.network for column in found.columns] == ["a", "b"]
    assert [row.evaluator for row in found.rows] == ["branch-and-bound", "ibp", "crown"]
    assert [row.cells for row in found.rows] == [[search, None], [None, other], [CELL, None]]


def test_the_bound_of_a_column_is_what_nobody_falsified(example: Board) -> None:
    search = replace(CELL, evaluator="branch-and-bound", certified=15, falsified=5, unknown=0)
    (column,) = matrix(board_with(example, CELL, search)).columns
    assert column.bound == 15 / 20
    assert column.question == "MNIST · ℓ∞ · 0.1"


def test_the_file_of_all_cells_reads_as_the_same_cells(example: Board, tmp_path: Path) -> None:
    cells = [CELL, replace(CELL, evaluator="lp", mean_radius=0.05, source="x, y")]
    path = tmp_path / "matrix.csv"
    path.write_bytes(matrix_file(board_with(example, *cells)))
    assert read_cells(path) == cells


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        (",12,1,7,", ",13,1,7,"),
        (",12,1,7,", ",32,-13,1,"),
        (",20,", ",many,"),
        ("evaluator", "method"),
    ],
)
def test_a_table_that_is_damaged_is_named(
    example: Board, tmp_path: Path, was: str, is_now: str
) -> None:
    path = tmp_path / "damaged.csv"
    text = matrix_file(board_with(example, CELL)).decode()
    assert was in text
    path.write_text(text.replace(was, is_now))
    with pytest.raises(InputError, match=r"damaged\.csv"):
        read_cells(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"network": "=HYPERLINK(1)"},
        {"network": "<img src=x>.onnx"},
        {"evaluator": "__proto__"},
        {"sha256": "0"},
        {"radius": "1e999999999"},
        {"radius": "0"},
        {"norm": "l∞"},
        {"version": "1\n2"},
        {"source": "a\u202eb"},
        {"seconds": float("nan")},
        {"mean_seconds": float("inf")},
        {"median_seconds": -1.0},
        {"mean_radius": float("nan")},
        {"commit": "javascript:1"},
    ],
)
def test_a_cell_that_no_evaluation_gives_is_refused(
    example: Board, tmp_path: Path, changed: dict[str, Any]
) -> None:
    path = tmp_path / "forged.csv"
    path.write_bytes(matrix_file(board_with(example, replace(CELL, **changed))))
    with pytest.raises(InputError, match=r"forged\.csv"):
        read_cells(path)


def test_a_cell_that_another_one_refutes_is_left_out_with_it() -> None:
    attack = replace(CELL, evaluator="pgd", certified=0, falsified=9, unknown=11)
    fits = replace(CELL, evaluator="ibp", certified=11, falsified=0, unknown=9)
    other = replace(CELL, sha256="1" * 64)
    kept, problems = agreeing([CELL, attack, fits, other])
    assert kept == [fits, other]
    assert problems == [
        "comparison of a.onnx, linf 0.1: 'crown' certifies 12 of 20 examples, of which 'pgd'"
        " falsifies 9."
    ]


def test_a_second_cell_does_not_take_the_place_of_the_first() -> None:
    better = replace(CELL, certified=19, unknown=0)
    kept, problems = agreeing([CELL, better])
    assert kept == []
    assert problems == ["comparison of a.onnx, linf 0.1: 'crown' stands there twice."]


def test_no_cell_of_the_file_runs_as_a_formula(example: Board) -> None:
    cell = replace(CELL, source="=HYPERLINK(1)", network="@a")
    text = matrix_file(board_with(example, cell)).decode()
    assert ",'=HYPERLINK(1)," in text
    assert "\n'@a," in text


def test_a_damaged_table_costs_itself_alone(project: Project) -> None:
    project.comparison.mkdir(parents=True, exist_ok=True)
    (project.comparison / "damaged.csv").write_text("network\na\n")
    found = read_sources(project)
    assert any("damaged.csv" in problem for problem in found.problems())
    assert set(found.catalogue.submissions) == {"plain", "noisy"}


STORED = find_project(Path(__file__)).comparison


@pytest.mark.parametrize("table", sorted(STORED.glob("*.csv")), ids=lambda path: path.stem)
def test_the_stored_tables_count_the_stored_rows(table: Path) -> None:
    for cell in read_cells(table):
        folder = STORED / setting_id(cell.dataset, cell.norm, cell.radius)
        (path,) = folder.glob(f"*-{cell.sha256[:8]}.{cell.evaluator}.parquet")
        results = read(path)
        assert results.provenance.model_sha256 == cell.sha256
        assert results.provenance.evaluator_version == cell.version
        counted = [results.tally.of_status(s) for s in ("certified", "falsified", "unknown")]
        assert counted == [cell.certified, cell.falsified, cell.unknown], cell.evaluator


def test_every_evaluator_of_plain_networks_stands_in_the_stored_matrix() -> None:
    proving = {
        name
        for name, method in catalogue().items()
        if method.accepts is Network and method.certifies
    }
    cells = [cell for table in STORED.glob("*.csv") for cell in read_cells(table)]
    assert proving - {cell.evaluator for cell in cells} == set()
