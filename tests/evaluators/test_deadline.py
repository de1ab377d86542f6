"""A deadline passes once: when its processor time is used up, or at the guard of the wall clock."""

import math
import time

import pytest

from evaluators.numerics.deadline import PATIENCE, Deadline, shared, wall_time


def clocks(
    monkeypatch: pytest.MonkeyPatch, own: list[float], wall: list[float] | None = None
) -> None:
    """Replaces both clocks; the wall's is the other's unless it is given, too."""
    monkeypatch.setattr(time, "thread_time", lambda: own[0])
    monkeypatch.setattr(time, "perf_counter", lambda: (wall or own)[0])


def test_a_deadline_passes_when_its_seconds_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    clocks(monkeypatch, now)
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
    clocks(monkeypatch, now)
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
    clocks(monkeypatch, now)
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
    clocks(monkeypatch, now)
    end = Deadline(3.0)
    with shared([end]):
        now[0] = 1.0
    now[0] = 2.0
    assert end.left == 1.0


def test_a_busy_machine_takes_nothing_off_a_budget_but_the_guard_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, wall = [0.0], [100.0]
    clocks(monkeypatch, own, wall)
    end = Deadline(2.0)
    own[0], wall[0] = 0.5, 103.0
    assert (end.spent, end.left, end.passed) == (0.5, 1.5, False)
    wall[0] = 100 + 2 * PATIENCE
    assert end.passed
    assert end.spent == 0.5


def test_the_guard_waits_while_a_deadline_is_halted(monkeypatch: pytest.MonkeyPatch) -> None:
    own, wall = [0.0], [0.0]
    clocks(monkeypatch, own, wall)
    ends = [Deadline(2.0), Deadline(2.0)]
    for end in ends:
        end.halt()
    wall[0] = 1000.0
    assert not ends[0].passed
    with shared(ends):
        own[0], wall[0] = 1.0, 1000 + 3 * PATIENCE
    assert [end.spent for end in ends] == [0.5, 0.5]
    assert not ends[0].passed
    with ends[0].running():
        wall[0] += PATIENCE
    assert [end.passed for end in ends] == [True, False]


def test_nothing_goes_on_after_the_time_that_ends_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, wall = [0.0], [50.0]
    clocks(monkeypatch, own, wall)
    end = Deadline(2.0, until=53.0)
    part = end.part(0.5)
    assert (part.left, part.until) == (1.0, 53.0)
    wall[0] = 52.5
    assert (end.left, part.left) == (0.5, 0.5)
    wall[0] = 53.0
    end.halt()
    assert end.passed
    assert part.passed


def test_another_device_is_timed_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    own, wall = [0.0], [0.0]
    clocks(monkeypatch, own, wall)
    end = Deadline(2.0, wall_time)
    wall[0] = 1.5
    assert (end.spent, end.left) == (1.5, 0.5)
