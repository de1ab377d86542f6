"""Searches of several examples in common rounds: each finds what it finds alone, in its time.

A few dozen networks are tried here, thousands by

    CERTBOARD_NETWORKS=5000 pytest -n0 tests/evaluators/test_rounds.py -k rightly
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import pytest
import torch
from torch import Tensor

from evaluators.branching import branching
from evaluators.branching import rounds as rounds_module
from evaluators.branching.batch import Batch, Joined
from evaluators.branching.branching import losses, splits
from evaluators.branching.rounds import advance, bound, finish, start, take_turns
from evaluators.branching.search import Search
from evaluators.deterministic import branch_and_bound
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled.ascent import Rates
from tests.evaluators.test_branch_and_bound import NETWORKS, truth, wide_network
from tests.fixtures.checked import recheck
from tests.fixtures.searching import no_witness
from tests.fixtures.tiny import FAMILIES, ask, centers, chain
from tests.fixtures.unrolled import PIECEWISE, around

RATES = Rates(3, slope=0.2)
NAMES = [name for name in PIECEWISE if name not in ("linear", "dead")]
close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
"""Up to the order of float32 sums."""


def questions(name: str, norm: Norm, count: int = 5, seed: int = 0) -> Problem:
    network = PIECEWISE[name](seed)
    x = torch.rand(count, 2, generator=torch.Generator().manual_seed(7 + seed)) * 2 - 1
    region = Ball(norm, Fraction(1, 2), -9.0, 9.0)
    return replace(ask(network, x, region), evidence=True)


def searches_of(problem: Problem, seconds: float = 20.0) -> list[Search]:
    found = []
    for row in range(len(problem)):
        search = Search.of(around(problem.select([row])), Rates(3), Deadline(seconds))
        search.deadline.halt()
        found.append(search)
    return found


def batches(problem: Problem, rounds: int) -> list[Batch]:
    """Of searches some rounds on: with splits, multipliers and cuts."""
    found = []
    for search in searches_of(problem):
        start([search])
        for _ in range(rounds):
            if not search.over:
                advance([search], RATES, no_witness)
        if len(search.open) and search.system.units:
            found.append(search.batch(search.open))
    return found


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", NAMES)
def test_passes_over_joined_rows_are_those_over_each_examples_own(
    name: str, norm: Norm, rounds: int
) -> None:
    parts = batches(questions(name, norm), rounds)
    if len(parts) < 2:
        return
    joined = Joined.of(parts)
    together = losses(joined.batch)
    gaps, kinks = joined.own_units(together.gap), joined.own_units(together.kink)
    work = joined.batch.columns.clone()
    bounds, _ = joined.batch.system.backward(work, joined.batch.constant, joined.batch.choice())
    values = joined.own_rows(together.values)
    for its, count in zip(joined.batch.system.by_member(bounds), joined.counts, strict=True):
        # What fills up an example's rows is its last one again.
        assert torch.equal(its[count:], its[count - 1].expand(len(its) - count))
    for part, its, gap, kink, value in zip(
        parts, joined.own_rows(bounds), gaps, kinks, values, strict=True
    ):
        alone, columns = losses(part), part.columns.clone()
        expected, _ = part.system.backward(columns, part.constant, part.choice())
        close(its, expected)
        close(kink, alone.kink)
        close(gap, alone.gap)
        inputs = part.system.inputs
        close(value[:, :inputs], alone.values[:, :inputs])


def test_joining_is_tried_with_splits_cuts_and_layers_of_different_sizes() -> None:
    """What the test before rests on."""
    found = [part for name in NAMES for part in batches(questions(name, Norm.LINF), 2)]
    assert sum(part.within is not None for part in found) > 3
    assert sum(bool(part.signs.any()) for part in found) > 6
    assert len({part.system.sizes for part in found}) > 6


def test_a_unit_is_split_whatever_shares_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as alone, where no two are equally good."""
    network = chain(2, 12, 12, 3, function=LeakyReLU(), seed=0)
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(7)) * 2 - 1
    problem = ask(network, x, Ball(Norm.LINF, Fraction(1, 2), -9.0, 9.0))
    parts = batches(problem, 1)
    parts = [part for part in parts if bool((part.choice().free > 0).any(1).all())]
    assert len(parts) > 2
    joined = Joined.of(parts)
    units, points = splits(joined.batch)
    found = zip(parts, joined.own_places(units), joined.own_rows(points), strict=True)
    for part, its, near in found:
        assert near.shape == (len(part), part.system.inputs)
        assert torch.equal(its, splits(part)[0])
    # So it is where a pass over all children would be too large.
    monkeypatch.setattr(branching, "COEFFICIENTS", 1)
    assert torch.equal(splits(joined.batch)[0], units)


def test_the_only_unit_left_is_split_not_a_place_without_one() -> None:
    parts = batches(questions("relu 2-4-4-3", Norm.LINF), 0)
    last = []
    for part in parts:
        signs = torch.ones_like(part.signs)
        signs[:, -1] = 0
        last.append(replace(part, signs=signs, within=None))
    assert len(last) > 2
    joined = Joined.of(last)
    units, _ = splits(joined.batch)
    for part, its in zip(last, joined.own_places(units), strict=True):
        assert its.tolist() == [part.system.units - 1] * len(part)


