"""Keep freed memory in the process: bounds and samples use large buffers again and again.

glibc gives large blocks back to the system as soon as they are freed and pays page faults to get
them again, which costs bound propagation more than its arithmetic (see PERFORMANCE.md).
"""

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from evaluators.numerics.memory import Budget as Budget
from evaluators.numerics.memory import chosen as chosen
from evaluators.numerics.memory import divided as divided
from evaluators.numerics.memory import memory as memory
from evaluators.numerics.memory import use as use
from leaderboard.common.errors import InputError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LIMIT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Ask the allocator to keep what is freed; whether it could be asked."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LIMIT) and mallopt(_TRIM_THRESHOLD, _LIMIT))


_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_LEAST = 10**8
"""Bytes below which a process can do nothing at all."""


@contextmanager
def within(text: str | None) -> Iterator[None]:
    """Work in this context within the memory that was typed, if any was.

    Raises:
        InputError: it is no number of bytes, or too little for anything.
    """
    with memory(None if text is None else parse_memory(text)):
        yield


def parse_memory(text: str) -> int:
    """Read a number of bytes with or without a unit, such as 2GB or 1.5 GiB.

    Raises:
        InputError: it is none, or too little for anything.
    """
    told = re.fullmatch(r"([0-9]{1,15}(?:[.][0-9]{1,9})?) ?([kmg]i?b)?", text.lower(), re.ASCII)
    total = int(float(told[1]) * _UNITS[told[2] or ""]) if told else 0
    if total < _LEAST:
        raise InputError(f"--memory is '{text}'; it must be at least 100MB, such as 2GB or 1.5GiB.")
    return total


@contextmanager
def uncollected() -> Iterator[None]:
    """Import within this context: what is imported is no garbage, and nothing looks for any in it.

    That takes a third of the time of importing PyTorch and what is beside it. What is there at the
    end is set aside for good, else the next collection would look through all of it at once.
    """
    enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        # Only after an import: each time, garbage that waits to be collected is set aside, too.
        if len(sys.modules) > known:
            gc.freeze()
        if enabled:
            gc.enable()
