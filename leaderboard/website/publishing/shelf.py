"""Everything that readers take home, setting by setting, so that few rows are in memory at once."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from leaderboard.board.board import Board
from leaderboard.field.authors_curves import FILE as AUTHORS_CURVES_FILE
from leaderboard.results.export import combined, csv
from leaderboard.results.kept import key_of, shared
from leaderboard.results.store import load
from leaderboard.website.citation import FILE as CITATION_FILE
from leaderboard.website.citation import bibtex_board
from leaderboard.website.downloads import inert
from leaderboard.website.plan import Files
from leaderboard.website.publishing import interface, places, tables
from leaderboard.website.publishing.croissant import croissant
from leaderboard.website.publishing.feed import feed
from leaderboard.website.publishing.stored import AllRows, StoredFile, unranked_files


def files(board: Board, stored: Mapping[str, list[StoredFile]]) -> Files:
    """Path and content of every file, in a fixed order; each result is read once."""
    whole: dict[str, AllRows] = {}
    others = unranked_files(board)
    for setting, listed in stored.items():
        yield from _rows(setting, listed, whole)
        for file in others[setting]:
            yield from _own(file, partial(load, file.result))
        yield places.latex_table(setting), tables.latex(board, setting).encode()
        yield places.references(setting), tables.bibliography(board, setting).encode()
        yield places.standings_csv(setting), tables.spreadsheet(board, setting)
    listed = [file for files in (stored, others) for found in files.values() for file in found]
    yield places.CHECKSUMS, _checksums(listed, whole)
    yield places.CROISSANT, croissant(board, listed, whole)
    yield places.BOARD_BIB, bibtex_board().encode()
    yield places.CITATION, CITATION_FILE.read_bytes()
    yield places.AUTHORS_CURVES, AUTHORS_CURVES_FILE.read_bytes()
    yield places.FEED, feed(board)
    yield places.ROBOTS, _robots()
    yield from interface.files(board, stored, whole)


def all_rows(setting: str, listed: list[StoredFile]) -> tuple[AllRows, bytes]:
    """The one file of all rows of a setting, and what is said of it."""
    return _all_rows(setting, listed, lambda at: load(listed[at].result))


def _all_rows(
    setting: str, listed: list[StoredFile], rows: Callable[[int], Any]
) -> tuple[AllRows, bytes]:
    content = shared().made(
        key_of("rows", [file.sha256 for file in listed]),
        lambda: combined([(file.result.provenance, rows(at)) for at, file in enumerate(listed)]),
    )
    count = sum(file.download.rows for file in listed)
    return AllRows(setting, count, len(content), hashlib.sha256(content).hexdigest()), content


def _rows(
    setting: str, listed: list[StoredFile], whole: dict[str, AllRows]
) -> Iterator[tuple[str, bytes]]:
    rows = cache(lambda at: load(listed[at].result))
    for at, file in enumerate(listed):
        yield from _own(file, partial(rows, at))
    if listed:
        whole[setting], content = _all_rows(setting, listed, rows)
        yield places.all_rows(setting), content


def _own(file: StoredFile, rows: Callable[[], Any]) -> Iterator[tuple[str, bytes]]:
    """A result's own two files: the stored one as it is, and the CSV of its loaded rows."""
    yield file.download.csv, shared().made(key_of("csv", [file.sha256]), lambda: csv(rows(), inert))
    yield file.download.parquet, file.result.path.read_bytes()


def _checksums(files: Sequence[StoredFile], whole: Mapping[str, AllRows]) -> bytes:
    """What `sha256sum --check` reads, beside the files."""
    found = {places.all_rows(name): one.sha256 for name, one in whole.items()}
    found |= {file.download.parquet: file.sha256 for file in files}
    lines = [f"{sha256}  {path.removeprefix('data/')}\n" for path, sha256 in sorted(found.items())]
    return "".join(lines).encode()


def _robots() -> bytes:
    """Everything may be read; the map of the site can only be named by its whole address."""
    home = places.site_url()
    named = f"Sitemap: {home}sitemap.xml\n" if home else ""
    return f"User-agent: *\nAllow: /\n{named}".encode()
