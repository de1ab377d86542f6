"""Bounds of gradients and curvatures hold everywhere in a region; what they prove is true."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic.curvature import Curvature
from evaluators.deterministic.fastlip import FastLip
from evaluators.evaluator import Evaluator
from evaluators.lipschitz.curvature import curvatures
from evaluators.lipschitz.gradients import gradients
from evaluators.network.elementwise import Sigmoid, SShaped, Tanh
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.propagation.linear_bounds import linear_relaxation, margin_rows
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.effort import fewer
from tests.fixtures.tiny import FAMILIES, ask, centers, least_margins, points_of

SMOOTH = ("sigmoid 2-3-3-2", "tanh 2-3-3-2")
NAMES = (*SMOOTH, "relu 2-4-4-3", "leaky 2-4-3-3", "residual", "repeated", "convolutional")


def asked(name: str, seed: int, norm: Norm, radius: Fraction = Fraction(1, 8)) -> Problem:
    network = without_max_pools(FAMILIES[name](seed)).to(torch.float64)
    return ask(network, centers(network, seed, 3), Ball(norm, radius))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 300), st.sampled_from(list(Norm)))
def test_no_gradient_in_the_region_leaves_its_enclosure(name: str, seed: int, norm: Norm) -> None:
    problem = asked(name, seed, norm)
    relaxed = linear_relaxation(problem)
    rows = margin_rows(problem.labels, problem.classes)
    found = gradients(relaxed.network, relaxed.bounds, rows)
    assert found is not None
    assert isinstance(problem.region, Ball)
    for index, x in enumerate(problem.x):
        points = points_of(problem.region, x, 4).double().requires_grad_()
        logits = relaxed.network(points)
        for row, weights in enumerate(rows[index]):
            (slope,) = torch.autograd.grad((logits @ weights).sum(), points, retain_graph=True)
            apart = (slope - found.middle[index, row]).abs() - found.radius[index, row]
            assert bool((apart <= 1e-12 * (1 + slope.abs())).all())


def hessian(network: Network, point: Tensor, weights: Tensor) -> Tensor:
    """By the derivatives of the gradient's entries, `[entries, entries]`."""
    z = point.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(z[None])[0] @ weights, z, create_graph=True)
    rows = [torch.autograd.grad(s, z, retain_graph=True)[0].flatten() for s in slope.flatten()]
    return torch.stack(rows)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SMOOTH), st.integers(0, 300), st.sampled_from(list(Norm)))
def test_no_hessian_in_the_region_is_lower_than_the_bound(name: str, seed: int, norm: Norm) -> None:
    problem = asked(name, seed, norm)
    relaxed = linear_relaxation(problem)
    rows = margin_rows(problem.labels, problem.classes)
    bend = curvatures(relaxed.network, relaxed.bounds, rows)
    assert isinstance(problem.region, Ball)
    for index, x in enumerate(problem.x):
        for point in points_of(problem.region, x, 4).double()[::3]:
            for row, weights in enumerate(rows[index]):
                least = float(torch.linalg.eigvalsh(hessian(relaxed.network, point, weights)).min())
                assert least >= -float(bend[index, row]) - 1e-9


@pytest.mark.parametrize("function", [Sigmoid(), Tanh()])
def test_second_derivatives_are_those_of_the_function(function: SShaped) -> None:
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(function.second_derivative(x), second, atol=1e-12)
    assert float(x.detach()[second.argmin()]) == pytest.approx(function.bend, abs=4e-3)


@pytest.mark.slow
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("method", [Curvature(), FastLip()])
def test_margins_are_below_those_of_a_dense_grid(method: Evaluator, norm: Norm) -> None:
    proved = 0
    for name in SMOOTH if isinstance(method, Curvature) else NAMES:
        for seed in range(fewer(4, 2)):
            problem = asked(name, seed, norm, Fraction(1, 20))
            for row, verdict in enumerate(method(problem)):
                assert not verdict.note.startswith(("failed", "refused")), verdict.note
                if verdict.margin is None:
                    continue
                assert isinstance(problem.region, Ball)
                points = points_of(problem.region, problem.x[row], 21)
                least = least_margins(problem.network, points, int(problem.labels[row]))  # type: ignore[arg-type]
                assert verdict.margin <= float(least.min()) + 1e-9
                proved += verdict.status is Status.CERTIFIED
    assert proved > 5
