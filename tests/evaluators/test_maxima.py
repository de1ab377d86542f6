"""Max-pooling written with ReLUs is the same function, in exact arithmetic."""

from fractions import Fraction

import pytest
import torch

from evaluators.network.affine import Dense, Reshape
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Input, MaxPool, Network, Node
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES
from tests.fixtures.unrolled import node_values

POOLS = [
    MaxPool((2, 4, 4), (2, 2), (2, 2), (0, 0)),
    MaxPool((1, 5, 4), (3, 2), (1, 2), (1, 1)),
    MaxPool((1, 5, 5), (2, 3), (2, 2), (0, 1), ceil=True),
    MaxPool((3, 2, 2), (1, 1), (1, 1), (0, 0)),
    MaxPool((1, 3, 3), (3, 3), (3, 3), (0, 0)),
]


def pooled(pool: MaxPool) -> Network:
    graph = Graph(pool.input_shape)
    graph.add(pool, pool.output_shape)
    graph.flatten()
    return graph.network()


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_the_function_is_exactly_the_same(pool: MaxPool) -> None:
    network = pooled(pool)
    written = without_max_pools(network)
    assert not any(isinstance(node.operation, MaxPool) for node in written.nodes)
    generator = torch.Generator().manual_seed(0)
    for number in range(10):
        x = torch.randn(pool.input_shape, generator=generator, dtype=torch.float64)
        x = x.round() if number % 2 else x * 10.0 ** (number - 5)  # ties, and all sizes
        point = [Fraction(value) for value in x.flatten().tolist()]
        expected = [Fraction(value) for value in network(x[None]).flatten().tolist()]
        assert node_values(written, point)[-1] == node_values(network, point)[-1] == expected


def test_a_whole_batch_is_the_same_in_floats() -> None:
    for seed in range(5):
        network = FAMILIES["pooled"](seed)
        x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(without_max_pools(network)(x), network(x), rtol=1e-12, atol=1e-12)


def test_networks_without_pooling_stay_themselves() -> None:
    network = FAMILIES["residual"](0)
    assert without_max_pools(network) is network


def test_a_network_is_written_once() -> None:
    network = FAMILIES["pooled"](0)
    assert without_max_pools(network) is without_max_pools(network)


def test_nodes_behind_a_pool_keep_their_parents() -> None:
    """Two pools of one node, and a node before them that is read behind them."""
    weight = torch.eye(2, dtype=torch.float64)
    graph = Graph((1, 2, 2))
    first = graph.pool()
    second = graph.add(MaxPool((1, 2, 2), (2, 1), (1, 1), (0, 0)), (1, 1, 2), (0,))
    flat = graph.add(Reshape((1, 1, 2), (2,), None), (2,), (second,))
    graph.add(Dense((2,), (2,), None, weight), (2,), (flat,))
    graph.sum(flat, len(graph.nodes) - 1)
    assert isinstance(graph.nodes[0].operation, Input)
    assert first == 1
    network = graph.network()
    point = [Fraction(v) for v in (3, -1, 2, 5)]
    assert node_values(without_max_pools(network), point)[-1] == [6, 10]


def test_names_say_where_a_node_comes_from() -> None:
    network = pooled(POOLS[0])
    node: Node = without_max_pools(network).nodes[1]
    assert node.name.startswith(network.nodes[1].name)
