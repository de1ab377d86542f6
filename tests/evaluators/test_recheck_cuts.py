"""Cuts by hand: what the recheck derives from them, and forgeries, each wrong in one way only."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluators.recheck.checker import Checker
from evaluators.recheck.claim import LONGEST_CHAIN
from tests.fixtures.checked import recheck
from tests.fixtures.cuts import (
    CUT_FORGERIES,
    CUTTING,
    FALSE,
    cuts_of,
    cutting,
    resting,
)
from tests.fixtures.effort import only
from tests.fixtures.forgeries import LEAF, THIRD, bent, certificate, loosened

LIES = (
    "a target is negative, where no margin is",
    "a gamma is negative",
    "a cut of another goal",
    "a cut of a part of the leaf",
)
BOTH = pytest.mark.parametrize("exact", [False, True], ids=["float64", "exact"])


def test_a_proof_that_needs_its_cut_is_accepted() -> None:
    found = recheck(CUTTING, cutting(), exact=True)
    assert found.accepted, found.reason
    # The margin is 1/4, but the leaf only speaks of points where it is at most the target.
    assert found.margin == 0.125
    assert recheck(CUTTING, loosened(cutting()), exact=False).accepted
    assert not recheck(CUTTING, certificate([(1, [], 0.0), THIRD]), exact=True).accepted


@BOTH
@pytest.mark.parametrize("target", [2.0**-40, 0.125, 0.2, 0.2499, 0.25, 0.3, 1.0, 1e99])
def test_a_claimed_margin_is_never_above_a_target(target: float, exact: bool) -> None:
    """A larger one makes the bounds weaker: z >= 1/4 - target, a proof while that is >= 0."""
    made = loosened(cutting(target))
    found = recheck(CUTTING, made, exact=exact)
    assert found.accepted == (target <= (0.25 if exact else 0.2499)), found.reason
    if found.margin is not None:
        assert 0 < found.margin <= min(target, 0.25)


def test_targets_of_cuts_that_nothing_rests_on_limit_the_margin_too() -> None:
    made = cutting()
    idle = replace(made, leaves=certificate([(1, [], 1.0), THIRD]).leaves)
    found = recheck(CUTTING, idle, exact=True)
    assert found.accepted
    assert found.margin == 0.125


@BOTH
@pytest.mark.parametrize("name", CUT_FORGERIES)
def test_cuts_wrong_in_one_way_are_refused_with_the_reason(name: str, exact: bool) -> None:
    (network, forged), reason = CUT_FORGERIES[name]
    found = recheck(network, forged if exact else loosened(forged), exact=exact)
    assert not found.accepted
    assert reason in found.reason


@BOTH
@pytest.mark.parametrize("target", [1e-9, 0.1, 0.25, 0.5, 1e9])
@pytest.mark.parametrize("gamma", only([0.0, 1e-30, 0.5, 1.0, 4.0, 1e30], [0.0, 1.0, 1e30]))
def test_no_target_and_no_gamma_prove_a_false_claim(
    target: float, gamma: float, exact: bool
) -> None:
    """Whichever sides are bounded."""
    for clips in ([(0, 1)], [(0, -1)], [(0, 1), (0, -1)], [(0, -1), (0, -1)]):
        cut = cuts_of([(1, [], 0.0)], [target], [[(*clip, gamma) for clip in clips]])
        found = recheck(FALSE, loosened(resting(cut)), exact=exact)
        assert found.reason == "leaf 0 is not proved positive."


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_a_false_claim_would_be_a_proof(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused for its one lie alone: the numbers that follow from it would do."""
    monkeypatch.setattr("evaluators.recheck.checker.check_leaves", lambda _made: None)
    (network, forged), _ = CUT_FORGERIES[name]
    assert network is FALSE
    assert recheck(network, forged, exact=True).accepted


