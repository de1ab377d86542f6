"""Bounds of Jacobians by recursion: they hold for all slopes, and are no looser than Fast-Lip's."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic.fastlip import FastLip
from evaluators.deterministic.recurjac import RecurJac
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.unrolled.jacobians import Chords, JacobianBounds, Range, Recursion
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.certificates import ball, least_margin
from tests.fixtures.effort import examples, first_alone
from tests.fixtures.tiny import FAMILIES, ask, centers

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)
DERIVABLE = tuple(name for name in FAMILIES if name != "pooled")
NORMS = st.sampled_from(list(Norm))


def asked(network: Network, seed: int, norm: Norm, radius: str) -> Problem:
    return ask(network, centers(network, seed, 3)[2:], Ball(norm, Fraction(radius)))


def recursion(problem: Problem) -> tuple[Recursion, Tensor]:
    around = UnrolledProblem.of(problem, 0, problem.deadline())
    found = Recursion.of(around.unrolled)
    assert found is not None
    return found, around.goals.weight


def bounded(of: Recursion, row: Tensor, problem: Problem) -> JacobianBounds:
    found = of(row, problem.deadline())
    assert found is not None
    return found


@settings(max_examples=examples(200), deadline=None)
@given(FINITE, FINITE, FINITE, FINITE, st.floats(0, 1), st.floats(0, 1))
def test_chords_are_on_their_side_of_every_product(
    a: float, b: float, c: float, d: float, at: float, of: float
) -> None:
    (a, b), (least, most) = sorted((a, b)), sorted((abs(c), abs(d)))
    slopes = Range(*torch.tensor([[least], [most]], dtype=torch.float64))
    ends = torch.tensor([[a], [b]], dtype=torch.float64)
    g = min(b, max(a, a + at * (b - a)))
    slope = min(most, max(least, least + of * (most - least)))
    true = Fraction(slope) * Fraction(g)
    lines = (Chords.below(slopes, *ends), Chords.above(slopes, *ends))
    below, above = (
        Fraction(float(c.slope)) * Fraction(g) + Fraction(float(c.shift)) for c in lines
    )
    assert below <= true <= above


def drawn(of: Recursion, row: Tensor, seed: int, *, extreme: bool) -> tuple[Tensor, Tensor]:
    """The derivatives by the inputs and h with drawn slopes, in plain float64."""
    share = torch.rand(len(of.weight), generator=torch.Generator().manual_seed(seed)).double()
    share = share.round() if extreme else share
    slopes = of.slopes.least + share * (of.slopes.most - of.slopes.least)
    h = torch.zeros(len(of.weight)).double()
    for unit in reversed(range(len(h))):
        column = of.inputs + unit
        h[unit] = slopes[unit] * (row[column] + of.weight[:, column] @ h)
    return row[: of.inputs] + of.weight[:, : of.inputs].T @ h, h


@settings(max_examples=examples(40), deadline=None)
@given(st.sampled_from(list(FAMILIES)), st.integers(0, 10**4), NORMS, st.booleans())
def test_no_choice_of_slopes_leaves_the_bounds(
    family: str, seed: int, norm: Norm, extreme: bool
) -> None:
    problem = asked(FAMILIES[family](seed), seed, norm, "1/4")
    of, rows = recursion(problem)
    for row in rows:
        known = bounded(of, row, problem)
        for draw in range(20):
            inputs, h = drawn(of, row, draw, extreme=extreme)
            room = 1e-12 * (1 + inputs.abs())
            assert bool((inputs >= known.inputs.lower - room).all())
            assert bool((inputs <= known.inputs.upper + room).all())
            assert bool((h.abs() <= known.units * (1 + 1e-12) + 1e-12).all())


def test_with_one_slope_each_the_bounds_are_the_gradient() -> None:
    problem = asked(FAMILIES["relu 2-4-4-3"](1), 1, Norm.LINF, "1/4")
    of, rows = recursion(problem)
    assert len(of.weight) > 2
    of = replace(of, slopes=Range(of.slopes.most / 2, of.slopes.most / 2))
    for row in rows:
        known, (inputs, _) = bounded(of, row, problem), drawn(of, row, 0, extreme=False)
        assert torch.allclose(known.inputs.lower, inputs, rtol=1e-9, atol=1e-9)
        assert torch.allclose(known.inputs.upper, inputs, rtol=1e-9, atol=1e-9)


def test_what_cancels_between_layers_is_not_counted_twice() -> None:
    """Of relu(relu(a) - a) for a = relu(x) the slope is s·(s' - 1)·s'': intervals give -1 to 1."""
    weight = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, -1, 1, 0]]).double()
    slopes = Range(torch.zeros(3).double(), torch.ones(3).double())
    of = Recursion(1, weight, [slice(0, 1), slice(1, 2), slice(2, 3)], slopes)
    known = of(torch.tensor([0.0, 0, 0, 1]).double(), Deadline(10.0))
    assert known is not None
    assert float(known.inputs.lower) == pytest.approx(-1)
    assert float(known.inputs.upper) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("norm", first_alone(Norm))
def test_nothing_that_fastlip_proves_is_lost(norm: Norm) -> None:
    better = 0
    for family in DERIVABLE:
        for seed in range(4):
            problem = asked(FAMILIES[family](seed), seed, norm, "1/8")
            (ours,), (its,) = RecurJac()(problem), FastLip()(problem)
            if its.margin is None:  # a tie at the example itself
                continue
            assert ours.margin is not None
            assert ours.margin >= its.margin - 1e-9 * (1 + abs(its.margin))
            better += ours.margin > its.margin + 1e-6
    assert better > 10


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 10**4), st.sampled_from(["relu 2-4-4-3", "leaky 2-4-3-3", "residual"]))
def test_no_margin_is_above_the_enumeration_of_all_linear_regions(seed: int, family: str) -> None:
    network = FAMILIES[family](seed)
    for norm in (Norm.LINF, Norm.L1):
        problem = asked(network, seed, norm, "1/10")
        polygon = ball(norm.value, problem.x[0], Fraction(1, 10), 0.0, 1.0)
        exact = least_margin(network, polygon, int(problem.labels[0]))
        (verdict,) = RecurJac()(problem)
        assert verdict.margin is None or Fraction(verdict.margin) <= exact


def test_an_input_at_the_end_of_its_range_that_only_raises_the_margin_costs_nothing() -> None:
    graph = FAMILIES["relu 2-3-2"](0)
    problem = ask(graph, torch.zeros(1, 2), Ball(Norm.LINF, Fraction(1, 10)))
    of, rows = recursion(problem)
    known = bounded(of, rows[0], problem)
    falls = (-known.inputs.lower).clamp(min=0).sum() / 10
    (verdict,) = RecurJac()(problem)
    logits = graph(problem.x.double())[0]
    label = int(problem.labels[0])
    here = float(logits[label] - logits[1 - label])
    assert verdict.margin == pytest.approx(here - float(falls), abs=1e-9)
