"""What was made from stored files, kept in the cache of this machine under hashes of what it is of.

The key is the SHA-256 of all that the content follows from: the bytes of result files, and the code
that makes it. The cache lies in the user's own folder and not in a checkout: a commit or a pull
request can put nothing there, and a fresh machine, as of CI, makes everything anew. A content whose
own checksum is wrong, or a cache that cannot be opened, is as if it were not there.
"""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from leaderboard.datasets.files import cache_folder

VARIABLE = "CERTBOARD_CACHE"
"""Where it is kept instead; nothing is kept where it is empty."""

DAYS = 30
"""After which what nobody asked for is dropped."""

MOST_BYTES = 10**9
"""Beyond which what was not asked for longest is dropped when the cache is opened."""

_DROPPED = """delete from kept where key in (select key from (select key,
sum(length(key) + length(content)) over (order by used desc, key) as up_to from kept)
where up_to > ?)"""
_TABLE = """create table if not exists kept
(key text primary key, used integer, checksum text, content blob) without rowid"""


class Kept:
    """A cache in one file, of bytes by key; where `path` is None nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._open: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._today = int(datetime.now(UTC).timestamp()) // 86_400
        if path is None:
            return
        with suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each statement is a transaction, but not waited for: what is lost is made again.
            opened = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            opened.execute("pragma synchronous = off")
            opened.execute("pragma journal_mode = wal")
            opened.execute(_TABLE)
            opened.execute("delete from kept where used < ?", (self._today - DAYS,))
            if _size(opened) > MOST_BYTES:
                opened.execute(_DROPPED, (MOST_BYTES,))
            self._open = opened

    def made(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The content of `key`: what is kept, else what `make` gives, which is kept from now on."""
        content = self.get(key)
        if content is None:
            content = make()
            self.put(key, content)
        return content

    def get(self, key: str) -> bytes | None:
        """What is kept; None where it is not there, or is damaged."""
        rows = self._ask("select used, checksum, content from kept where key = ?", key)
        for used, checksum, content in rows:
            if isinstance(content, bytes) and _checksum(key, content) == checksum:
                if used != self._today:
                    self._ask("update kept set used = ? where key = ?", self._today, key)
                return content
        return None

    def put(self, key: str, content: bytes) -> None:
        """Keep it, in place of what was there."""
        told = key, self._today, _checksum(key, content), content
        self._ask("insert or replace into kept values (?, ?, ?, ?)", *told)

    def _ask(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        if self._open is None:
            return []
        with self._lock:
            try:
                return self._open.execute(statement, values).fetchall()
            except sqlite3.Error:
                return []


def shared() -> Kept:
    """The cache of this user; what is there already is what other checkouts made, too."""
    chosen = os.environ.get(VARIABLE)
    return _kept(str(cache_folder()) if chosen is None else chosen)


@lru_cache(maxsize=1)
def _kept(folder: str) -> Kept:
    return Kept(Path(folder) / "kept.sqlite" if folder else None)


def key_of(kind: str, parts: Iterable[str]) -> str:
    """The key of what is made from `parts` by this version of the program."""
    told = "\n".join([kind, code(), *parts])
    return f"{kind}:{hashlib.sha256(told.encode()).hexdigest()}"


@lru_cache(maxsize=1)
def code() -> str:
    """A hash of all that decides what is made from a result file: our code, and the libraries'."""
    root = Path(__file__).parents[1]
    rooms = ("results", "settings", "common", "datasets", "website/publishing")
    single = ("downloads.py", "still.py", "finished.py", "policy.py")
    libraries = [version(library) for library in ("numpy", "pyarrow", "pydantic")]
    places = [*rooms, *(f"website/{name}" for name in single)]
    told = [*libraries, *(hash_of(root / place) for place in places)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def digest_of(parts: Iterable[bytes]) -> str:
    """A hash of several contents, each with its length, so that none runs into the next."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def hash_of(place: Path) -> str:
    """A hash of the code in a file, or of all below a folder."""
    found = hashlib.sha256()
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if path.suffix in (".py", ".toml"):
            found.update(f"{path.relative_to(place)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def _size(opened: sqlite3.Connection) -> int:
    """The bytes in use; what was dropped leaves room in the file, which is used again."""
    pages, free, each = (
        opened.execute(f"pragma {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int(each * (pages - free))


def _checksum(key: str, content: bytes) -> str:
    return hashlib.sha256(key.encode() + content).hexdigest()
