"""A budget of time after which work must stop, and the clocks that count it.

On the CPU time is what the thread that works has had of a processor: a budget is then worth the
same on a busy machine as on a quiet one, and so are the seconds that a row tells. PyTorch's own
threads are not counted besides: the thread that calls them works as long as they do. Where another
device computes, time is the wall clock's, as it is for the guard against waiting without end.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

Clock = Callable[[], float]

PATIENCE = 10.0
"""Work is stopped when it has lasted so many times its budget by the wall clock."""


def processor_time() -> float:
    """Read the seconds of processor time that this thread has used."""
    return time.thread_time()


def wall_time() -> float:
    """Read the seconds of the wall clock."""
    return time.perf_counter()


class _Spent(NamedTuple):
    """Seconds used: by the deadline's own clock, and by the wall clock."""

    own: float
    wall: float


class Deadline:
    """A number of seconds, from now on; without a limit, a stopwatch.

    Where several pieces of work take turns, each has a deadline that is halted, runs during the
    work's own turn, and is charged with its share of what is done for several at once.

    Args:
        seconds: the budget.
        clock: counts it, in the thread that works.
        until: a time of the wall clock at which it is over whatever is left of the budget.
    """

    def __init__(
        self, seconds: float = math.inf, clock: Clock = processor_time, until: float = math.inf
    ) -> None:
        self.clock, self.until = clock, until
        self._limit, self._charged = seconds, _Spent(0.0, 0.0)
        self._since: _Spent | None = self._now()

    def _now(self) -> _Spent:
        return _Spent(self.clock(), wall_time())

    def _used(self) -> _Spent:
        if self._since is None:
            return self._charged
        now, since, charged = self._now(), self._since, self._charged
        return _Spent(charged.own + now.own - since.own, charged.wall + now.wall - since.wall)

    @property
    def spent(self) -> float:
        """Seconds used so far."""
        return self._used().own

    @property
    def left(self) -> float:
        """Seconds until it passes; negative afterwards."""
        used = self._used()
        left = min(self._limit - used.own, PATIENCE * self._limit - used.wall)
        return left if self.until == math.inf else min(left, self.until - wall_time())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left <= 0

    def part(self, share: float) -> "Deadline":
        """A share of what is left, from now on."""
        return Deadline(self.left * share, self.clock, self.until)

    def halt(self) -> None:
        """Let no time pass until further notice."""
        self._charged, self._since = self._used(), None

    def charge(self, seconds: float, wall: float | None = None) -> None:
        """Count seconds of common work, which took as long by the wall clock if that is None."""
        own, before = self._charged
        self._charged = _Spent(own + seconds, before + (seconds if wall is None else wall))

    def charge_to(self, deadlines: Sequence["Deadline"]) -> None:
        """Charge each of them with an equal share of the seconds used so far."""
        used, count = self._used(), len(deadlines)
        for deadline in deadlines:
            deadline.charge(used.own / count, used.wall / count)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let time pass within the context; afterwards all is as it was before."""
        halted = self._since is None
        if halted:
            self._since = self._now()
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
    first = deadlines[0]
    if len(deadlines) == 1:
        with first.running():
            yield first
        return
    budget = min(deadline.left for deadline in deadlines) * len(deadlines)
    work = Deadline(budget, first.clock, min(deadline.until for deadline in deadlines))
    try:
        yield work
    finally:
        work.charge_to(deadlines)
