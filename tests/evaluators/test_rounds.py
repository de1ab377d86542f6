"""Searches of several examples in common rounds: each finds what it finds alone, in its time.

A few dozen networks are tried here, thousands by

    CERTBOARD_NETWORKS=5000 pytest -n0 tests/evaluators/test_rounds.py -k rightly
"""

import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from evaluators.branching.babsr import babsr
from evaluators.branching.batch import Batch, Joined
from evaluators.branching.fsb import fsb
from evaluators.branching.search import TURNS, advance, bound, finish, start, take_turns
from evaluators.branching.state import Search, State
from evaluators.branching.tuning import Tuning
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
from evaluators.unrolled.system import System
from tests.evaluators.conftest import Ticking
from tests.evaluators.test_branch_and_bound import NETWORKS, truth, wide_network
from tests.fixtures.checked import recheck
from tests.fixtures.effort import fewer, only
from tests.fixtures.searching import ByNeurons, no_witness
from tests.fixtures.tiny import FAMILIES, ask, centers, chain
from tests.fixtures.unrolled import PIECEWISE, TELLING, around

TUNING = Tuning(root=Rates(3), child=Rates(3, slope=0.2))
NARROW = "relu 18-6-5-4-3"
"""Its first matrix has far fewer outputs than inputs."""
JOINED = PIECEWISE | {NARROW: lambda seed: chain(18, 6, 5, 4, 3, function=LeakyReLU(), seed=seed)}
NAMES = [name for name in PIECEWISE if name not in ("linear", "dead")]
close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
"""Up to the order of float32 sums."""


def questions(name: str, norm: Norm, count: int = 5, seed: int = 0) -> Problem:
    network = JOINED[name](seed)
    x = (
        torch.rand(count, *network.input_shape, generator=torch.Generator().manual_seed(7 + seed))
        * 2
        - 1
    )
    region = Ball(norm, Fraction(1, 2), -9.0, 9.0)
    return replace(ask(network, x, region), evidence=True)


def searches_of(problem: Problem, tuning: Tuning = TUNING) -> list[Search]:
    found = []
    for row in range(len(problem)):
        search = Search(around(problem.select([row])), Deadline(20.0), tuning)
        search.deadline.halt()
        found.append(search)
    return found


def batches(problem: Problem, rounds: int) -> list[Batch]:
    """Of searches some rounds on: with splits, multipliers and cuts."""
    found = []
    for search in searches_of(problem):
        (state,) = start([search])
        for _ in range(rounds):
            if not state.over:
                (state,) = advance([state], no_witness)
        if len(state.open) and search.system.units:
            found.append(search.batch(state.open, state.rounding))
    return found


def walked(batch: Batch) -> Tensor:
    """The bounds of a batch's rows, without an ascent."""
    return batch.system.backward(batch.columns, batch.constant, batch.choice()).bounds


def split_of(batch: Batch, at_once: int = 2**21) -> Tensor:
    """The neuron that FSB splits in each row, by passes of so many coefficients."""
    least = batch.minimum()
    bounds = partial(batch.child_bounds, least.choice, at_once=at_once)
    return fsb(babsr(least), least.choice.free > 0, bounds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "rounds"), [(Norm.LINF, 0), (Norm.LINF, 2), (Norm.L2, 2), (Norm.L1, 2)]
)
@pytest.mark.parametrize("name", [*NAMES, NARROW])
def test_passes_over_joined_rows_are_those_over_each_examples_own(
    name: str, norm: Norm, rounds: int
) -> None:
    parts = batches(questions(name, norm), rounds)
    if len(parts) < 2:
        return
    joined = Joined.of(parts)
    together = joined.batch.minimum()
    gaps, intercepts = (joined.own_units(score) for score in babsr(together))
    bounds = walked(joined.batch)
    points = joined.own_rows(together.x)
    for its, count in zip(joined.batch.system.by_member(bounds), joined.counts, strict=True):
        # What fills up an example's rows is its last one again.
        assert torch.equal(its[count:], its[count - 1].expand(len(its) - count))
    for part, its, gap, intercept, point in zip(
        parts, joined.own_rows(bounds), gaps, intercepts, points, strict=True
    ):
        alone = part.minimum()
        close(its, walked(part))
        close(gap, babsr(alone)[0])
        close(intercept, babsr(alone)[1])
        close(point, alone.x)


