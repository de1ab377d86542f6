"""A deadline passes once, on the monotonic clock."""

import math

import pytest

from evaluators.numerics.deadline import Deadline, shared


def test_a_deadline_passes_when_its_seconds_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("evaluators.numerics.deadline.time.perf_counter", lambda: now[0])
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


def test_a_halted_deadline_counts_its_turns_and_what_it_is_charged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("evaluators.numerics.deadline.time.perf_counter", lambda: now[0])
    end = Deadline(2.0)
    now[0] = 100.5
    end.halt()
    now[0] = 150.0
    assert (end.spent, end.left) == (0.5, 1.5)
    with end.running():
        now[0] = 150.25
        assert end.spent == 0.75
        with end.running():
            now[0] = 150.5
        assert end.spent == 1.0
    now[0] = 200.0
    assert end.spent == 1.0
    end.charge(0.5)
    assert (end.spent, end.passed) == (1.5, False)
    end.halt()
    assert end.spent == 1.5
    end.charge(0.5)
    assert end.passed


def test_common_work_is_charged_in_equal_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("evaluators.numerics.deadline.time.perf_counter", lambda: now[0])
    ends = [Deadline(3.0), Deadline(1.0)]
    for end in ends:
        end.halt()
    with shared(ends) as work:
        assert work.left == 2.0
        now[0] = 1.0
    assert [end.spent for end in ends] == [0.5, 0.5]
    with shared(ends[:1]) as work:
        assert work is ends[0]
        now[0] = 2.0
    now[0] = 9.0
    assert [end.spent for end in ends] == [1.5, 0.5]


def test_a_deadline_that_runs_goes_on_running_after_shared_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("evaluators.numerics.deadline.time.perf_counter", lambda: now[0])
    end = Deadline(3.0)
    with shared([end]):
        now[0] = 1.0
    now[0] = 2.0
    assert end.left == 1.0
