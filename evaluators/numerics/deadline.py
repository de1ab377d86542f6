"""A budget of time after which work must stop."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Deadline:
    """A number of seconds on the monotonic clock, from now on.

    Where several pieces of work take turns, each has a deadline that is halted, runs during the
    work's own turn, and is charged with its share of what is done for several at once.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._limit, self._charged = seconds, 0.0
        self._since: float | None = time.perf_counter()

    @property
    def spent(self) -> float:
        """Seconds used so far."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._charged + running

    @property
    def left(self) -> float:
        """Seconds until it passes; negative afterwards."""
        return self._limit - self.spent

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left <= 0

    def halt(self) -> None:
        """Let no time pass until further notice."""
        self._charged, self._since = self.spent, None

    def charge(self, seconds: float) -> None:
        """Count seconds of common work."""
        self._charged += seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let time pass within the context; afterwards all is as it was before."""
        halted = self._since is None
        if halted:
            self._since = time.perf_counter()
        try:
            yield
        finally:
            if halted:
                self.halt()


@contextmanager
def shared(deadlines: list[Deadline]) -> Iterator[Deadline]:
    """Work for several that are halted, or for one: each is charged with an equal share.

    Yields:
        the deadline of that work.
    """
    if len(deadlines) == 1:
        with deadlines[0].running():
            yield deadlines[0]
        return
    work = Deadline(min(deadline.left for deadline in deadlines) * len(deadlines))
    try:
        yield work
    finally:
        for deadline in deadlines:
            deadline.charge(work.spent / len(deadlines))
