"""Keep freed memory in the process: bounds and samples use large buffers again and again.

glibc gives large blocks back to the system as soon as they are freed and pays page faults to get
them again, which costs bound propagation more than its arithmetic (see PERFORMANCE.md).
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def uncollected() -> Iterator[None]:
    """Import within this context: what is imported is no garbage, and nothing looks for any in it.

    That takes a quarter of the time of importing PyTorch and what is beside it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
