"""A moment at which work must stop."""

import math
import time


class Deadline:
    """A moment on the monotonic clock, a number of seconds from now."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds until then; negative afterwards."""
        return self._end - time.perf_counter()

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left <= 0