def test_examples_with_first_matrices_of_different_parts_share_a_pass() -> None:
    problem = questions(NARROW, Norm.LINF, 6)
    parts = batches(replace(problem, region=Ball(Norm.LINF, Fraction(1, 9), -9.0, 9.0)), 0)
    assert len({part.system.outputs for part in parts}) > 1
    joined = Joined.of(parts).batch
    bounds = walked(joined)
    points = joined.system.by_member(joined.minimum().x)
    for part, its, point in zip(parts, joined.system.by_member(bounds), points, strict=True):
        close(its[: len(part)], walked(part))
        close(point[: len(part)], part.minimum().x)


@pytest.mark.slow
def test_joining_is_tried_with_splits_cuts_and_layers_of_different_sizes() -> None:
    """What the test before rests on."""
    found = [part for name in NAMES for part in batches(questions(name, Norm.LINF), 2)]
    assert sum(part.within is not None for part in found) > 3
    assert sum(bool(part.signs.any()) for part in found) > 6
    assert len({part.system.sizes for part in found}) > 6


def test_a_unit_is_split_whatever_shares_the_batch() -> None:
    """The same as alone, where no two are equally good."""
    network = chain(2, 12, 12, 3, function=LeakyReLU(), seed=0)
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(7)) * 2 - 1
    problem = ask(network, x, Ball(Norm.LINF, Fraction(1, 2), -9.0, 9.0))
    parts = batches(problem, 1)
    parts = [part for part in parts if bool((part.choice().free > 0).any(1).all())]
    assert len(parts) > 2
    joined = Joined.of(parts)
    units = split_of(joined.batch)
    for part, its in zip(parts, joined.own_places(units), strict=True):
        assert torch.equal(its, split_of(part))
    # So it is where a pass over all children would be too large.
    assert torch.equal(split_of(joined.batch, at_once=1), units)


def test_the_only_unit_left_is_split_not_a_place_without_one() -> None:
    parts = batches(questions("relu 2-4-4-3", Norm.LINF), 0)
    last = []
    for part in parts:
        signs = torch.ones_like(part.signs)
        signs[:, -1] = 0
        last.append(replace(part, signs=signs, within=None))
    assert len(last) > 2
    joined = Joined.of(last)
    units = split_of(joined.batch)
    for part, its in zip(last, joined.own_places(units), strict=True):
        assert its.tolist() == [part.system.units - 1] * len(part)


