import time
from collections.abc import Callable
from itertools import count

import pytest

Ticking = Callable[[float], None]


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    """Starts clocks that move by so many seconds whenever one is read, and only then."""

    def start(step: float) -> None:
        readings = count()
        for clock in ("thread_time", "perf_counter"):
            monkeypatch.setattr(time, clock, lambda: step * next(readings))

    return start
