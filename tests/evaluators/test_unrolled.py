"""An unrolled network is the network: its rows and bounds hold at every point, exactly."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.network.affine import Dense, Diagonal
from evaluators.network.elementwise import Elementwise, LeakyReLU, Sigmoid
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.errors import ContradictionError
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Box
from evaluators.unrolled import sparse_rows
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.proof import prove
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Rows, Unrolled
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.effort import examples, only
from tests.fixtures.exact import Vector, fractions
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES
from tests.fixtures.unrolled import (
    PIECEWISE,
    TELLING,
    WITH_SIGMOIDS,
    about,
    around,
    box,
    dot,
    inside,
    node_values,
    wild,
)

NETWORKS = PIECEWISE | WITH_SIGMOIDS
OFF = Fraction(1, 10**12)
"""What libraries' sigmoids may be off; only claims about their inputs are exact."""
WIDE = Box(*(torch.full((1, 2), end, dtype=torch.float64) for end in (-2.0, 2.0)))


@pytest.mark.parametrize("name", PIECEWISE)
def test_claims_leave_room_for_another_order_of_summation(name: str) -> None:
    """The recheck derives them again, and loses other roundings: each by a part in 10^10 at least.

    Here by the proof itself, from the slopes that are kept as evidence.
    """
    problem = replace(about(PIECEWISE[name](0), WIDE), evidence=True)
    found = around(problem)
    for number, layer in enumerate(found.unrolled.layers):
        before, claims = found.unrolled.layers[:number], found.layers[layer.position]
        part = Unrolled(found.unrolled.network, found.unrolled.bounds, before)
        lines = UnitLines.of(before)
        if not before:
            continue
        for row, (entry, sign) in enumerate(zip(claims.rows, claims.signs, strict=True)):
            place = (layer.entries == int(entry)).nonzero()[:, 0]
            if len(place):
                rows, slopes = layer.rows.select(place).times(float(sign)), claims.slopes[[row]]
                (bound,) = prove(part, lines, rows, found.x, found.region, torch.from_numpy(slopes))
                claimed = sign * (claims.lower if sign > 0 else claims.upper)[entry]
                assert float(bound) - claimed >= 1e-10 * (1 + abs(claimed))


def row_values(rows: Rows, columns: Vector) -> Vector:
    weights = [fractions(row) for row in rows.weight]
    biases = fractions(rows.bias)
    return [
        dot(weight, columns[: len(weight)]) + b for weight, b in zip(weights, biases, strict=True)
    ]


def check_at(found: UnrolledProblem, point: Vector, label: int) -> int:
    """That all rows and bounds hold at a point; how many were checked."""
    network = found.unrolled.network
    values, columns, checked = node_values(network, point), list(point), 0
    exact = all(
        isinstance(node.operation, LeakyReLU) or not isinstance(node.operation, Elementwise)
        for node in network.nodes
    )
    slack = Fraction(0) if exact else OFF
    for node, bounds, value in zip(network.nodes, found.unrolled.bounds, values, strict=True):
        for low, high, v in zip(*map(fractions, bounds), value, strict=True):
            assert low - slack <= v <= high + slack, node.name
    for layer in found.unrolled.layers:
        before = values[network.nodes[layer.position].parents[0]]
        entries, lost = layer.entries.tolist(), fractions(layer.rows.lost)
        for entry, row, most in zip(entries, row_values(layer.rows, columns), lost, strict=True):
            assert abs(row - before[entry]) <= most, network.nodes[layer.position].name
            checked += 1
        columns += [values[layer.position][entry] for entry in entries]
    margins = [values[-1][label] - v for i, v in enumerate(values[-1]) if i != label]
    lost = fractions(found.goals.lost)
    for row, margin, most in zip(row_values(found.goals, columns), margins, lost, strict=True):
        assert abs(row - margin) <= most
    return checked


def check(network: Network, region: Box | Ball, seed: int, points: int = 6) -> int:
    generator = torch.Generator().manual_seed(seed)
    problem = about(network, region)
    found = around(problem)
    return sum(check_at(found, point, 0) for point in inside(problem, generator, points))


@pytest.mark.parametrize("name", only(NETWORKS, TELLING))
def test_rows_and_bounds_hold_all_over_a_box(name: str) -> None:
    checked = 0
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        network = NETWORKS[name](seed)
        checked += check(network, box(generator, network), seed)
    assert checked > 10 or name == "linear"


