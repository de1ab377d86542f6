"""Searches whose every domain is clipped: as right and complete as any, and so is their evidence.

A few dozen networks are tried here, thousands by

    CERTBOARD_NETWORKS=5000 pytest -n0 tests/evaluators/test_clipped_search.py
"""

import os
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest
import torch

from evaluators.branching.search import Turn, advance, finish, leave_far, start
from evaluators.branching.state import Search, State
from evaluators.branching.tuning import Tuning
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.question.certificate import Certificate
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.domains import Cut, Domains
from evaluators.unrolled.unit_lines import UnitBounds
from tests.fixtures.certificates import least_margin
from tests.fixtures.checked import recheck
from tests.fixtures.searching import no_witness, pretending
from tests.fixtures.tiny import FAMILIES, ask, chain, least_margins, points_of
from tests.fixtures.unrolled import PIECEWISE, about, around

NETWORKS = int(os.environ.get("CERTBOARD_NETWORKS", "24"))
NAMES = [name for name in PIECEWISE if name not in ("dead", "linear")]
CLEAR = Fraction(1, 10**4)
"""A margin this far from zero must be decided."""

TUNING = Tuning(root=Rates(1), child=Rates(2, slope=0.2), clip_tried=10**6)
"""Every domain is clipped, however few of them that closes."""


def question(name: str, radius: Fraction, seed: int) -> Problem:
    network = PIECEWISE[name](seed)
    x = torch.rand(2, generator=torch.Generator().manual_seed(seed)).round(decimals=2)
    label = int(network(x[None].double())[0].argmax())
    region = Ball(Norm.LINF, radius, -9.0, 9.0)
    return replace(about(network, region, x, label), evidence=True)


def search_of(problem: Problem, tuning: Tuning = TUNING, seconds: float = 20.0) -> Search:
    return Search(around(problem), Deadline(seconds), tuning)