def chain(order: list[int], *, cut: list[int]) -> Any:
    """Two cuts, the second of which is only of use with the first one's bounds."""
    rows: list[LEAF] = [(1, [], 0.0), (1, [], 0.0)]
    clips: list[list[tuple[int, int, float]]] = [[(0, 1, 1.0)], []]
    made = cuts_of(rows, [0.125, 0.125], [clips[i] for i in order])
    return replace(made, cut=np.array(cut))


def test_a_cut_starts_from_the_bounds_of_the_one_that_it_rests_on() -> None:
    for leaf, cuts, accepted in (
        (1, chain([0, 1], cut=[-1, 0]), True),
        (0, chain([0, 1], cut=[-1, 0]), True),
        (1, chain([0, 1], cut=[-1, -1]), False),
        (0, chain([1, 0], cut=[-1, -1]), False),
        (1, chain([1, 0], cut=[-1, 0]), True),
        (0, chain([1, 0], cut=[-1, 0]), False),
    ):
        made = resting(cuts)
        made = replace(made, leaves=replace(made.leaves, cut=np.array([leaf, -1])))
        assert recheck(CUTTING, made, exact=True).accepted == accepted, (leaf, cuts.cut)
    later = resting(chain([1, 0], cut=[1, -1]))
    assert "row 0 rests on a cut that does not precede it" in recheck(CUTTING, later).reason


def test_a_chain_of_cuts_that_would_take_hours_is_refused() -> None:
    """Each waits for the one before, and starts from what all of them say."""
    count = LONGEST_CHAIN + 1
    cuts = cuts_of([(1, [], 0.0)] * count, [0.125] * count, [[]] * count)
    made = resting(replace(cuts, cut=np.arange(-1, count - 1)))
    assert "too many of its cuts rest on each other" in recheck(CUTTING, made).reason


def test_a_second_bound_that_is_worse_changes_nothing() -> None:
    cut = cuts_of([(1, [], 0.0)], [0.125], [[(0, 1, 1.0), (0, 1, 0.0)]])
    assert recheck(CUTTING, resting(cut), exact=True).accepted


@pytest.mark.parametrize("at_once", [1, 2**22])
def test_each_goal_needs_a_cut_of_its_own(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third class alike the second: both leaves need z >= 0."""
    monkeypatch.setattr("evaluators.recheck.checker.AT_ONCE", at_once)
    network = bent(1, -1, 0.25, other=0)
    leaves: list[LEAF] = [(1, [], 0.0), (2, [], 0.0)]
    rows: list[LEAF] = [(1, [], 0.0), (2, [], 0.0)]
    clips = [[(0, 1, 1.0)], [(0, 1, 1.0)]]
    for own, accepted in (([0, 1], True), ([1, 0], False), ([0, 0], False), ([0, -1], False)):
        made = resting(cuts_of(rows, [0.125, 0.0625], clips), leaves)
        made = replace(made, leaves=replace(made.leaves, cut=np.array(own)))
        found = recheck(network, made, exact=True)
        assert found.accepted == accepted, found.reason
        if accepted:
            assert found.margin == 0.0625


def test_memory_is_bounded_whatever_the_number_of_leaves_and_cuts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lines of a part of the rows at a time, also where each row rests on its own cut."""
    held, walk = list[int](), Checker._walk
    monkeypatch.setattr("evaluators.recheck.checker.AT_ONCE", 12)

    def watch(self: Checker, position: int, rows: Any, lines: Any) -> Any:
        held.append(max(rows.size, *(line.size for line in lines)))
        return walk(self, position, rows, lines)

    monkeypatch.setattr(Checker, "_walk", watch)
    count = 40
    rows: list[LEAF] = [(1, [], 0.0)] * count
    made = resting(cuts_of(rows, [0.125] * count, [[(0, 1, 1.0)]] * count))
    assert recheck(CUTTING, made, exact=False).accepted is False
    assert recheck(CUTTING, loosened(made), exact=False).accepted
    assert sum(held) >= 2 * count
    assert max(held) <= 12
