"""A deadline passes once, on the monotonic clock."""

import math

import pytest

from evaluators.deadline import Deadline


def test_a_deadline_passes_when_its_seconds_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("evaluators.deadline.time.perf_counter", lambda: now[0])
    end = Deadline(2.5)
    assert end.left == 2.5
    assert not end.passed
    now[0] = 102.5
    assert (end.left, end.passed) == (0.0, True)
    now[0] = 103.0
    assert (end.left, end.passed) == (-0.5, True)


def test_without_seconds_it_never_passes() -> None:
    assert Deadline().left == math.inf
    assert not Deadline().passed
