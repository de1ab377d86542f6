"""Quadratic constraints on all units at once: any multipliers prove what holds."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled.interior_point import lower_bound, raised
from evaluators.unrolled.quadratic import Forms, Goal, ProductMultipliers, least
from evaluators.unrolled.relus import as_relus
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.certificates import ball, least_margin
from tests.fixtures.effort import examples
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers, least_margins, points_of

RELU = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "pooled", "convolutional")
NORMS = st.sampled_from([Norm.L2, Norm.L1])
RADIUS = Fraction(1, 4)


def asked(family: str, seed: int, norm: Norm) -> tuple[Problem, UnrolledProblem]:
    network = FAMILIES[family](seed)
    problem = ask(network, centers(network, seed, 3), Ball(norm, RADIUS)).select([2])
    return problem, as_relus(UnrolledProblem.of(problem, 0, problem.deadline()))


def reached(problem: Problem) -> float:
    """The least margin that points of the region have."""
    assert isinstance(problem.network, Network)
    assert isinstance(problem.region, Ball)
    points = points_of(problem.region, problem.x[0], 9)
    return float(least_margins(problem.network, points, int(problem.labels[0])).min())


def drawn(forms: Forms, seed: int, power: int) -> ProductMultipliers:
    generator = torch.Generator().manual_seed(seed)

    def some(count: int) -> Tensor:
        return torch.randn(count, generator=generator, dtype=torch.float64) * 10.0**power

    return ProductMultipliers(
        some(len(forms.low)) + 10.0**power, some(forms.units) / 4, some(1)[0].abs()
    )


@settings(max_examples=examples(20), deadline=None)
@given(st.sampled_from(RELU), st.integers(0, 60), NORMS, st.integers(0, 99), st.integers(-3, 6))
def test_forged_multipliers_prove_nothing_that_is_wrong(
    family: str, seed: int, norm: Norm, other: int, power: int
) -> None:
    problem, around = asked(family, seed, norm)
    forms = Forms.of(around)
    if forms is None:
        assert not len(around.lines.leak)
        return
    true = reached(problem)
    bounds = torch.tensor(
        [
            least(forms, Goal.of(around, forms, row), drawn(forms, other, power))
            for row in range(len(around.goals))
        ]
    )
    assert float(bounds.min()) <= true + 1e-9 * max(1.0, abs(true))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300])
def test_multipliers_that_are_no_numbers_prove_nothing_that_is_wrong(number: float) -> None:
    problem, around = asked("relu 2-4-4-3", 1, Norm.L2)
    forms = Forms.of(around)
    assert forms is not None
    goal, fine, true = Goal.of(around, forms, 0), drawn(forms, 0, 0), reached(problem)
    for place in range(3):
        parts = [part.clone() for part in fine]
        parts[place].flatten()[0] = number
        assert least(forms, goal, ProductMultipliers(*parts)) <= true


@settings(max_examples=examples(20), deadline=None)
@given(st.sampled_from(RELU), st.integers(0, 60), NORMS)
def test_no_point_of_the_ball_is_below_what_is_proved(family: str, seed: int, norm: Norm) -> None:
    problem, around = asked(family, seed, norm)
    goals = len(around.goals)
    found = raised(around, torch.full((goals,), -torch.inf).double(), problem.deadline())
    true = reached(problem)
    assert float(found.min()) <= true + 1e-9 * max(1.0, abs(true))


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 400))
def test_in_l1_nothing_beats_the_enumeration_of_all_linear_regions(seed: int) -> None:
    problem, around = asked("relu 2-4-4-3", seed, Norm.L1)
    assert isinstance(problem.network, Network)
    forms, goals = Forms.of(around), len(around.goals)
    if forms is None:
        return
    exact = least_margin(
        problem.network, ball("l1", problem.x[0], RADIUS, 0.0, 1.0), int(problem.labels[0])
    )
    bounds = [
        lower_bound(forms, Goal.of(around, forms, row), problem.deadline())[0]
        for row in range(goals)
    ]
    assert min(bounds) <= float(exact) + 1e-12


def crowded() -> Problem:
    """Wide layers, whose neurons cannot all be at their worst at once, around a thin margin."""
    graph = Graph((12,), 5)
    for _ in range(2):
        graph.dense(12, torch.linalg.qr(graph.random(12, 12))[0], 0.1 * graph.random(12))
        graph.relu()
    weight = graph.random(2, 12)
    graph.dense(2, weight, torch.tensor([0.0, 0.42]).double())
    x = torch.full((1, 12), 0.5)
    network = graph.network()
    label = network.to(torch.float32)(x).argmax(1)
    return Problem(network, x, label, Ball(Norm.L2, Fraction(1, 2)), seconds=1000.0)


def test_a_ball_of_many_neurons_is_certified_without_a_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = crowded()
    (lines,) = AlphaCROWN()(problem)
    assert lines.margin is not None
    assert lines.margin < -0.1
    monkeypatch.setattr(BranchAndBound, "_search", _only_the_first(BranchAndBound._search))
    (verdict,) = BranchAndBound()(problem)
    assert verdict.status is Status.CERTIFIED
    assert verdict.margin is not None
    assert isinstance(problem.network, Network)
    shifts = torch.randn(2000, 12, generator=torch.Generator().manual_seed(0)).double()
    points = problem.x.double() + shifts / shifts.norm(dim=1, keepdim=True) / 2
    least_seen = least_margins(problem.network, points, int(problem.labels[0])).min()
    assert 0 < verdict.margin <= float(least_seen)


def _only_the_first(search: object) -> object:
    def once(self: BranchAndBound, problem: Problem, steps: int, *more: object) -> object:
        assert steps == 0, "it was split"
        return search(self, problem, steps, *more)  # type: ignore[operator]

    return once


def test_a_form_that_is_uncertain_costs_what_it_is_uncertain_by() -> None:
    """Without the charge, rows that lost much in rounding would prove as much as exact ones."""
    problem, around = asked("relu 2-4-4-3", 1, Norm.L2)
    forms = Forms.of(around)
    assert forms is not None
    goal = Goal.of(around, forms, 0)
    exact, _ = lower_bound(forms, goal, problem.deadline())
    vague = replace(forms, lost=forms.lost + 0.01)
    assert least(vague, goal, drawn(forms, 0, 0)) < least(forms, goal, drawn(forms, 0, 0)) - 0.01
    far = goal._replace(lost=goal.lost + 1)
    assert lower_bound(forms, far, problem.deadline())[0] <= exact
    assert least(forms, far, drawn(forms, 0, 0)) == pytest.approx(
        least(forms, goal, drawn(forms, 0, 0)) - 1, abs=1e-3
    )


def test_in_linf_and_of_other_functions_nothing_is_raised() -> None:
    none = torch.full((2,), -torch.inf).double()
    problem, around = asked("relu 2-4-4-3", 1, Norm.LINF)
    assert torch.equal(raised(around, none, problem.deadline()), none)
    problem, around = asked("sigmoid 2-3-3-2", 1, Norm.L2)
    assert torch.equal(raised(around, none[:1], problem.deadline()), none[:1])


def test_where_evidence_is_wanted_only_what_a_certificate_proves_is_claimed() -> None:
    problem = replace(crowded(), evidence=True, seconds=0.5)
    (verdict,) = BranchAndBound()(problem)
    assert verdict.status is not Status.CERTIFIED or verdict.certificate is not None
