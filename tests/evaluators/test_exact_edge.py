"""Edges that are reached exactly: proved where no float32 run goes beyond, and left open else."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto

from evaluators.network.affine import Diagonal
from evaluators.network.constraint import Constraint
from evaluators.network.network import Network
from evaluators.network.specification import Case, ExactBox, Specification
from evaluators.numerics.deadline import Deadline
from evaluators.onnx.operators import OPERATORS
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.onnx.runtime import Runtime
from evaluators.properties.decision import decide
from evaluators.properties.exact_edge import closes
from evaluators.properties.exact_intervals import OPERATORS as EXACT
from evaluators.properties.exact_intervals import intervals, quantum_of
from evaluators.question.verdict import Status
from tests.fixtures.networks import Graph as Layers
from tests.fixtures.onnx_models import model, node

ULP = 2.0**-23
"""Of float32 at one."""
TENTH = float(np.float32(0.1))

Graph = tuple[Sequence[NodeProto], dict[str, Any], Sequence[int]]

RELUS = [node("MatMul", "x A", "m"), node("Relu", "m", "h"), node("MatMul", "h B", "y")]
MATRICES = [node("MatMul", "x A", "m"), node("MatMul", "m B", "y")]


def data_of(graph: Graph) -> bytes:
    nodes, constants, shape = graph
    arrays = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    return bytes(model(nodes, [1, *shape], arrays, output=(1, None)).SerializeToString())


def network_of(graph: Graph) -> Network:
    return import_bytes(data_of(graph), Path("m.onnx"), None, Contract(free=True), "0")


def magnitudes(inputs: int) -> Graph:
    """The sum of |x| over all inputs, of two ReLUs each."""
    both = np.kron(np.eye(inputs), [[1, -1]])
    return RELUS, {"A": both, "B": np.ones((2 * inputs, 1))}, [inputs]


def above(limit: float, strict: bool = True) -> Constraint:
    """The condition y0 > limit (or >=)."""
    return Constraint({0: Fraction(-1)}, Fraction(limit), strict)


def below(limit: float, strict: bool = True) -> Constraint:
    """The condition y0 < limit (or <=)."""
    return Constraint({0: Fraction(1)}, -Fraction(limit), strict)


def case_of(graph: Graph, row: Constraint, low: float = -1.0, high: float = 1.0) -> Case:
    count = int(np.prod(graph[2]))
    box = ExactBox((Fraction(low),) * count, (Fraction(high),) * count)
    return Case(box, ((row,),))


def is_closed(graph: Graph, row: Constraint, low: float = -1.0, high: float = 1.0) -> bool:
    return closes(network_of(graph), case_of(graph, row, low, high), Deadline(60.0))


@cache
def edge(name: str) -> tuple[Network, Graph, Constraint]:
    """One of the edges that are reached, and its network."""
    graph, row = EDGES[name]
    return network_of(graph), graph, row


SQUARE = [node("Mul", "x x", "y")]
CONVOLUTION = [node("Conv", "x K", "c"), node("Abs", "c", "a"), node("Flatten", "a", "y")]
POOLS = [
    node("AveragePool", "x", "p", kernel_shape=[2, 2]), node("Abs", "p", "a"),
    node("Flatten", "a", "y"),
]  # fmt: skip

# Of inputs in [-1, 1].
EDGES: dict[str, tuple[Graph, Constraint]] = {
    "|x|": (magnitudes(1), above(1)),
    "|x| of two": (magnitudes(2), above(2)),
    "|x| of three": (magnitudes(3), above(3)),
    "never below zero": (magnitudes(2), below(0)),
    "Abs": (([node("Abs", "x", "y")], {}, [1]), above(1)),
    "a kink elsewhere": (
        ([node("Sub", "x c", "d"), node("Abs", "d", "y")], {"c": [0.25]}, [1]), above(1.25),
    ),
    "the larger": (([node("ReduceMax", "x", "y", axes=[1])], {}, [2]), above(1)),
    "the smaller": (([node("ReduceMin", "x", "y", axes=[1])], {}, [2]), below(-1)),
    "a clamp": (([node("Clip", "x l u", "y")], {"l": -0.5, "u": 0.75}, [1]), above(0.75)),
    "a slope": (([node("LeakyRelu", "x", "y", alpha=0.25)], {}, [1]), below(-0.25)),
    "a square": ((SQUARE, {}, [1]), above(1)),
    "a weight of many bits": (([node("Gemm", "x A", "y")], {"A": [[TENTH]]}, [1]), above(TENTH)),
    "a convolution": ((CONVOLUTION, {"K": [[[[1, -2], [0.5, 0.25]]]]}, [1, 2, 3]), above(3.75)),
    "a mean": ((POOLS, {}, [1, 2, 2]), above(1)),
    "scaled": (
        (RELUS, {"A": [[TENTH, -TENTH]], "B": [[1], [1]]}, [1]), above(TENTH),
    ),
    "two outputs": (
        (
            [node("Abs", "x", "a"), node("Sub", "c x", "b"), node("Concat", "a b", "y", axis=1)],
            {"c": [[2.0]]}, [1],
        ),
        Constraint({0: Fraction(-1), 1: Fraction(1)}, Fraction(0), True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_that_is_reached_is_not_passed(name: str) -> None:
    network, graph, row = edge(name)
    assert closes(network, case_of(graph, row), Deadline(60.0))


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_that_is_reached_is_met_where_the_condition_is_not_strict(name: str) -> None:
    network, graph, row = edge(name)
    assert not closes(network, case_of(graph, row._replace(strict=False)), Deadline(60.0))


@pytest.mark.parametrize("name", EDGES)
def test_what_is_a_little_within_an_edge_is_passed(name: str) -> None:
    network, graph, row = edge(name)
    row = row._replace(constant=row.constant - Fraction(ULP))
    assert not closes(network, case_of(graph, row), Deadline(60.0))


BITS = 2.0**12 + 1
LEFT_OPEN: dict[str, tuple[Graph, Constraint]] = {
    "weights that cancel": (
        (MATRICES, {"A": [[1 + ULP, -1, 1]], "B": [[1], [1], [1]]}, [1]), above(1 + ULP),
    ),
    "weights that have too many bits together": (
        (MATRICES, {"A": [[BITS]], "B": [[BITS]]}, [1]), above(BITS * BITS),
    ),
    "a scale that is folded into them": (
        ([node("Mul", "x s", "m"), node("MatMul", "m B", "y")], {"s": [BITS], "B": [[BITS]]}, [1]),
        above(BITS * BITS),
    ),
    "a product of subnormal size": (
        (MATRICES, {"A": [[2.0**-70]], "B": [[2.0**-70]]}, [1]), above(2.0**-140),
    ),
    "products of scales of subnormal size alone": (
        ([node("Mul", "x s", "m"), node("Mul", "m s", "n"), node("Mul", "n t", "y")],
         {"s": [2.0**-70], "t": [2.0**39]}, [1]), above(2.0**-101),
    ),
    "a square of subnormal size": (
        ([node("Mul", "x s", "m"), node("Mul", "m m", "y")], {"s": [2.0**-64]}, [1]),
        above(2.0**-128),
    ),
    "a scale of zero, and what overflows before it": (
        ([node("MatMul", "x A", "m"), node("Mul", "m s", "y")], {"A": [[2.0**39]], "s": 0.0}, [1]),
        above(0),
    ),
    "a mean of three": (
        ([node("ReduceMean", "x", "y", axes=[1])], {}, [3]), above(1),
    ),
    "a normalisation whose shift cancels": (
        ([node("BatchNormalization", "x s b m v", "n", epsilon=0.0), node("Flatten", "n", "y")],
         {"s": [1], "b": [2.0**24], "m": [2.0**24], "v": [1]}, [1, 1]), above(1),
    ),
    "a sum that is larger in some order": (
        ([node("MatMul", "x A", "y")], {"A": [[1], [ULP / 2], [ULP / 2], [ULP / 2]]}, [4]),
        above(1 + 1.5 * ULP),
    ),
    "a magnitude of a sum that might be computed twice": (
        ([node("MatMul", "x A", "m"), node("Neg", "m", "n"), node("Relu", "m", "r"),
          node("Mul", "r c", "t"), node("Add", "n t", "y")], {"A": [[1], [1]], "c": 2.0}, [2]),
        above(2),
    ),
    "a sigmoid": (([node("Sigmoid", "x", "s"), node("Sub", "s s", "y")], {}, [1]), above(0)),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OPEN)
def test_what_runs_may_round_is_left_open(name: str) -> None:
    graph, row = LEFT_OPEN[name]
    assert not is_closed(graph, row)


def test_products_of_subnormal_size_before_a_factor_are_left_open() -> None:
    """Where they are flushed, y is 0, and not at least 2^-110."""
    for factor, closed in ((2.0**20, False), (1.0, True)):
        weight = 2.0**-120 if factor > 1 else 2.0**-80
        graph = [node("Gemm", "x A", "y", alpha=factor)], {"A": [[weight]]}, [1]
        row = below(factor * weight * 2.0**-10)
        assert is_closed(graph, row, 2.0**-10, 2.0**-9) is closed


def test_a_bias_that_a_run_rounds_is_left_open() -> None:
    """(1.5 + 2^24) - 2^24 is 2 in float32; in real arithmetic nothing is above 1.5."""
    graph = [node("Add", "x b", "s"), node("Sub", "s b", "y")], {"b": [2.0**24]}, [1]
    ran = Runtime(data_of(graph))(np.array([1.5], np.float32))
    row = above(1.5)
    assert row.holds([Fraction(float(ran.reshape(-1)[0]))])
    layers = Layers((1,))
    for bias in (2.0**24, -(2.0**24)):
        layers.dense(1, torch.ones(1, 1).double(), torch.tensor([bias]).double())
    network = layers.network()
    network.operators = {"Add": frozenset((1,)), "Sub": frozenset((2,))}
    assert not closes(network, case_of(graph, row, high=1.5), Deadline(60.0))


def test_a_constant_that_the_importer_rounded_is_left_open() -> None:
    network = network_of(([node("Mul", "x s", "y")], {"s": [3.0]}, [1]))
    row = above(3)
    assert closes(network, case_of(([], {}, [1]), row), Deadline(60.0))
    (*first, last) = network.nodes
    assert isinstance(last.operation, Diagonal)
    rounded = Network((*first, replace(last, operation=replace(last.operation, roundings=1))))
    rounded.operators = network.operators
    assert not closes(rounded, case_of(([], {}, [1]), row), Deadline(60.0))


def test_only_boxes_of_which_the_proof_holds_have_intervals() -> None:
    """1 + 2^-30 is rounded."""
    network = network_of(([node("Gemm", "x A b", "y")], {"A": [[1]], "b": [1]}, [1]))
    lower = torch.tensor([[0.5], [2.0**-30]]).double()
    least, most = intervals(network, lower, torch.ones(2, 1).double())
    assert least.tolist() == [[1.5], [-float("inf")]]
    assert most.tolist() == [[2.0], [float("inf")]]


def test_what_is_not_exact_is_not_behind_a_relu_either() -> None:
    """x - 2^23·x' is a sum of up to 2^23·x' + 1 quanta, of which a ReLU keeps one."""
    network = network_of((RELUS, {"A": [[1], [-(2.0**23)]], "B": [[1]]}, [2]))
    upper = torch.tensor([[1.0, 1.0], [1.0, 4.0]]).double()
    _, most = intervals(network, torch.zeros(2, 2).double(), upper)
    assert most.tolist() == [[1.0], [float("inf")]]


@pytest.mark.parametrize(("first", "known"), [(2.0**12 + 1, False), (1.0, True)])
def test_what_is_moved_takes_its_magnitude_along(first: float, known: bool) -> None:
    """The second input, of up to 2^12, is moved to the first place and meets its weight there."""
    swapped = [node("Gather", "x i", "g", axis=1), node("MatMul", "g A", "y")]
    weight = np.array([[first], [2.0**12 + 2 - first]], np.float32)
    arrays: dict[str, np.ndarray[Any, Any]] = {"i": np.array([1, 0]), "A": weight}
    data = model(swapped, [1, 2], arrays, output=(1, None)).SerializeToString()
    network = import_bytes(data, Path("m.onnx"), None, Contract(free=True), "0")
    ends = torch.tensor([[0.0, 0.0]]).double(), torch.tensor([[1.0, 2.0**12]]).double()
    _, most = intervals(network, *ends)
    assert bool(most.isfinite().all()) is known


SMALL = Fraction(1, 10**400)
"""Of a factor: zero in float64. Its inverse is beyond float64, too."""


@pytest.mark.parametrize("factor", [SMALL, Fraction(1), 1 / SMALL])
@pytest.mark.parametrize("strict", [True, False])
def test_a_condition_means_the_same_times_any_factor(factor: Fraction, strict: bool) -> None:
    def scaled(row: Constraint) -> Constraint:
        (output, share), *_ = row.coefficients.items()
        return Constraint({output: share * factor}, row.constant * factor, strict)

    assert is_closed(magnitudes(1), scaled(above(1))) is strict
    unknown = LEFT_OPEN["weights that cancel"][0]
    assert not is_closed(unknown, scaled(below(2.0**-40)))


def test_nothing_is_closed_where_huge_factors_leave_no_number() -> None:
    """1e307·(y1 - y0) < 0 for y = (|x|, 2 - x): both sides are infinite in float64, times 100."""
    graph, _ = EDGES["two outputs"]
    huge = Fraction(10) ** 309
    row = Constraint({0: -huge, 1: huge}, Fraction(0), True)
    assert is_closed(graph, row, -1.0, 1.0)
    assert not is_closed(graph, Constraint({0: huge, 1: -huge}, Fraction(0), True))


def test_a_box_of_one_point_of_which_nothing_is_known_is_left_open() -> None:
    graph, row = LEFT_OPEN["a sum that is larger in some order"]
    assert not is_closed(graph, row, 1.0, 1.0)


BEYOND = 1 + Fraction(1, 2**60)


@pytest.mark.parametrize(
    ("lower", "upper", "limit", "closed"),
    [
        (-1, Fraction(1, 10), 1, True),
        (0, Fraction(1, 10), Fraction(1, 10), False),
        (0, BEYOND, 1, False),
    ],
)
def test_an_end_that_is_no_float_is_moved_outward(
    lower: int, upper: Fraction, limit: Fraction | int, closed: bool
) -> None:
    """|x| > 1 on [-1, 0.1] has no solution; |x| > 0.1 on [0, 0.1] has one in float32."""
    network, *_ = edge("|x|")
    row = Constraint({0: Fraction(-1)}, Fraction(limit), True)
    case = Case(ExactBox((Fraction(lower),), (upper,)), ((row,),))
    assert closes(network, case, Deadline(60.0)) is closed


def test_a_network_without_a_file_is_left_open() -> None:
    graph, row = EDGES["|x|"]
    network = Network(network_of(graph).nodes)
    assert not closes(network, case_of(graph, row), Deadline(60.0))


def test_no_time_is_left_open() -> None:
    graph, row = EDGES["Abs"]
    assert not closes(network_of(graph), case_of(graph, row), Deadline(0.0))


@pytest.mark.parametrize("strict", [True, False])
def test_an_edge_decides_a_property_by_its_strictness(strict: bool) -> None:
    graph = magnitudes(2)
    case = case_of(graph, above(2, strict))
    found = decide(
        network_of(graph), Runtime(data_of(graph)), Specification(2, 1, (case,)), Deadline(60.0)
    )
    assert found.status is (Status.CERTIFIED if strict else Status.FALSIFIED)


def test_every_operator_is_one_that_is_read() -> None:
    assert OPERATORS.keys() >= EXACT


@given(st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=1, max_size=4))
def test_a_quantum_divides_all_numbers_and_no_larger_one_does(values: list[float]) -> None:
    quantum = quantum_of(np.array(values))
    if not any(values):
        assert quantum == float("inf")
        return
    shares = [Fraction(value) / Fraction(quantum) for value in values]
    assert all(share.denominator == 1 for share in shares)
    assert any(share.numerator % 2 for share in shares)


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_no_order_of_a_float32_sum_leaves_an_exact_interval(seed: int, bits: int) -> None:
    """Random weights, of two layers; whatever is taken for exact, sums in any order stay within."""
    random = np.random.default_rng(seed)
    shapes = {"A": (3, 4), "B": (4, 2)}
    weights = {
        name: (random.integers(-(2**bits), 2**bits, shape) * 2.0**-bits).astype(np.float32)
        for name, shape in shapes.items()
    }
    network = _two_layers(weights["A"], weights["B"])
    ends = (-np.ones(3), np.ones(3))
    lower, upper = (side.numpy()[0] for side in intervals(network, *map(_row, ends)))
    for _ in range(20):
        near = (1 - random.integers(0, 3, 3) * np.float32(2.0**-24)).astype(np.float32)
        x = near * random.choice([-1, 1], 3).astype(np.float32)
        hidden = np.maximum(_shuffled(x, weights["A"], random), 0)
        y = _shuffled(hidden, weights["B"], random)
        assert (lower <= y).all()
        assert (y <= upper).all()


def _row(values: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(values)[None]


def _two_layers(first: Any, second: Any) -> Network:
    graph = Layers((3,))
    graph.dense(4, torch.from_numpy(first.T).double(), torch.zeros(4).double())
    graph.relu()
    graph.dense(2, torch.from_numpy(second.T).double(), torch.zeros(2).double())
    network = graph.network()
    network.operators = {"Gemm": frozenset((1, 3)), "Relu": frozenset((2,))}
    return network


def _shuffled(x: Any, weight: Any, random: np.random.Generator) -> Any:
    """x W in float32, summed one by one in an order drawn for each entry."""
    sums = []
    for column in weight.T:
        terms = x * column
        total = np.float32(0)
        for place in random.permutation(len(terms)):
            total = np.float32(total + terms[place])
        sums.append(total)
    return np.array(sums, np.float32)