@pytest.mark.parametrize("name", [name for name in PIECEWISE if name != "windowed"])
def test_rows_and_bounds_hold_of_weights_of_wild_magnitudes(name: str) -> None:
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        network = wild(PIECEWISE[name](seed), seed)
        check(network, box(generator, network), seed)


@pytest.mark.parametrize("norm", list(Norm))
def test_rows_and_bounds_hold_all_over_a_ball(norm: Norm) -> None:
    for name in ("relu 2-4-4-3", "read twice", "skipped"):
        network = PIECEWISE[name](1)
        problem = about(network, Ball(norm, Fraction(1, 2)), torch.tensor([1.0, 0.375]))
        found = around(problem)
        for point in inside(problem, torch.Generator().manual_seed(0), 12):
            check_at(found, point, 0)


def test_convolutions_are_unrolled_too() -> None:
    for seed in range(3):
        network = FAMILIES["convolutional"](seed)
        generator = torch.Generator().manual_seed(seed)
        assert check(network, box(generator, network), seed, points=3)


def test_many_small_shifts_before_a_big_one_are_paid_for() -> None:
    """On the way back the big one comes first, and each of the others is lost beside it."""
    graph = Graph((2,))
    big = 2.0**30
    for _ in range(150):
        shift = torch.tensor([0.4 * big * 2.0**-52, 0.0], dtype=torch.float64)
        graph.add(Diagonal((2,), (2,), shift, None), (2,))
    last = torch.tensor([big, 0.0], dtype=torch.float64)
    graph.add(Diagonal((2,), (2,), last, None), (2,))
    ends = torch.tensor([[0.0, 0.0], [2.0**-40, 2.0**-40]], dtype=torch.float64)
    check(graph.network(), Box(ends[:1], ends[1:]), 0)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=9, max_size=9),
    st.floats(0, 1, width=32),
)
@settings(max_examples=examples(50), deadline=None)
def test_rows_hold_of_any_float32_weights(weights: list[float], leak: float) -> None:
    w = torch.tensor(weights, dtype=torch.float64)
    graph = Graph((1,))
    graph.dense(2, w[:2, None], w[2:4])
    graph.relu(min(leak, 0.9375))
    graph.add(Diagonal((2,), (2,), w[4:6], w[6:8]), (2,))
    graph.relu()
    graph.dense(2, torch.stack((w[:2], w[7:9])), w[4:6])
    ends = torch.tensor([[-0.5], [0.75]], dtype=torch.float64)
    check(graph.network(), Box(ends[:1], ends[1:]), 0, points=3)


