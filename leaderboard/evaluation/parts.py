"""Finished shards on their way between a folder of results and the one of a confined process.

They may have come from another machine, and are a stranger's: here they are bytes under a name, and
nothing of them is read. Only the confined process opens them, takes those that are of its own
evaluation, and makes a result of them, every row of which is then accepted or refused.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from leaderboard.common.errors import InputError

KEY = re.compile("[0-9a-f]{16}-[0-9a-f]{16}")
"""The name of a folder of finished shards: what is asked, and the code that answers."""
_NAME = "[0-9]{8}-[0-9]{8}([.](cheap|complete))?[.]parquet"
_LARGEST, _MOST = 50_000_000, 20_000
"""Bytes of a shard, and shards of an evaluation."""
_PLAINLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def folder_of(result: Path) -> Path:
    """Return where the finished shards of a result file are kept, in a folder for each question."""
    return result.with_suffix(".parts")


def result_of(folder: Path) -> Path:
    """Return the result file that is made of the finished shards in a folder."""
    return folder.with_suffix(".parquet")


def carry(source: Path, target: Path, *, missing: bool = False) -> None:
    """Copy the finished shards of one result file to those of another; perhaps those `missing`.

    Raises:
        InputError: something there is no finished shard, or the target cannot be written.
    """
    found = list(_shards(folder_of(source)))
    if len(found) > _MOST:
        raise InputError(f"{folder_of(source)}: has {len(found):,} files; at most {_MOST:,} fit.")
    try:
        for path in found:
            place = folder_of(target) / path.parent.name / path.name
            if missing and place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(_content(path))
    except OSError as error:
        raise InputError(f"{folder_of(target)}: cannot be written ({error.strerror}).") from None


def replace_with(source: Path, target: Path) -> None:
    """Make the finished shards of one result file those of another; none if it has none."""
    shutil.rmtree(folder_of(target), ignore_errors=True)
    carry(source, target)


def _shards(folder: Path) -> Iterator[Path]:
    if folder.is_symlink():
        raise InputError(f"{folder}: is a link, where finished shards should be.")
    for inner in sorted(folder.iterdir()) if folder.is_dir() else ():
        # What a killed run was about to remove, or had not finished writing, is not carried.
        if not KEY.fullmatch(inner.name):
            continue
        if inner.is_symlink() or not inner.is_dir():
            raise InputError(f"{inner}: is no folder of finished shards.")
        yield from (one for one in sorted(inner.iterdir()) if re.fullmatch(_NAME, one.name))


def _content(path: Path) -> bytes:
    """The bytes of a plain file; a link is not followed."""
    try:
        with os.fdopen(os.open(path, _PLAINLY), "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a plain file ({error.strerror}).") from None
    if len(content) > _LARGEST:
        raise InputError(f"{path}: has more than {_LARGEST:,} bytes.")
    return content
