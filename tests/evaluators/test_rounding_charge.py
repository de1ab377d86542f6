"""Each charge of a backward walk alone covers what rounding loses, in exact arithmetic."""

import math
from fractions import Fraction
from operator import mul

import pytest
import torch
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.network.elementwise import LeakyReLU, Sigmoid
from evaluators.network.network import Network
from evaluators.propagation.backward import Waiting, Walk, lower_bounds
from evaluators.propagation.bounded import Bounded, Replacement, Side
from evaluators.propagation.dense_rows import FEW, DenseRows
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import interval_relaxation
from evaluators.propagation.relaxation import PoolPlanes
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.unrolled.unrolled_network import Unrolled
from tests.fixtures.exact import fractions
from tests.fixtures.networks import Graph

ROWS = 8


class Stub(Bounded):
    """A network whose nodes have bounds, a line and planes of the test's choice."""

    side: Side
    planes: PoolPlanes

    def replace(self, position: int) -> Replacement:
        return Replacement((self.side, self.side), self.side.slope.abs().flatten(1).amax(1))

    def pool_planes(self, position: int) -> PoolPlanes:
        return self.planes


def within(network: Network, largest: float) -> Stub:
    """The network, all its nodes' entries at most so large."""
    ends = [torch.full((1, *node.shape), largest, dtype=torch.float64) for node in network.nodes]
    return Stub(network, [Interval(-end, end) for end in ends])


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def walk_of(stub: Stub) -> Walk[Tensor]:
    carrier = DenseRows(stub.network, torch.tensor([0]))
    return Walk(stub, carrier, torch.zeros(1, ROWS, dtype=torch.float64))


def step(stub: Stub, rows: Tensor) -> Walk[Tensor]:
    """One step of rows from the network's second node."""
    walk = walk_of(stub)
    walk.step(1, Waiting(rows[None]))
    return walk


def exact_sum(a: Tensor, b: Tensor) -> Fraction:
    return sum((x * y for x, y in zip(fractions(a), fractions(b), strict=True)), Fraction(0))


def lost(exact: list[Fraction], computed: Tensor, largest: float) -> Fraction:
    """What the rows' coefficients are off, times values of that size."""
    pairs = zip(exact, fractions(computed), strict=True)
    return Fraction(largest) * sum((abs(a - b) for a, b in pairs), Fraction(0))


def one_layer(inputs: int, weight: Tensor) -> Network:
    graph = Graph((inputs,))
    graph.add(Dense((inputs,), (len(weight),), None, weight), (len(weight),))
    return graph.network()


def test_coefficients_that_underflow_are_paid_for() -> None:
    """Products of 1e-313, times values of 1e200."""
    weight, rows = random(3, 4) * 1e-13, random(ROWS, 3) * 1e-300
    walk = step(within(one_layer(4, weight), 1e200), rows)
    for row in range(ROWS):
        exact = [exact_sum(rows[row], column) for column in weight.T]
        off = lost(exact, walk.waiting[0].rows[0, row], 1e200)
        assert 0 < off <= Fraction(float(walk.slack[0, row]))


def bent() -> Network:
    graph = Graph((5,))
    graph.add(LeakyReLU(0.5), (5,))
    return graph.network()


def test_slopes_under_which_coefficients_underflow_are_paid_for() -> None:
    slopes, rows = random(1, 5) * 1e-13, random(ROWS, 5) * 1e-300
    stub = within(bent(), 1e200)
    stub.side = Side(slopes, torch.zeros(1, 5).double(), torch.zeros(1).double())
    walk = step(stub, rows)
    for row in range(ROWS):
        exact = [a * s for a, s in zip(fractions(rows[row]), fractions(slopes), strict=True)]
        off = lost(exact, walk.waiting[0].rows[0, row], 1e200)
        assert 0 < off <= Fraction(float(walk.slack[0, row]))


def test_products_with_intercepts_that_nearly_cancel_are_paid_for() -> None:
    """Where the sum is small, so is the charge of its addition."""
    stub, seen = within(bent(), 1e-30), 0
    rows = random(ROWS, 5).abs()
    for row in range(ROWS):
        intercept = random(1, 5) + row
        intercept[0, 4] = -(rows[row, :4] @ intercept[0, :4]) / rows[row, 4]
        stub._replacements.clear()
        stub.side = Side(torch.zeros(1, 5).double(), intercept, intercept.abs().amax(1))
        walk = step(stub, rows)
        off = abs(exact_sum(rows[row], intercept[0]) - Fraction(float(walk.constant[0, row])))
        assert off <= Fraction(float(walk.slack[0, row]))
        seen += off > Fraction(abs(float(walk.constant[0, row]))) * Fraction(1, 2**50)
    assert seen


def test_branches_that_meet_are_paid_for() -> None:
    stub = within(bent(), 3.0)
    walk, rows, others = walk_of(stub), random(1, ROWS, 5), random(1, ROWS, 5).exp()
    walk.deposit(0, 1, Waiting(rows))
    walk.deposit(0, 1, Waiting(others))
    for row in range(ROWS):
        pairs = zip(fractions(rows[0, row]), fractions(others[0, row]), strict=True)
        off = lost([a + b for a, b in pairs], walk.waiting[0].rows[0, row], 3.0)
        assert 0 < off <= Fraction(float(walk.slack[0, row]))


