"""Backward passes on windows prove what those on whole planes prove."""

from fractions import Fraction
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.network.affine import Convolution, Diagonal
from evaluators.network.elementwise import LeakyReLU, Tanh
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.propagation import linear_bounds
from evaluators.propagation.linear_bounds import interval_relaxation, linear_relaxation
from evaluators.propagation.receptive_fields import receptive_fields
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from tests.evaluators.test_intervals import values
from tests.fixtures.effort import examples
from tests.fixtures.networks import Graph


def convolve(graph: Graph, recipe: tuple[int, ...]) -> None:
    channels, kernel, stride, padding, dilation, groups = recipe
    before, height, width = graph.nodes[-1].shape
    groups = groups if before % groups == 0 and channels % groups == 0 else 1
    sizes = [
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for size in (height, width)
    ]
    if min(sizes) < 1:
        return
    shape = (channels, *sizes)
    weight = 2 * graph.random(channels, before // groups, kernel, kernel)
    bias = graph.random(*shape) if stride == 1 else graph.random(channels, 1, 1)
    pairs = (stride, stride), (padding, padding), (dilation, dilation), groups
    graph.add(Convolution((before, height, width), shape, bias, weight, *pairs), shape)


@st.composite
def recipes(draw: st.DrawFn) -> list[tuple[int, ...]]:
    layer = st.tuples(
        st.sampled_from([2, 4]),
        st.integers(1, 3),
        st.integers(1, 2),
        st.integers(0, 2),
        st.integers(1, 2),
        st.integers(1, 2),
    )
    return draw(st.lists(layer, min_size=2, max_size=3))


def network_of(layers: list[tuple[int, ...]], residual: bool, seed: int) -> Network:
    graph = Graph((2, 11, 12), seed)
    scale = graph.random(2, 1, 1)
    graph.add(Diagonal((2, 11, 12), (2, 11, 12), graph.random(2, 11, 12), scale), (2, 11, 12))
    for layer in layers:
        convolve(graph, layer)
        before = graph.add(LeakyReLU(0.125 * (seed % 2)), graph.nodes[-1].shape)
        if residual:
            channels = graph.nodes[-1].shape[0]
            convolve(graph, (channels, 3, 1, 1, 1, 1))
            graph.add(Tanh(), graph.nodes[-1].shape)
            graph.sum(before, len(graph.nodes) - 1)
    graph.relu()
    graph.flatten()
    graph.dense(2)
    return graph.network()


def relaxed_without_windows(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> Relaxed:
    with monkeypatch.context() as patch:
        patch.setattr(linear_bounds, "receptive_fields", lambda network, position: None)
        return linear_relaxation(problem)


@given(recipes(), st.booleans(), st.integers(0, 99), st.sampled_from(list(Norm)), st.booleans())
@settings(max_examples=examples(15), deadline=None)
def test_windows_and_planes_agree(
    layers: list[tuple[int, ...]], residual: bool, seed: int, norm: Norm, deployed: bool
) -> None:
    network = network_of(layers, residual, seed)
    x = torch.rand(2, 2, 11, 12, generator=torch.Generator().manual_seed(seed))
    x[0, 0, :3] = 0.0
    region = Ball(norm, Fraction(1, 10))
    problem = Problem(network, x, torch.tensor([0, 1]), region, deployed=deployed)
    on_windows = linear_relaxation(problem)
    on_planes = relaxed_without_windows(problem, pytest.MonkeyPatch())
    # They differ in the slack for rounding, which grows with the number of coefficients.
    for one, other in zip(on_windows.bounds, on_planes.bounds, strict=True):
        assert torch.allclose(one.lower, other.lower, rtol=1e-7, atol=1e-8)
        assert torch.allclose(one.upper, other.upper, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("windows", [True, False])
@pytest.mark.parametrize("after", [0, 2])
def test_when_time_is_up_bounds_lie_between_intervals_and_all_backward_passes(
    windows: bool, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of([(2, 3, 1, 1, 1, 1), (2, 3, 1, 1, 1, 1)], False, 0)
    x = torch.rand(2, 2, 11, 12, generator=torch.Generator().manual_seed(0))
    problem = Problem(network, x, torch.tensor([0, 1]), Ball(Norm.LINF, Fraction(1, 10)))
    monkeypatch.setattr(linear_bounds, "CHUNK_BYTES", 2**12)
    if not windows:
        monkeypatch.setattr(linear_bounds, "receptive_fields", lambda network, position: None)
    # A clock that goes on by one each time it is read.
    ticks = count()
    early = linear_relaxation(problem, deadline=Deadline(after + 0.5, lambda: next(ticks)))
    widest, tightest = interval_relaxation(problem), linear_relaxation(problem)
    found = [one.bounds[-2].upper.sum() for one in (tightest, early, widest)]
    assert found[0] < found[1] <= found[2]
    assert (found[1] < found[2]) == (after > 0)
    for wide, mine, tight in zip(widest.bounds, early.bounds, tightest.bounds, strict=True):
        assert bool(((wide.lower <= mine.lower) & (mine.lower <= tight.lower + 1e-9)).all())
        assert bool(((wide.upper >= mine.upper) & (mine.upper >= tight.upper - 1e-9)).all())


def test_windows_are_used_where_they_pay() -> None:
    network = network_of([(2, 3, 1, 1, 1, 1), (2, 3, 1, 1, 1, 1)], False, 0)
    second = [i for i, n in enumerate(network.nodes) if isinstance(n.operation, Convolution)][1]
    fields = receptive_fields(network, second)
    assert fields is not None
    assert fields[0].size == (5, 5)
    assert fields[0].offset == (-2, -2)
    assert receptive_fields(network, len(network.nodes) - 1) is None


@given(st.integers(0, 999), st.sampled_from(list(Norm)))
@settings(max_examples=examples(25), deadline=None)
def test_values_stay_within_bounds_from_windows(seed: int, norm: Norm) -> None:
    """Corners of the box that the coefficients point to, where violations would show first."""
    network = network_of([(2, 3, 2, 1, 1, 1), (2, 2, 1, 0, 1, 1)], bool(seed % 2), seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 2, 11, 12, generator=generator)
    region = Ball(norm, Fraction(1, 5) if norm is Norm.LINF else Fraction(2))
    bounds = linear_relaxation(
        Problem(network, x, torch.tensor([0]), region, deployed=False)
    ).bounds
    for position, node in enumerate(network.nodes):
        if len(node.shape) != 3:
            continue
        for sign in (1.0, -1.0):
            start = x.double().requires_grad_(True)
            entry = int(
                torch.randint(
                    0, node.shape[0] * node.shape[1] * node.shape[2], (1,), generator=generator
                )
            )
            value = values(network, start)[position].flatten()[entry]
            (gradient,) = torch.autograd.grad(value, start, allow_unused=True)
            if gradient is None:
                continue
            step = gradient.sign() if norm is Norm.LINF else gradient
            order = {Norm.LINF: torch.inf, Norm.L2: 2, Norm.L1: 1}[norm]
            length = torch.linalg.vector_norm(step.flatten(), order).clamp(min=1e-300)
            radius = float(region.radius) * (1 - 1e-12)
            point = (x.double() + sign * step * (radius / length)).clamp(0, 1)
            for at, (lower, upper) in zip(values(network, point), bounds, strict=True):
                slack = 1e-12 * (1 + at.abs())
                assert bool((at >= lower - slack).all())
                assert bool((at <= upper + slack).all())
