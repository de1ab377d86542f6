"""The stored Parquet files as the website lists them: how large, how many rows, which checksum."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from leaderboard.board import Board
from leaderboard.data_files import sha256_of
from leaderboard.downloads import Download, download_of

if TYPE_CHECKING:
    from leaderboard.results import Results


@dataclass(frozen=True)
class StoredFile:
    """One result, its place on the website, and what its file is; `size` in bytes."""

    result: "Results"
    download: Download

    @property
    def name(self) -> str:
        """The slug, and after a dot the evaluator where one was named."""
        return self.result.path.stem

    @cached_property
    def size(self) -> int:
        """In bytes."""
        return self.result.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """Of the whole file; read once."""
        return sha256_of(self.result.path)


@dataclass(frozen=True)
class AllRows:
    """A setting's rows of every submission in one file, of `size` bytes."""

    setting: str
    rows: int
    size: int
    sha256: str


def named_files(board: Board) -> dict[str, list[StoredFile]]:
    """By setting: evaluations by an evaluator that was named, which are in no table."""
    found: dict[str, list[StoredFile]] = {name: [] for name in board.settings}
    for result in board.named:
        title = board.submissions[result.provenance.submission].title
        listed = found[result.provenance.setting]
        listed.append(StoredFile(result, download_of(result, title)))
    return found


def stored_files(board: Board) -> dict[str, list[StoredFile]]:
    """The files by setting, every setting being there, each by rank as in its table."""
    return {
        name: [
            StoredFile(line.result, download_of(line.result, line.title))
            for line in board.re_evaluated(name)
            if line.result
        ]
        for name in board.settings
    }