@pytest.mark.parametrize("scale", [1.0, 1e-318])
def test_planes_of_pools_are_paid_for(scale: float) -> None:
    """Every entry of a window has a weight, also where products underflow."""
    graph = Graph((1, 4, 4))
    graph.pool()
    graph.flatten()
    largest = 1.0 if scale == 1 else 1e200
    stub = within(graph.network(), largest)
    entry = torch.tensor([[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]])[None]
    weight = random(1, 4, 4).abs().clamp(max=1)
    none = torch.zeros(1, 4).double()
    stub.planes = PoolPlanes(entry, weight, none, weight, none)
    rows = random(ROWS, 1, 2, 2) * scale
    walk = step(stub, rows)
    for row in range(ROWS):
        exact = [Fraction(0)] * 16
        for window, a in enumerate(fractions(rows[row])):
            for at, w in zip(entry[0, window].tolist(), fractions(weight[0, window]), strict=True):
                exact[at] += a * w
        off = lost(exact, walk.waiting[0].rows[0, row], largest)
        assert 0 < off <= Fraction(float(walk.slack[0, row]))


@pytest.mark.parametrize("norm", list(Norm))
def test_the_least_value_over_a_region_is_lowered_by_what_its_sums_lose(norm: Norm) -> None:
    """Rows of the input itself, of which large parts cancel at the example."""
    network, x = one_layer(30, random(2, 30)), random(1, 30).abs()
    region = Ball(norm, Fraction(1, 2**40), -9.0, 9.0)
    problem = Problem(network, x.float(), torch.tensor([0]), region, deployed=False)
    relaxed, checked = interval_relaxation(problem), 0
    rows = torch.randn(1, 200, 30, generator=torch.Generator().manual_seed(2)).double() * 1e6
    rows[..., 29] -= rows @ relaxed.x[0] / relaxed.x[0, 29]
    found = lower_bounds(relaxed, 0, rows, torch.tensor([0]))
    center = fractions(relaxed.x)
    for row, bound in zip(rows[0], found[0].tolist(), strict=True):
        parts = fractions(row)
        middle = sum((a * c for a, c in zip(parts, center, strict=True)), Fraction(0))
        size = max(abs(a) for a in parts)
        shift = {
            Norm.LINF: sum(map(abs, parts), Fraction(0)),
            Norm.L2: Fraction(math.isqrt(int(sum(a * a for a in parts)))),
            Norm.L1: size,
        }[norm]
        assert Fraction(bound) <= middle - region.radius * shift
        checked += 1
    assert checked == 200


@pytest.mark.parametrize("count", [FEW - 1, 2 * FEW])
def test_the_least_value_through_a_matrix_is_lowered_by_what_its_sums_lose(count: int) -> None:
    """At the example everything cancels but what rounding leaves; a third of a row is zero."""
    weight, x = random(12, 20) * 1e6, (random(1, 20) * 64).round() / 64
    graph = Graph((20,))
    graph.add(Dense((20,), (12,), -(weight @ x[0]), weight), (12,))
    region = Ball(Norm.LINF, Fraction(1, 2**10), -9.0, 9.0)
    problem = Problem(graph.network(), x.float(), torch.tensor([0]), region, deployed=False)
    relaxed = interval_relaxation(problem)
    relaxed.bounds[0] = Interval(relaxed.x - 2.0**-10, relaxed.x + 2.0**-10)  # exact
    rows = torch.randn(1, count, 12, generator=torch.Generator().manual_seed(2)).double()
    rows[..., ::3] = 0
    found = lower_bounds(relaxed, 1, rows, torch.tensor([0]))
    columns = [fractions(column) for column in weight.T]
    node = relaxed.network.nodes[1].operation
    assert isinstance(node, Dense)
    assert node.bias is not None
    bias, center = fractions(node.bias), fractions(relaxed.x)
    for row, bound in zip(rows[0], found[0].tolist(), strict=True):
        parts = fractions(row)
        slopes = [sum(map(mul, parts, column), Fraction(0)) for column in columns]
        least = sum(map(mul, parts, bias), Fraction(0)) + sum(map(mul, slopes, center), Fraction(0))
        least -= region.radius * sum(map(abs, slopes), Fraction(0))
        assert least - Fraction(1, 10**5) < Fraction(bound) <= least


class Vague(Sigmoid):
    """A sigmoid whose values nobody knows well."""

    roundings = 2**20


def test_constants_of_the_unrolled_network_are_charged_for_how_well_they_are_known() -> None:
    graph = Graph((1,))
    graph.add(Vague(), (1,))
    point = torch.full((1, 1), 0.5, dtype=torch.float64)
    bounds = [Interval(point, point), Interval(*Vague().bounds(point, point))]
    rows = Unrolled(graph.network(), bounds).express(1, torch.ones(1, 1).double().numpy())
    for end in bounds[1]:
        assert abs(Fraction(float(end)) - Fraction(float(rows.bias))) <= Fraction(float(rows.lost))
    assert float(rows.lost) > 1e-11
