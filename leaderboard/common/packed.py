"""Files that may lie there packed with gzip, with or without saying so in their name."""

import gzip
import zlib
from pathlib import Path

from leaderboard.common.errors import InputError

_GZIP = b"\x1f\x8b"


def read_packed(path: Path, limit: int) -> bytes:
    """The content of a file, unpacked if it is packed; of `path`.gz where there is no `path`.

    Raises:
        InputError: it cannot be read, is a broken gzip file, or has more than `limit` bytes.
    """
    beside = path.with_name(f"{path.name}.gz")
    if not path.exists() and beside.exists():
        path = beside
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(limit + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is a broken gzip file: {error}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > limit:
        raise InputError(f"{path} has more than {limit // 2**20} MB, which are not read.")
    return content