@pytest.mark.parametrize("name", only(NAMES, TELLING))
def test_examples_decided_together_are_decided_rightly(name: str) -> None:
    for seed in range(max(1, NETWORKS // 40)):
        problem = replace(questions(name, Norm.LINF, 6, seed), seconds=20.0)
        for row, verdict in enumerate(ByNeurons(restarts=0)(problem)):
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

    monkeypatch.setattr(Joined, "of", watch)
    ByNeurons(restarts=0)(questions("relu 2-4-4-3", Norm.LINF, 12))
    assert max(shared) > 3
    assert max(shared) <= TURNS


@pytest.mark.slow
def test_every_search_is_given_back_once_large_or_small() -> None:
    problem = questions("relu 2-4-4-3", Norm.LINF, 7)
    for largest in (0, 2**23):
        given = searches_of(problem, replace(TUNING, turns_coefficients=largest, turns_domains=2))
        done = list(take_turns(iter(given), no_witness, turns=3))
        assert sorted(id(state.search) for state in done) == sorted(map(id, given))
        assert all(state.over for state in done)


@pytest.mark.slow
def test_no_more_searches_are_made_than_take_turns() -> None:
    """Each holds its matrices."""
    made, done = 0, 0

    def making() -> Iterator[Search]:
        nonlocal made
        for search in searches_of(questions("relu 2-4-4-3", Norm.LINF, 8)):
            made += 1
            assert made - done <= 3
            yield search

    for _ in take_turns(making(), no_witness, turns=2):
        done += 1
    assert done == 8


@pytest.mark.slow
def test_the_domains_of_one_search_are_gone_before_the_next_goes_on_alone() -> None:
    """Otherwise as many hard examples as take turns hold a full memory of domains each."""
    given = searches_of(questions("relu 2-4-4-3", Norm.LINF, 8), replace(TUNING, turns_domains=0))
    worked, ended = set[Search](), dict[Search, weakref.ref[State]]()

    def attack(asked: Sequence[Search], points: Sequence[Tensor]) -> list[Tensor | None]:
        worked.update(asked)
        assert worked - set(asked) <= set(ended)
        assert not any(state() for state in ended.values())
        return [None for _ in points]

    for state in take_turns(iter(given), attack):
        ended[state.search] = weakref.ref(state)
        del state
    assert len(worked) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu 2-4-4-3", "leaky 2-4-3-3"])
def test_a_round_that_is_broken_off_loses_no_domain(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is broken off: out of memory in any of its passes."""
    places = set[str]()
    for row, passes in product(range(fewer(5, 2)), range(20)):
        (search,) = searches_of(questions(name, Norm.LINF).select([row]))
        (state,) = start([search])
        state = replace(
            state,
            roots=torch.full_like(state.roots, -torch.inf),
            closed=torch.ones_like(state.closed),
        )
        open_, before = set(state.open.rows.tolist()), state.lower_bounds()
        if not open_:
            continue
        fails = count_down(passes)
        with monkeypatch.context() as patch:
            patch.setattr(System, "backward", fails(System.backward))
            try:
                advance([state], no_witness)
            except MemoryError as error:
                places |= {frame.name for frame in traceback.extract_tb(error.__traceback__)}
        after = state.lower_bounds()
        assert torch.equal(before, after)
        assert {goal for goal, bound in enumerate(after.tolist()) if bound <= 0} == open_
    assert {"split", "bound", "clip"} <= places


def count_down(passes: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function work so often, and then run out of memory."""
    left = iter(range(passes))

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if next(left, None) is None:
                raise MemoryError
            return function(*given, **named)

        return call

    return failing


class Together(BranchAndBound):
    """Examples take turns however many domains they have."""

    tuning = replace(Tuning(), turns_domains=10**9)


def test_each_example_has_its_own_time(ticking: Ticking) -> None:
    """Hard ones among easy ones: nobody's budget is used up by another."""
    hard = wide_network()
    problem = replace(hard.select([0, 0, 0]), seconds=1.5)
    ticking(0.02)
    started = time.perf_counter()
    verdicts = Together()(problem)
    spent = time.perf_counter() - started
    assert all("timeout" in verdict.note for verdict in verdicts)
    assert all((verdict.seconds or 0.0) > 1.4 for verdict in verdicts)
    assert sum(verdict.seconds or 0.0 for verdict in verdicts) < 1.05 * spent


def test_what_a_witness_ends_is_no_round_more() -> None:
    problem = questions("relu 2-4-4-3", Norm.LINF, 6)
    given = searches_of(problem)
    point = torch.zeros(2)

    def attack(asked: Sequence[Search], points: Sequence[Tensor]) -> list[Tensor | None]:
        assert all(its.shape[1:] == (2,) for its in points)
        return [point if search is given[0] else None for search in asked]

    running = [state for state in start(given) if not state.over]
    first, *others = advance(running, attack)
    assert first.search is given[0]
    assert first.visited == running[0].visited
    assert first.witness is point
    assert first.over
    assert set(first.open.rows.tolist()) == set(running[0].open.rows.tolist())
    assert others
    assert all(state.witness is None for state in others)


def test_nothing_to_bound_is_nothing_done() -> None:
    assert bound([], Rates(3)) == []
    assert start([]) == advance([], no_witness) == []
    assert list(take_turns(iter([]), no_witness)) == []


def test_a_search_alone_needs_no_halted_deadline() -> None:
    problem = questions("relu 2-4-4-3", Norm.LINF, 1)
    assert finish(Search(around(problem), Deadline(20.0)), no_witness).over


def test_the_networks_of_the_families_have_the_same_answers_in_common_rounds() -> None:
    for seed in range(3):
        network = FAMILIES["residual"](seed)
        problem = ask(network, centers(network, seed, 6), Ball(Norm.LINF, Fraction(1, 4)))
        for row, verdict in enumerate(ByNeurons()(problem)):
            least = truth(problem.select([row]))
            assert (verdict.status is Status.CERTIFIED) <= (least > 0)
            assert (verdict.status is Status.FALSIFIED) <= (least <= 0)
