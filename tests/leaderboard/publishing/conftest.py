from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.board.board import Board
from leaderboard.results.store import Results, write
from leaderboard.website.publishing import shelf
from leaderboard.website.publishing.stored import StoredFile, stored_files
from tests.fixtures.board import board, provenance, rows

Taken = dict[str, bytes]
"""Everything that can be taken home, by its place."""


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("rows")
    return replace(board(folder), named_of={"mnist-ibp": [by_crown(folder)]})


def by_crown(folder: Path) -> Results:
    """One evaluation by an evaluator that was named instead of the protocol."""
    table = rows(
        "mnist-ibp", "mnist-linf-0.1", {("certified", "crown"): 3, ("unknown", "crown"): 2}
    )
    table = table.assign(evaluator="crown")
    path = folder / "mnist-linf-0.1" / "mnist-ibp.crown.parquet"
    write(path, table, provenance(table))
    return Results(path, table, provenance(table))


@pytest.fixture(scope="session")
def stored(example: Board) -> dict[str, list[StoredFile]]:
    return stored_files(example)


@pytest.fixture(scope="session")
def taken(example: Board, stored: dict[str, list[StoredFile]]) -> Taken:
    return dict(shelf.files(example, stored))
