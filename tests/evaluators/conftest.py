import time
from collections.abc import Callable
from itertools import count

import pytest

Ticking = Callable[[float], None]


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    """Starts a clock that moves by so many seconds whenever it is read, and only then."""

    def start(step: float) -> None:
        readings = count()
        monkeypatch.setattr(time, "perf_counter", lambda: step * next(readings))

    return start