@pytest.mark.parametrize("name", NAMES)
def test_examples_decided_together_are_decided_rightly(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_and_bound, "LOW_DIMENSION", 0)
    for seed in range(max(1, NETWORKS // 40)):
        problem = replace(questions(name, Norm.LINF, 6, seed), seconds=20.0)
        for row, verdict in enumerate(BranchAndBound(restarts=0)(problem)):
            least = truth(problem.select([row]))
            if abs(least) > Fraction(1, 1000):
                assert verdict.status is not Status.UNKNOWN
            assert (verdict.status is Status.CERTIFIED) <= (least > 0)
            assert (verdict.status is Status.FALSIFIED) <= (least <= 0)
            if verdict.certificate is not None:
                assert isinstance(problem.network, Network)
                network = without_max_pools(problem.network)
                assert recheck(network, verdict.certificate, exact=True).accepted


def test_several_examples_do_share_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing here says anything."""
    shared, of = [], Joined.of

    def watch(parts: Sequence[Batch]) -> Joined:
        shared.append(len(parts))
        return of(parts)

    monkeypatch.setattr(branch_and_bound, "LOW_DIMENSION", 0)
    monkeypatch.setattr(Joined, "of", watch)
    BranchAndBound(restarts=0)(questions("relu 2-4-4-3", Norm.LINF, 12))
    assert max(shared) > 3
    assert max(shared) <= rounds_module.TOGETHER


def test_every_search_is_given_back_once_large_or_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "TOGETHER", 3)
    monkeypatch.setattr(rounds_module, "LARGE", 2)
    problem = questions("relu 2-4-4-3", Norm.LINF, 7)
    for smallest in (0, 2**23):
        monkeypatch.setattr("evaluators.branching.search.SMALL", smallest)
        given = searches_of(problem)
        done = list(take_turns(iter(given), RATES, no_witness))
        assert sorted(map(id, done)) == sorted(map(id, given))
        assert all(search.over for search in done)


def test_no_more_searches_are_made_than_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds its matrices."""
    monkeypatch.setattr(rounds_module, "TOGETHER", 2)
    made, done = 0, 0

    def making() -> Iterator[Search]:
        nonlocal made
        for search in searches_of(questions("relu 2-4-4-3", Norm.LINF, 8)):
            made += 1
            assert made - done <= 3
            yield search

    for _ in take_turns(making(), RATES, no_witness):
        done += 1
    assert done == 8


@pytest.mark.parametrize("name", ["relu 2-4-4-3", "leaky 2-4-3-3"])
def test_a_round_that_is_broken_off_loses_no_domain(name: str) -> None:
    """What was taken counts as open until it is brought back."""
    asked = 0
    for row in range(5):
        (search,) = searches_of(questions(name, Norm.LINF).select([row]))
        start([search])
        search._roots[:] = -torch.inf
        search._closed[:] = 1.0
        open_ = set(search.open.goals.tolist())
        before = search.lower_bounds()
        search.take()
        after = search.lower_bounds()
        assert torch.equal(before, after)
        assert {goal for goal, bound in enumerate(after.tolist()) if bound <= 0} == open_
        asked += search.away is not None
    assert asked


def test_each_example_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard ones among easy ones: nobody's budget is used up by another."""
    monkeypatch.setattr(rounds_module, "LARGE", 10**9)
    hard = wide_network()
    problem = replace(hard.select([0, 0, 0]), seconds=1.5)
    started = time.perf_counter()
    verdicts = BranchAndBound()(problem)
    spent = time.perf_counter() - started
    assert all("timeout" in verdict.note for verdict in verdicts)
    assert all((verdict.seconds or 0.0) > 1.4 for verdict in verdicts)
    assert sum(verdict.seconds or 0.0 for verdict in verdicts) < 1.05 * spent


def test_what_a_witness_ends_is_no_round_more(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = questions("relu 2-4-4-3", Norm.LINF, 6)
    given = searches_of(problem)
    point = torch.zeros(2)

    def attack(asked: Sequence[Search], points: Sequence[Tensor]) -> list[Tensor | None]:
        assert all(its.shape[1:] == (2,) for its in points)
        return [point if search is given[0] else None for search in asked]

    start(given)
    running = [search for search in given if not search.over]
    assert given[0] in running
    left, visited = len(given[0].open), given[0].visited
    advance(running, RATES, attack)
    assert given[0].visited == visited
    assert given[0].witness is point
    assert given[0].over
    assert len(given[0].open) <= left
    assert all(search.witness is None for search in given[1:])


def test_nothing_to_bound_is_nothing_done() -> None:
    assert bound([], RATES) == []
    assert list(take_turns(iter([]), RATES, no_witness)) == []


def test_a_search_alone_needs_no_halted_deadline() -> None:
    problem = questions("relu 2-4-4-3", Norm.LINF, 1)
    search = Search.of(around(problem), Rates(3), Deadline(20.0))
    finish(search, RATES, no_witness)
    assert search.over


def test_the_networks_of_the_families_have_the_same_answers_in_common_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(branch_and_bound, "LOW_DIMENSION", 0)
    for seed in range(3):
        network = FAMILIES["residual"](seed)
        problem = ask(network, centers(network, seed, 6), Ball(Norm.LINF, Fraction(1, 4)))
        for row, verdict in enumerate(BranchAndBound()(problem)):
            least = truth(problem.select([row]))
            assert (verdict.status is Status.CERTIFIED) <= (least > 0)
            assert (verdict.status is Status.FALSIFIED) <= (least <= 0)