def test_dense_and_sparse_rows_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("skipped", "windowed", "residual"):
        network = PIECEWISE[name](0)
        problem = about(network, box(torch.Generator().manual_seed(5), network))
        before = around(problem).goals
        monkeypatch.setattr(sparse_rows, "DENSE", -1.0)
        after = around(problem).goals
        monkeypatch.undo()
        assert torch.allclose(before.weight, after.weight, rtol=1e-12, atol=1e-12)
        assert torch.allclose(before.bias, after.bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", [LeakyReLU(), LeakyReLU(0.125), Sigmoid()], ids=repr)
def test_a_function_of_the_input_is_unstable_there(function: LeakyReLU | Sigmoid) -> None:
    graph = Graph((2,))
    graph.add(function, (2,))
    graph.dense(2, torch.eye(2, dtype=torch.float64))
    ends = torch.tensor([[-1.0, 0.5], [1.0, 0.75]], dtype=torch.float64)
    (layer,) = around(about(graph.network(), Box(ends[:1], ends[1:]))).unrolled.layers
    assert layer.position == 1
    assert layer.entries.tolist() == ([0] if isinstance(function, LeakyReLU) else [0, 1])
    assert layer.lower[0] == -1 == -layer.upper[0]


def test_every_function_of_a_node_has_a_layer_of_its_own() -> None:
    network = PIECEWISE["read twice"](0)
    ends = torch.tensor([[-2.0, -2.0], [2.0, 2.0]], dtype=torch.float64)
    layers = around(about(network, Box(ends[:1], ends[1:]))).unrolled.layers
    same = [layer for layer in layers if network.nodes[layer.position].parents == (1,)]
    assert [layer.position for layer in same] == [2, 5]
    assert torch.equal(same[0].entries, same[1].entries)
    assert torch.equal(same[0].lower, same[1].lower)
    assert [layer.position for layer in layers] == sorted(layer.position for layer in layers)


def test_entries_that_would_be_forgotten_are_refused() -> None:
    """Unstable entries without units would count as zeros."""
    network = PIECEWISE["relu 2-3-2"](0)
    ends = torch.tensor([[-2.0, -2.0], [2.0, 2.0]], dtype=torch.float64)
    unrolled = around(about(network, Box(ends[:1], ends[1:]))).unrolled
    bare = Unrolled(unrolled.network, unrolled.bounds)
    margins = unrolled.express(3, torch.ones(1, 2, dtype=torch.float64).numpy())
    assert len(margins) == 1
    with pytest.raises(ContradictionError, match="Unstable entries of node 'node 2'"):
        bare.express(3, torch.ones(1, 2, dtype=torch.float64).numpy())


def test_a_dead_layer_leaves_no_unit() -> None:
    network = PIECEWISE["dead"](0)
    ends = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    layers = around(about(network, Box(ends[:1], ends[1:]))).unrolled.layers
    assert 2 not in [layer.position for layer in layers]


def test_sigmoids_of_points_are_constants() -> None:
    graph = Graph((2,))
    graph.add(Sigmoid(), (2,))
    graph.add(Dense((2,), (2,), None, torch.eye(2, dtype=torch.float64)), (2,))
    ends = torch.tensor([[0.5, 0.25], [0.5, 1.0]], dtype=torch.float64)
    found = around(about(graph.network(), Box(ends[:1], ends[1:])))
    assert [layer.entries.tolist() for layer in found.unrolled.layers] == [[1]]
    true = float(torch.sigmoid(ends[0, 0]))
    assert abs(float(found.goals.bias[0]) - true) <= float(found.goals.lost[0])
    assert float(found.goals.lost[0]) > 0


def test_neighbourhoods_bound_as_the_whole_does() -> None:
    """A part of the columns gives the same rows, and their values at any point."""
    graph = Graph((1, 6, 6), 3)
    graph.convolution(2, kernel=3, padding=1)
    graph.relu()
    graph.convolution(2, kernel=3, padding=1)
    graph.relu()
    graph.flatten()
    graph.dense(2)
    network = graph.network()
    x = torch.full((1, 6, 6), 0.5)
    found = around(about(network, Ball(Norm.LINF, Fraction(1, 2)), x), 0).unrolled
    first, last = found.layers
    unrolled = Unrolled(found.network, found.bounds, [first])
    rows = last.rows.select(slice(0, 1))
    part = unrolled.around(rows)
    assert 0 < len(part.inputs) < unrolled.inputs
    assert 0 < len(part.units) < len(unrolled.layers[0])
    whole = torch.randn(unrolled.columns, dtype=torch.float64)
    columns = torch.cat((part.inputs, part.units + unrolled.inputs))
    short = whole[columns]
    (small,) = part.unrolled.layers
    kept = torch.isin(first.entries, small.entries)
    for full, cut in ((rows, part.rows), (first.rows.select(kept), small.rows)):
        width = cut.weight.shape[1]
        exact = full.weight @ whole[: full.weight.shape[1]] + full.bias
        assert torch.allclose(cut.weight @ short[:width] + cut.bias, exact, rtol=1e-12)
        assert torch.equal(full.lost, cut.lost)
    assert torch.equal(first.lower[kept], small.lower)


def test_layers_on_which_rows_do_not_depend_are_left_out() -> None:
    network = PIECEWISE["relu 2-4-4-3"](0)
    ends = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    unrolled = around(about(network, Box(ends[:1], ends[1:]))).unrolled
    first, second = unrolled.layers
    weight = torch.zeros(1, unrolled.columns, dtype=torch.float64)
    none = torch.zeros(1, dtype=torch.float64)
    constant = unrolled.around(Rows(weight, none, none))
    assert (len(constant.inputs), len(constant.units), constant.unrolled.layers) == (1, 0, [])
    weight[0, 2] = 1.0
    part = unrolled.around(Rows(weight, none, none))
    assert [len(layer) for layer in part.unrolled.layers] == [1]
    assert len(first) > 1
    assert len(second)


def test_past_the_deadline_nothing_is_unrolled() -> None:
    network = PIECEWISE["relu 2-4-4-3"](0)
    problem = about(network, box(torch.Generator().manual_seed(0), network))
    with pytest.raises(UnrollingError, match="timeout"):
        UnrolledProblem.of(problem, 3, Deadline(0.0))
