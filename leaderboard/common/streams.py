"""Standard input and output as they are met: closed, full, or of an encoding with few characters.

Whatever a command prints either arrives or ends it with one sentence; a character that the
encoding lacks is replaced, for what is printed is for people (JSON needs ASCII alone).
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from leaderboard.common.errors import InputError

_NAMES = {"stdout": "standard output", "stderr": "standard error"}


class StreamError(InputError):
    """Standard output or standard error cannot be written; the exit code is 1."""


def prepare_streams() -> None:
    """Make this process's standard streams what commands expect.

    Raises:
        StreamError: standard output or standard error is closed. Files would be opened in its
            place, and get what others print.
    """
    # What is opened takes the lowest free place: that of a stream that is closed.
    closed = [name for name in ("stdin", *_NAMES) if getattr(sys, name) is None]
    places = [os.open(os.devnull, os.O_RDWR) for _ in closed]
    for name in closed:
        if name in _NAMES:
            raise StreamError(f"{_NAMES[name]} is closed; to see nothing of it, use {os.devnull}.")
        sys.stdin = os.fdopen(places[0])
    for name in _NAMES:
        before = getattr(sys, name)
        if isinstance(before, io.TextIOWrapper):
            setattr(sys, name, _Checked(before, _NAMES[name]))


class _Checked(io.TextIOWrapper):
    """Text that ends in a sentence where it cannot be written, and replaces what it cannot say."""

    def __init__(self, before: io.TextIOWrapper, title: str) -> None:
        super().__init__(
            before.buffer,
            encoding=before.encoding,
            errors="replace",
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
        self._title = title
        self._before = before  # which would close the file once nobody knew it

    def write(self, text: str, /) -> int:
        """Write, or say why that cannot be done."""
        with self._told():
            return super().write(text)

    def flush(self) -> None:
        """Flush, or say why that cannot be done."""
        with self._told():
            super().flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StreamError(f"{self._title} cannot be written: {reason}.") from error


def visible(text: str) -> str:
    """Return a text on one line in which a terminal finds nothing to obey.

    Sentences quote what strangers wrote. What is not printed is written as Python escapes it: a
    control sequence, an end of a line that would begin one of its own, an override of directions.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(sentence: str) -> None:
    """Print a sentence on standard error; on standard output, where that cannot be written."""
    for stream in (sys.stderr, sys.stdout):
        if stream is None:
            continue
        try:
            print(visible(sentence), file=stream, flush=True)
        except (StreamError, OSError):
            silence(stream)
        else:
            return


def silence(stream: TextIO) -> None:
    """Send what a stream still holds nowhere, so that its end is no further error."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
