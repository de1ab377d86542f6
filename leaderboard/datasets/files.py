"""Files of datasets and models: where they lie, whether they are the right ones, how to get them.

Checksums are of the unpacked content, so that a file may lie there packed or plain.
"""

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from leaderboard.common.errors import InputError

VARIABLE = "CERTBOARD_DATA"
SETTLED = 2.0
"""Seconds: the hash of a file that was changed later is not kept, for within the step of a file
system's clock, two seconds at most, a second change may look like the first."""
_SECONDS_OF_SILENCE = 30
_hashed: dict[tuple[int, ...], str] = {}
"""The hash of each state of a file."""


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset: its path in the dataset's folder and the SHA-256 of its content."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Download:
    """Files that come together: `urls` are mirrors, tried in turn, of one file or tar archive."""

    urls: tuple[str, ...]
    files: tuple[DataFile, ...]


def cache_folder() -> Path:
    """Where downloads are kept when `CERTBOARD_DATA` is not set."""
    import pooch

    return Path(pooch.os_cache("certboard"))


def folders(name: str) -> Iterator[Path]:
    """Where the files of `name` may lie: under `CERTBOARD_DATA`, then in the cache."""
    if chosen := os.environ.get(VARIABLE):
        yield Path(chosen) / name
    yield cache_folder() / name


def find(name: str, candidates: Sequence[str]) -> Path | None:
    """The first of `candidates` that lies in a folder of `name`; None where there is none."""
    places = (folder / candidate for folder in folders(name) for candidate in candidates)
    return next((place for place in places if place.exists()), None)


def read(path: Path) -> bytes:
    """The content of `path`, unpacked if it is a gzip file.

    Raises:
        InputError: the file cannot be read, or is a broken gzip file.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is a broken gzip file: {error}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def digest(content: bytes) -> str:
    """The SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file at `path` as it lies there, in hexadecimal.

    A process that asks again hashes it again only if the file was touched since.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            state = _state(file.fileno())
            if state in _hashed:
                return _hashed[state]
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if _state(file.fileno()) == state and time.time() - state[-1] / 1e9 > SETTLED:
                _hashed[state] = digest
            return digest
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def read_exactly(path: Path, sha256: str) -> bytes:
    """The bytes of the file at `path` as it lies there, if their SHA-256 is this one.

    What is hashed is what is given back: of a file that is hashed and read, at two times, somebody
    may see to it that both are right.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if digest(content) != sha256:
        raise InputError(f"{path}: the file was changed while it was being evaluated; run again.")
    return content


def _state(descriptor: int) -> tuple[int, ...]:
    """What no writing leaves as it was: nobody can set the time of the last change, the last."""
    stat = os.fstat(descriptor)
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def read_verified(path: Path, sha256: str) -> bytes:
    """The unpacked content of `path`.

    Raises:
        InputError: it cannot be read, or its SHA-256 is another.
    """
    content = read(path)
    if (found := digest(content)) != sha256:
        raise InputError(
            f"{path} is not the official file: the SHA-256 of its content is {found}, not {sha256}."
        )
    return content


def present(folder: Path, file: DataFile) -> bool:
    """Whether the right content already lies in `folder`, packed or plain."""
    for path in (folder / file.path, folder / f"{file.path}.gz"):
        with suppress(InputError):
            if path.is_file() and digest(read(path)) == file.sha256:
                return True
    return False


def write(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename it: nobody ever sees half a file.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as partial:
            partial.write(content)
        # A temporary file is its owner's alone; a cache may be shared.
        Path(partial.name).chmod(0o644)
        Path(partial.name).replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def download(source: Download, folder: Path) -> None:
    """Get the files of `source` into `folder`, from the first mirror that has the right ones.

    Raises:
        InputError: no mirror has; the message tells what went wrong at each.
    """
    failures: list[str] = []
    for url in source.urls:
        try:
            contents = _unpack(_get(url), source.files)
        except InputError as error:
            failures.append(f"{url} ({error})")
            continue
        for file, content in zip(source.files, contents, strict=True):
            write(folder / file.path, content)
        return
    names = ", ".join(file.path for file in source.files)
    raise InputError(f"{names} could not be downloaded from {'; nor from '.join(failures)}.")


def _get(url: str) -> bytes:
    import pooch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download"
        try:
            pooch.HTTPDownloader(timeout=_SECONDS_OF_SILENCE)(url, str(path), None)
        except (OSError, ValueError) as error:  # requests raises kinds of OSError
            raise InputError(_reason(error)) from None
        return read(path)


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    return f"no answer: {type(error).__name__}"


def _unpack(content: bytes, files: tuple[DataFile, ...]) -> list[bytes]:
    """The verified contents of `files` in `content`, a tar archive or the only file itself."""
    if len(files) == 1 and digest(content) == files[0].sha256:
        return [content]
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = {Path(member.name).name: member for member in archive if member.isfile()}
            streams = [archive.extractfile(members[Path(file.path).name]) for file in files]
            contents = [stream.read() if stream else b"" for stream in streams]
    except (tarfile.TarError, KeyError, EOFError):
        raise InputError("wrong content") from None
    for file, unpacked in zip(files, contents, strict=True):
        if digest(unpacked) != file.sha256:
            raise InputError(f"wrong content of {file.path}")
    return contents
