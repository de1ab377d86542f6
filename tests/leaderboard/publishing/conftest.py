import pytest

from leaderboard.board import Board
from leaderboard.publishing import shelf
from leaderboard.publishing.stored import StoredFile, stored_files
from tests.fixtures.board import board

Taken = dict[str, bytes]
"""Everything that can be taken home, by its place."""


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="session")
def stored(example: Board) -> dict[str, list[StoredFile]]:
    return stored_files(example)


@pytest.fixture(scope="session")
def taken(example: Board, stored: dict[str, list[StoredFile]]) -> Taken:
    return dict(shelf.files(example, stored))
