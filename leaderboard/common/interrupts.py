"""Ctrl-C while modules are imported: it waits for the end of the import.

Within one, Python can lose it: what a weak reference's callback raises is printed and forgotten,
and imports make and drop such references all the time.
"""

import signal
from types import FrameType

_IMPORTING = "<frozen importlib._bootstrap>"
_AGAIN = 0.05
"""Seconds until it is seen whether the import has ended; nobody notices them."""


def wait_for_imports() -> None:
    """From now on, let an interrupt of this process wait for the end of an import."""
    signal.signal(signal.SIGINT, _interrupt)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    inner = frame
    while hasattr(signal, "SIGALRM") and inner is not None:
        if inner.f_code.co_filename == _IMPORTING:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
            return
        inner = inner.f_back
    signal.default_int_handler(number, frame)
