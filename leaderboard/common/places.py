"""What can be wrong with a place on the disk, found out before work is done for it."""

import difflib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from leaderboard.common.errors import InputError

MOST_NAMES = 1000
"""Of a folder's entries, that a name which is not there is compared with."""


def no_file(path: Path) -> str:
    """Say of a path that is no file what it is, and which file it may be meant for."""
    if path.is_dir():
        return f"{path}: is a folder; name the file in it."
    with suppress(OSError):
        names = [entry.name for entry in islice(os.scandir(path.parent), MOST_NAMES)]
        close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
        if close:
            return f"{path}: there is no such file. Did you mean '{close[0]}'?"
    return f"{path}: there is no such file."


def check_writable(path: Path) -> None:
    """Refuse a place where no file could be written, such as on a read-only disk.

    Raises:
        InputError: the folder, or the one that it would be made in, takes no file.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, where a file would be written.")
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from None


_GLANCE = 0.5
"""Seconds for which a lock is waited for: `taken` holds it for much less."""


def taken(path: Path) -> bool:
    """Say whether a process of this machine writes a file now."""
    try:
        with alone(path):
            return False
    except InputError:
        return True


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Write a file here, and in no other process of this machine, in this context.

    The lock lies among the temporary files and ends with the process that holds it. Where those
    cannot be written, as in confinement, nothing is locked.

    Raises:
        InputError: another process holds it.
    """
    from filelock import FileLock, Timeout

    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    lock = FileLock(Path(tempfile.gettempdir()) / f"certboard-{name}.lock", timeout=_GLANCE)
    try:
        lock.acquire()
    except Timeout:
        sentence = "another run is writing it now; wait for its end, or name another place"
        raise InputError(f"{path}: {sentence}.") from None
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()
