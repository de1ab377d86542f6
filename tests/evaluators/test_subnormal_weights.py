"""Weights that are nearly nothing, as training leaves, cost searches no time, and no verdict."""

from fractions import Fraction

import pytest
import torch

from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.network.affine import AffineMap
from evaluators.network.network import Network
from evaluators.numerics.single import LEAST, for_search
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.networks import Graph


def network(small: float) -> Network:
    """Two hidden layers, four in ten of whose weights have been multiplied by this."""
    random = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=random).float().double()
        return torch.where(torch.rand(shape, generator=random) < 0.4, values * small, values)

    graph = Graph((1, 3, 4))
    graph.flatten()
    for width in (12, 16):
        graph.dense(16, draw(16, width), draw(16))
        graph.relu()
    graph.dense(3, draw(3, 16), draw(3))
    return graph.network()


def weights(net: Network) -> list[torch.Tensor]:
    return [
        node.operation.weight
        for node in net.nodes
        if isinstance(node.operation, AffineMap) and hasattr(node.operation, "weight")
    ]


@pytest.mark.parametrize("value", [1.0, LEAST, -LEAST, float("inf"), float("nan"), 0.0])
def test_usual_numbers_are_the_nearest_in_float32(value: float) -> None:
    values = torch.tensor([value, 1 / 3], dtype=torch.float64)
    assert torch.equal(for_search(values).nan_to_num(7), values.float().nan_to_num(7))


def test_what_is_nearly_nothing_is_left_out() -> None:
    values = torch.tensor([LEAST / 2, -LEAST / 2, 1e-40, -1e-300, 1.0], dtype=torch.float64)
    assert for_search(values).tolist() == [0, 0, 0, 0, 1]


def test_searches_have_none_of_them_and_the_network_itself_has_all() -> None:
    net = network(1e-40)
    assert all(((w != 0) & (w.abs() < LEAST)).any() for w in weights(net.to(torch.float32)))
    assert not any(((w != 0) & (w.abs() < LEAST)).any() for w in weights(net.for_search()))
    assert net.for_search() is net.for_search()
    assert net.to(torch.float32) is not net.for_search()


@pytest.mark.parametrize("radius", ["0.01", "0.05", "0.2"])
def test_verdicts_are_those_of_the_network_without_them(radius: str) -> None:
    x = torch.rand((20, 1, 3, 4), generator=torch.Generator().manual_seed(1))
    found = []
    for small in (1e-40, 0.0):
        net = network(small)
        labels = net(x.double()).argmax(1)
        problem = Problem(net, x, labels, Ball(Norm.LINF, Fraction(radius)), seconds=20.0)
        found.append([verdict.status for verdict in BranchAndBound()(problem)])
    assert found[0] == found[1]
    assert radius != "0.01" or Status.CERTIFIED in found[0]