def truth(problem: Problem) -> Fraction:
    assert isinstance(problem.network, Network)
    a, b = (Fraction(v) for v in problem.x.flatten().tolist())
    r, corners = problem.region.radius, [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    polygon = [[a + i * r, b + j * r] for i, j in corners]
    return least_margin(without_max_pools(problem.network), polygon, int(problem.labels[0]))


@cache
def threshold(name: str, seed: int) -> Fraction:
    """About the largest radius that is right."""
    proved, broken = Fraction(0), Fraction(2)
    for _ in range(6):
        radius = (proved + broken) / 2
        if truth(question(name, radius, seed)) > 0:
            proved = radius
        else:
            broken = radius
    return (proved + broken) / 2


def near_the_threshold(name: str, seed: int, share: Fraction) -> Problem:
    return question(name, threshold(name, seed) * share, seed)


def cuts_in(made: Certificate) -> int:
    return int((made.leaves.cut >= 0).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_searches_are_right_and_complete_and_so_are_their_certificates(name: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(-(-NETWORKS // len(NAMES))):
        for share in (Fraction(9, 10), Fraction(99, 100), Fraction(21, 20)):
            problem = near_the_threshold(name, seed, share)
            least, search = truth(problem), search_of(problem)
            state = finish(search, no_witness)
            assert state.witness is None
            bounds = state.lower_bounds()
            assert Fraction(float(bounds.min())) <= least
            if len(state.open):
                assert least < CLEAR, state.note
                seen["open"] += 1
                continue
            assert least > 0
            made = search.around.certificate(state.proof())
            assert made is not None
            seen["proved"] += 1
            seen["with cuts"] += cuts_in(made) > 0
            check_evidence(problem, made, float(bounds.min()), least)
    assert seen["open"]
    assert seen["proved"]
    assert seen["with cuts"] or name in ("relu 2-3-2", "bent logits"), seen


def check_evidence(problem: Problem, made: Certificate, bound: float, least: Fraction) -> None:
    assert isinstance(problem.network, Network)
    network = without_max_pools(problem.network)
    for exact in (False, None):
        found = recheck(network, made, exact=exact)
        assert found.accepted, found.reason
        assert found.margin is not None
        assert Fraction(found.margin) <= least
        assert bound <= found.margin * (1 + 1e-6) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu 2-4-4-3", "leaky 2-4-3-3", "residual", "windowed"])
def test_no_bound_is_ever_above_the_true_margin(name: str) -> None:
    """After every round, and whatever the targets are."""
    for seed, target in ((0, 1e-3), (1, 0.05), (2, 0.5), (3, 1.0)):
        for share in (Fraction(1, 2), Fraction(9, 10), Fraction(6, 5)):
            problem = near_the_threshold(name, seed, share)
            least = truth(problem)
            (state,) = start([search_of(problem, replace(TUNING, target=target))])
            state = replace(state, roots=torch.full_like(state.roots, -torch.inf))
            for _ in range(20):
                assert Fraction(float(state.lower_bounds().min())) <= least
                if state.over:
                    break
                (state,) = advance([state], no_witness)


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
def test_balls_that_are_round_are_never_answered_wrongly(norm: Norm) -> None:
    """Fine grids instead of an enumeration."""
    closed = 0
    for seed in range(4):
        for name in ("relu 2-4-4-3", "leaky 2-4-3-3"):
            network = FAMILIES[name](seed)
            x, region = torch.tensor([0.5, 0.25]), Ball(norm, Fraction(1, 4), -9.0, 9.0)
            label = int(network(x[None].double())[0].argmax())
            problem = replace(about(network, region, x, label), evidence=True)
            state = finish(search_of(problem, seconds=1.0), no_witness)
            least = least_margins(network, points_of(region, x, 41), label)
            assert bool((state.lower_bounds() <= least + 1e-12).all())
            near = state.search.around
            made = None if len(state.open) else near.certificate(state.proof())
            if made is not None:
                closed += 1
                found = recheck(network, made, exact=False)
                assert found.accepted, found.reason
    assert closed


def with_cut(state: State, target: float, bounds: UnitBounds) -> Domains:
    """The open domains, as if these were a cut's bounds."""
    none = torch.zeros(0)
    leaves = state.open.leaves()
    cuts: list[Cut | None] = [
        Cut(None, leaf, target, none.long(), none.long(), none, bounds) for leaf in leaves
    ]
    return replace(state.open, cuts=cuts)


def opened() -> State:
    (state,) = start([search_of(question("relu 2-4-4-3", Fraction(1, 2), 0))])
    assert len(state.open)
    return state


def test_a_proof_by_a_cut_is_worth_its_target_at_most() -> None:
    state = pretending(opened(), lambda some: torch.full((len(some),), 5.0).double())
    rows, lines = sorted(set(state.open.rows.tolist())), state.search.lines
    domains = with_cut(state, 0.01, UnitBounds(lines.lower, lines.upper))
    cut = replace(state, open=domains, roots=torch.full_like(state.roots, -torch.inf))
    assert cut.lower_bounds()[rows].tolist() == [0.01] * len(rows)
    after, left = cut.close(replace(domains, bounds=torch.ones(len(domains))))
    assert len(left) == 0
    assert after.closed[rows].tolist() == [0.01] * len(rows)


def test_domains_whose_units_are_all_decided_by_cuts_are_taken_up_again_without() -> None:
    """Here by bounds that are wrong: nothing may come of them."""
    state = opened()
    lines, count = state.search.lines, len(state.open)
    on = UnitBounds(lines.lower.clamp(min=0), lines.upper)
    state = replace(state, open=with_cut(state, 0.01, on))
    assert not bool(state.open.free(lines).any())
    (state,) = advance([state], no_witness)
    assert len(state.open) == count
    assert state.open.cuts == [None] * count
    assert bool((state.open.bounds == -torch.inf).all())
    problem = question("relu 2-4-4-3", Fraction(1, 2), 0)
    for _ in range(200):
        if state.over:
            break
        (state,) = advance([state], no_witness)
    else:
        raise AssertionError("the search does not end")
    assert (not len(state.open)) == (truth(problem) > 0)
    assert Fraction(float(state.lower_bounds().min())) <= truth(problem)


def hard() -> Search:
    """A search that one round does not end."""
    network = chain(4, 30, 30, 3, function=LeakyReLU(0.0), seed=1)
    return search_of(ask(network, torch.full((1, 4), 0.5), Ball(Norm.LINF, Fraction(1, 2))))


def test_domains_far_beyond_what_clipping_gains_are_left_but_for_a_few() -> None:
    """The nearest are tried whatever it gained: later in a search it may pay."""
    search = hard()
    search = replace(search, tuning=replace(TUNING, clip_tried=2))
    (state,) = start([search])
    domains = state.open.select(torch.zeros(6, dtype=torch.long))
    domains = replace(domains, bounds=-torch.arange(1.0, 7.0))
    for reach, kept in ((0.0, 2), (3.5, 3), (100.0, 6)):
        turn = leave_far(Turn(replace(state, reach=reach), domains, taken=6))
        assert turn.domains.bounds.tolist() == domains.bounds[:kept].tolist()
        assert len(turn.state.open) == len(state.open) + 6 - kept


def test_the_reach_of_clipping_follows_what_it_gained() -> None:
    """Nothing is in reach where it gains nothing."""
    (state,) = start([hard()])
    (after,) = advance([state], no_witness)
    assert after.reach < torch.inf
    useless = replace(state.search, tuning=replace(TUNING, clip_gains=0.0))
    (after,) = advance([replace(state, search=useless)], no_witness)
    assert 0 < after.reach < 1e-6
