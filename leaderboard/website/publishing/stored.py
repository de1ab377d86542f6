"""The stored Parquet files as the website lists them: how large, how many rows, which checksum."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.datasets.files import sha256_of
from leaderboard.website.downloads import StoredDownload, download_of

if TYPE_CHECKING:
    from leaderboard.results.store import Results


@dataclass(frozen=True)
class StoredFile:
    """One result, its place on the website, and what its file is.

    `why` says why it is in no table; it is empty where it is in one.
    """

    result: "Results"
    download: StoredDownload
    why: str = ""

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
        return self.result.sha256 or sha256_of(self.result.path)


@dataclass(frozen=True)
class AllRows:
    """A setting's rows of every submission in one file, of `size` bytes."""

    setting: str
    rows: int
    size: int
    sha256: str


def unranked_files(board: Board) -> dict[str, list[StoredFile]]:
    """By setting: the results that are in no table, each with the reason; records stay."""
    found: dict[str, list[StoredFile]] = {name: [] for name in board.settings}
    for slug, one in board.submissions.items():
        gone = "withdrawn" if one.withdrawn is not None else f"superseded by {one.superseded_by}"
        reasons = [
            *((result, gone) for result in board.results_of.get(slug, ()) if one.retired),
            *(
                (result, f"disputed: {decision.told}")
                for result in board.results_of.get(slug, ())
                if (decision := board.line_of(result).disputed) and not one.retired
            ),
            *(
                (result, f"by {result.provenance.evaluator} alone")
                for result in board.named_of.get(slug, ())
            ),
            *((result, "of an earlier model") for result in board.former.get(slug, ())),
        ]
        for result, why in reasons:
            listed = found.get(result.provenance.setting)
            if listed is not None:
                listed.append(StoredFile(result, download_of(result, one.title), why))
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
