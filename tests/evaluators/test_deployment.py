"""The float32 slack: no order of summation leaves it, and it is not far above what is seen."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from evaluators.affine import Dense
from evaluators.deployment import float32_slack, margin_slack
from evaluators.deterministic._intervals import Interval, interval_bounds
from evaluators.elementwise import LeakyReLU, Sigmoid
from evaluators.network import Network
from tests.fixtures.networks import Graph, linear
from tests.fixtures.tiny import FAMILIES, chain

Array = NDArray[np.float32]


def around(x: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    return x.double() - radius, x.double() + radius


def shuffled(network: Network, x: Array, random: np.random.Generator) -> Array:
    """A float32 run of dense layers and ReLUs, its sums one by one in an order of chance."""
    for node in network.nodes[1:]:
        operation = node.operation
        if isinstance(operation, LeakyReLU):
            x = np.where(x > 0, x, np.float32(operation.leak) * x)
            continue
        assert isinstance(operation, Dense)
        assert operation.bias is not None
        products = operation.weight.numpy().astype(np.float32) * x
        terms = np.concatenate((products, operation.bias.numpy().astype(np.float32)[:, None]), 1)
        terms = random.permuted(terms, axis=1)
        x = np.add.accumulate(terms, axis=1, dtype=np.float32)[:, -1]
    return x


def exact_logits(network: Network, x: Array) -> list[Fraction]:
    values = [Fraction(v) for v in x.astype(float).tolist()]
    for node in network.nodes[1:]:
        operation = node.operation
        if isinstance(operation, LeakyReLU):
            leak = Fraction(operation.leak)
            values = [v if v > 0 else leak * v for v in values]
            continue
        assert isinstance(operation, Dense)
        assert operation.bias is not None
        values = [
            sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(shift))
            for row, shift in zip(operation.weight.tolist(), operation.bias.tolist(), strict=True)
        ]
    return values


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(1, 24), leak=st.sampled_from([0.0, 0.125]))
def test_no_order_of_summation_leaves_the_slack(seed: int, width: int, leak: float) -> None:
    network = chain(6, width, width, 3, function=LeakyReLU(leak), seed=seed)
    random = np.random.default_rng(seed)
    center = torch.from_numpy(random.random((1, 6), dtype=np.float32))
    slack = float32_slack(network, interval_bounds(network, *around(center, 0.125)))[0]
    for _ in range(5):
        x = center[0].numpy() + random.uniform(-0.12, 0.12, 6).astype(np.float32)
        real = exact_logits(network, x)
        computed = shuffled(network, x, random).tolist()
        for one, other, allowed in zip(computed, real, slack.tolist(), strict=True):
            assert abs(Fraction(one) - other) <= Fraction(allowed)


def test_cancellation_in_one_order_needs_most_of_the_slack() -> None:
    """1 + 2^-24 + … + 2^-24 - 1: small terms are lost one by one, or add up first."""
    count = 64
    weight = [[1.0, *[2.0**-24] * count, -1.0]]
    network = linear(weight + weight, [0.0, 0.0])
    x = torch.ones(1, count + 2)
    slack = float(float32_slack(network, interval_bounds(network, *around(x, 0.0)))[0, 0])
    total = np.float32(0)
    for term in weight[0]:
        total = np.float32(total + np.float32(term))
    error = abs(float(total) - count * 2.0**-24)
    assert error == count * 2.0**-24
    assert error <= slack <= 4 * error


SMOOTH = ("sigmoid 2-3-3-2", "tanh 2-3-3-2", "repeated")


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in SMOOTH])
def test_torch_stays_inside_on_every_kind_of_node(family: str) -> None:
    for seed in range(5):
        network = FAMILIES[family](seed)
        x = torch.rand(64, *network.input_shape, generator=torch.Generator().manual_seed(seed))
        lower = torch.zeros(1, *network.input_shape, dtype=torch.float64)
        slack = float32_slack(network, interval_bounds(network, lower, lower + 1))
        difference = network.to(torch.float32)(x).double() - network(x.double())
        assert bool((difference.abs() <= slack).all())
        assert float(slack.max()) < 1e-3


def test_a_sigmoid_has_no_bound() -> None:
    network = chain(2, 3, 2, function=Sigmoid(), seed=0)
    bounds = interval_bounds(network, *around(torch.rand(1, 2), 0.1))
    assert bool(torch.isinf(float32_slack(network, bounds)).all())


def test_what_may_overflow_has_no_bound() -> None:
    network = linear([[1e38, 1e38], [0.0, 1.0]], [0.0, 0.0])
    x = torch.tensor([[1.0, 1.0]])
    slack = float32_slack(network, interval_bounds(network, *around(x, 0.5)))
    assert torch.isinf(slack).tolist() == [[True, False]]


def test_not_a_number_has_no_bound() -> None:
    network = linear([[1.0], [2.0]], [0.0, 0.0])
    nan = torch.full((1, 1), torch.nan, dtype=torch.float64)
    bounds = [Interval(nan, nan), *interval_bounds(network, nan, nan)[1:]]
    assert bool(torch.isinf(float32_slack(network, bounds)).all())


def test_subnormal_values_that_are_flushed_are_covered() -> None:
    graph = Graph((1,))
    graph.dense(2, torch.tensor([[2.0**-100], [0.0]], dtype=torch.float64), torch.zeros(2).double())
    network = graph.network()
    x = torch.full((1, 1), 2.0**-40)
    slack = float32_slack(network, interval_bounds(network, *around(x, 0.0)))
    assert float(slack[0, 0]) >= 2.0**-140


def test_a_margin_must_exceed_both_slacks() -> None:
    slack = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]], dtype=torch.float64)
    found = margin_slack(slack, torch.tensor([0, 2]))
    assert found.tolist() == pytest.approx([5.0, 6.0])
    assert bool((found >= torch.tensor([5.0, 6.0])).all())
