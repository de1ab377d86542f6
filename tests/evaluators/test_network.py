"""The canonical graph runs as its nodes say."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evaluators.network.affine import Reshape
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Input, MaxPool, Network, Node, Sum
from tests.fixtures.networks import Graph, of_every_kind
from tests.fixtures.tiny import FAMILIES


def test_a_network_by_hand() -> None:
    """relu([x - y, y - x]) + [x, y] at (1, 3): [0, 2] + [1, 3] = [1, 5]."""
    graph = Graph((2,))
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.zeros(2, dtype=torch.float64))
    graph.sum(0, graph.relu())
    x = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert graph.network()(x).tolist() == [[1.0, 5.0]]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_independent(family: str) -> None:
    network = FAMILIES[family](3)
    x = torch.rand(5, *network.input_shape, dtype=torch.float64)
    alone = torch.cat([network(row[None]) for row in x])
    assert torch.allclose(network(x), alone, rtol=1e-12)
    assert network(x).shape == (5, network.classes)


def test_values_are_dropped_only_after_their_last_reader() -> None:
    network = of_every_kind()
    for position, node in enumerate(network.nodes):
        for parent in node.parents:
            assert network.last_use[parent] >= position


def test_copies_in_inference_mode_can_be_differentiated() -> None:
    """Attacks use the copy that a prediction made."""
    network = FAMILIES["relu 2-3-2"](0)
    with torch.inference_mode():
        network.to(torch.float32)(torch.rand(1, 2))
    x = torch.rand(1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.to(torch.float32)(x).sum(), x)
    assert gradient.shape == (1, 2)


def test_copies_are_made_once_and_leave_the_original() -> None:
    network = FAMILIES["relu 2-3-2"](0)
    copy = network.to(torch.float32)
    assert copy is network.to(torch.float32, "cpu")
    assert copy(torch.rand(1, 2)).dtype is torch.float32
    assert network(torch.rand(1, 2).double()).dtype is torch.float64


Recipe = Callable[[], MaxPool]
"""Makes a pool; drawn instead of it, for the type checks of its making draw random numbers."""


@st.composite
def pools(draw: st.DrawFn) -> Recipe:
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
    fits = (size + 2 * pad >= k for size, pad, k in zip(shape[1:], padding, kernel, strict=True))
    assume(all(fits))
    return partial(MaxPool, shape, kernel, stride, padding, draw(st.booleans()))


@given(pools(), st.integers(0, 99))
@settings(deadline=None)
def test_windows_are_those_that_pooling_sees(recipe: Recipe, seed: int) -> None:
    pool = recipe()
    x = torch.rand(2, *pool.input_shape, generator=torch.Generator().manual_seed(seed))
    seen = F.pad(x.flatten(1), (0, 1), value=-torch.inf)[:, pool.windows]
    assert torch.equal(seen.amax(2).reshape(2, *pool.output_shape), pool(x))


@pytest.mark.parametrize(
    "nodes",
    [
        (),
        (Node("no input", LeakyReLU(), (), (2,)),),
        (Node("input", Input(), (), (2,)), Node("sum", Sum(), (0, 2), (2,))),
        (Node("input", Input(), (), (2,)), Node("self", LeakyReLU(), (1,), (2,))),
        (
            Node("input", Input(), (), (2,)),
            Node("logits", Reshape((2,), (1, 2), None), (0,), (1, 2)),
        ),
    ],
)
def test_a_graph_that_cannot_run_is_refused(nodes: tuple[Node, ...]) -> None:
    with pytest.raises(ValueError, match=r"\."):
        Network(nodes)


def test_parameters_are_counted() -> None:
    assert FAMILIES["relu 2-3-2"](0).parameters == 2 * 3 + 3 + 3 * 2 + 2
