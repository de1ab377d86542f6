"""Interval arithmetic over the graph: by hand, on grids, and differentiable."""

from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.network.affine import Diagonal
from evaluators.network.network import Network, apply
from evaluators.propagation.intervals import Interval, interval_bounds
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from tests.fixtures.effort import examples
from tests.fixtures.networks import Graph, of_every_kind
from tests.fixtures.tiny import FAMILIES, centers, points_of


def values(network: Network, x: Tensor) -> list[Tensor]:
    """Every node's value at points."""
    found = [x]
    for node in network.nodes[1:]:
        found.append(apply(node.operation, [found[parent] for parent in node.parents]))
    return found


def test_bounds_by_hand() -> None:
    """x, y in [0, 1], relu(x - y + 1/2) and relu(2y - x - 1) added: [0, 3/2] + [0, 1]."""
    graph = Graph((2,))
    weight = torch.tensor([[1.0, -1.0], [-1.0, 2.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.tensor([0.5, -1.0], dtype=torch.float64))
    graph.relu()
    graph.dense(1, torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    box = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    expected = [([0, 0], [1, 1]), ([-0.5, -2], [1.5, 1]), ([0, 0], [1.5, 1]), ([0], [2.5])]
    for rounding in (False, True):
        bounds = interval_bounds(graph.network(), *box, rounding=rounding)
        for (lower, upper), (low, high) in zip(bounds, expected, strict=True):
            assert lower[0].tolist() == pytest.approx(low, abs=1e-13)
            assert upper[0].tolist() == pytest.approx(high, abs=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("radius", [Fraction(1, 10), Fraction(1, 2)])
def test_every_node_stays_within_its_bounds(family: str, radius: Fraction) -> None:
    region = Ball(Norm.LINF, radius)
    for seed in range(10):
        network = FAMILIES[family](seed)
        x = centers(network, seed, 2)
        bounds = interval_bounds(network, *region.hull(x))
        for row in range(2):
            steps = 15 if x[0].numel() == 2 else 5
            for value, (lower, upper) in zip(
                values(network, points_of(region, x[row], steps)), bounds, strict=True
            ):
                slack = 1e-13 * (1 + value.abs())
                assert bool((value >= lower[row] - slack).all())
                assert bool((value <= upper[row] + slack).all())


finite = st.floats(-(2.0**100), 2.0**100, allow_subnormal=False)


@given(
    st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=12),
    st.one_of(st.just(0.0), finite),
)
@settings(max_examples=examples(200), deadline=None)
@example([(1.0, 2.0**60, 2.0**60), (1.0, 1.0, 1.5), (1.0, -(2.0**60), -(2.0**60))], 0.0)
@example([(3.0, 0.1, 0.1)], 0.0)
@example([(1.0, 0.1, 0.1)], 1e10)
@example([(-1.0, 0.1, 0.1)], 3e10)
def test_a_layers_bounds_hold_in_real_arithmetic(
    columns: list[tuple[float, float, float]], shift: float
) -> None:
    """Weights, lower and upper ends of one neuron, with no tolerance."""
    weights = [w for w, _, _ in columns]
    ends = [sorted(pair) for _, *pair in columns]
    graph = Graph((len(columns),))
    double = torch.float64
    graph.dense(1, torch.tensor([weights], dtype=double), torch.tensor([shift], dtype=double))
    low, high = (torch.tensor([[pair[side] for pair in ends]], dtype=double) for side in (0, 1))
    lower, upper = interval_bounds(graph.network(), low, high)[-1]
    products = [
        sorted(Fraction(w) * Fraction(end) for end in pair)
        for w, pair in zip(weights, ends, strict=True)
    ]
    assert Fraction(float(lower)) <= sum((p[0] for p in products), Fraction(shift))
    assert Fraction(float(upper)) >= sum((p[1] for p in products), Fraction(shift))


moderate = st.floats(-(2.0**30), 2.0**30, allow_subnormal=False)


@given(
    st.lists(st.tuples(moderate, moderate, moderate), min_size=1, max_size=12),
    moderate,
    st.booleans(),
)
@settings(max_examples=examples(200), deadline=None)
@example([(1.0, 2.0**30, 2.0**30), (1.0, 1.0, 1.5), (1.0, -(2.0**30), -(2.0**30))], 0.0, False)
@example([(1.0, 0.1, 0.1)], 3e8, True)
@example([(1.0, -1e8, 0.3)], 1e8, True)
@example([(5.172375101015006e-153, 0.0, 1268.0)], 0.0, False)  # a weight that a run takes for zero
def test_what_a_float32_run_may_lose_is_charged_once_and_in_full(
    columns: list[tuple[float, float, float]], shift: float, moved: bool
) -> None:
    """γ of all products and of nine roundings more, times |W||x| + |b|; `moved` adds b alone."""
    weights = [1.0 if moved else w for w, _, _ in columns]
    ends = [sorted(pair) for _, *pair in columns]
    graph, double = Graph((len(columns),)), torch.float64
    bias = torch.tensor([shift], dtype=double)
    if moved:
        shape = (len(columns),)
        graph.add(Diagonal(shape, shape, bias, scale=None), shape)
        terms, sums = 0, [[(1.0, pair)] for pair in ends]
    else:
        graph.dense(1, torch.tensor([weights], dtype=double), bias)
        terms, sums = len(columns), [list(zip(weights, ends, strict=True))]
    low, high = (torch.tensor([[pair[side] for pair in ends]], dtype=double) for side in (0, 1))
    bounds = interval_bounds(graph.network(), low, high, deployed=True)[-1]
    for lower, upper, layer in zip(*(bound[0].tolist() for bound in bounds), sums, strict=True):
        products = [sorted(Fraction(w) * Fraction(end) for end in pair) for w, pair in layer]
        reached = sum((max(map(abs, pair)) for pair in products), abs(Fraction(shift)))
        lost = reached * Fraction(terms + 9, 2**24 - terms - 9)
        least = sum((pair[0] for pair in products), Fraction(shift)) - lost
        most = sum((pair[1] for pair in products), Fraction(shift)) + lost
        assert Fraction(lower) <= least
        assert most <= Fraction(upper)
        size = sum(abs(Fraction(w)) for w, _ in layer)
        if any(0 < abs(w) < 2.0**-126 for w, _ in layer):
            size += len(layer) * max(abs(Fraction(end)) for _, pair in layer for end in pair)
        assert Fraction(upper) - Fraction(lower) <= most - least + reached / 10**12 + (
            (size + 40) * Fraction(2) ** -120
        )


@pytest.mark.parametrize("value", [0.1, 0.7, 1e10 / 3])
def test_a_sums_bounds_hold_in_real_arithmetic(value: float) -> None:
    """0.1 three times is less than the float64 sum."""
    graph = Graph((1,))
    graph.sum(0, graph.relu(), 0)
    x = torch.tensor([[value]], dtype=torch.float64)
    lower, upper = interval_bounds(graph.network(), x, x)[-1]
    assert Fraction(float(lower)) <= 3 * Fraction(value) <= Fraction(float(upper))


def test_rounding_only_widens_and_only_a_little() -> None:
    network, x = of_every_kind(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    box = (x - 0.1).clamp(0, 1), (x + 0.1).clamp(0, 1)
    plain, rounded = interval_bounds(network, *box, rounding=False), interval_bounds(network, *box)
    for (low, high), (lower, upper) in zip(plain[1:], rounded[1:], strict=True):
        assert bool((lower <= low + 1e-12).all())
        assert bool((upper >= high - 1e-12).all())
        assert torch.allclose(lower, low, rtol=1e-9, atol=1e-9)
        assert torch.allclose(upper, high, rtol=1e-9, atol=1e-9)


def test_a_point_is_enclosed_by_its_value_and_rounding() -> None:
    network, x = of_every_kind(), torch.rand(4, 3, 8, 8, dtype=torch.float64)
    for value, (lower, upper) in zip(
        values(network, x), interval_bounds(network, x, x), strict=True
    ):
        assert bool(((lower <= value) & (value <= upper)).all())
        assert float((upper - lower).max()) < 1e-10


def test_plain_bounds_are_differentiable() -> None:
    network = of_every_kind().to(torch.float32)
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    lower, upper = interval_bounds(network, x - 0.1, x + 0.1, rounding=False)[-1]
    (gradient,) = torch.autograd.grad((upper - lower).sum(), x)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().sum()) > 0


def test_the_meet_keeps_what_is_not_a_number() -> None:
    one = Interval(torch.tensor([0.0, float("nan")]), torch.tensor([1.0, 1.0]))
    two = Interval(torch.tensor([-1.0, 0.0]), torch.tensor([0.5, float("nan")]))
    met = one.meet(two)
    assert met.lower[0] == 0.0
    assert met.upper[0] == 0.5
    assert bool(torch.isnan(met.lower[1]))
    assert bool(torch.isnan(met.upper[1]))
