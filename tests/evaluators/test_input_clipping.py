"""What is cut from boxes of inputs has no counterexample."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.branching.input_clipping import KEPT, clipped, margin_planes
from evaluators.branching.input_splitting import InputSearch, Parts
from evaluators.network.constraint import Constraint
from evaluators.network.network import Network
from evaluators.network.specification import specified
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.backward import Planes
from evaluators.propagation.linear_bounds import linear_relaxation
from evaluators.question.problem import Problem
from evaluators.question.region import Box
from tests.fixtures.networks import Graph

SLOPES = st.sampled_from([0.0, 1.0, -1.0, 3.0, -1e-3, 1e8, 1e-300, float("nan")])


def _value(slopes: Tensor, constant: float, point: Tensor) -> Fraction:
    pairs = zip(slopes.tolist(), point.tolist(), strict=True)
    return sum((Fraction(slope) * Fraction(x) for slope, x in pairs), Fraction(constant))


def _least(slopes: Tensor, constant: float, lower: Tensor, upper: Tensor) -> float:
    """A plane's least value over a box, rounded down."""
    exact = _value(slopes, constant, torch.where(slopes > 0, lower, upper))
    value = torch.tensor(float(exact), dtype=torch.float64)
    return float(torch.nextafter(value, value.new_tensor(-torch.inf)))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(SLOPES, min_size=3, max_size=3), min_size=4, max_size=4),
    st.lists(st.floats(-4, 4), min_size=4, max_size=4),
    st.integers(0, 2**20),
)
def test_no_point_is_cut_where_all_planes_of_an_open_margin_are_at_most_zero(
    slopes: list[list[float]], constants: list[float], seed: int
) -> None:
    """Two margins of two planes each; in exact arithmetic, at the corners and inside."""
    generator = torch.Generator().manual_seed(seed)
    lower = torch.rand(1, 3, generator=generator, dtype=torch.float64) * 2 - 1
    upper = lower + torch.rand(1, 3, generator=generator, dtype=torch.float64)
    rows = torch.tensor(slopes, dtype=torch.float64)
    least = torch.tensor(
        [
            float("nan") if bool(row.isnan().any()) else _least(row, constant, lower[0], upper[0])
            for row, constant in zip(rows, constants, strict=True)
        ],
        dtype=torch.float64,
    )
    planes = Planes(rows.reshape(1, 2, 2, 3), least.reshape(1, 2, 2))
    low, high = clipped(lower, upper, planes, torch.ones(1, 2, dtype=torch.bool))
    shares = torch.rand(40, 3, generator=generator, dtype=torch.float64)
    shares[20:] = shares[20:].round()
    for point in torch.minimum(lower + shares * (upper - lower), upper):
        signs = [
            bool(row.isnan().any()) or _value(row, constant, point) <= 0
            for row, constant in zip(rows, constants, strict=True)
        ]
        if (signs[0] and signs[1]) or (signs[2] and signs[3]):
            assert bool(((point >= low[0]) & (point <= high[0])).all())


def test_a_box_is_cut_to_the_half_spaces_of_all_planes() -> None:
    """By x + y <= 1 and x >= 1/2 in [0, 1]^2: to [1/2, 1] by [0, 1/2]."""
    ends = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    slopes = torch.tensor([[1.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    least = torch.tensor([-1.0, -0.5], dtype=torch.float64)
    planes = Planes(slopes[None, None], least[None, None])
    low, high = clipped(*ends, planes, torch.ones(1, 1, dtype=torch.bool))
    assert low[0].tolist() == pytest.approx([0.5, 0.0])
    assert high[0].tolist() == pytest.approx([1.0, 0.5])


def _network(count: int) -> Network:
    graph = Graph((2,))
    graph.dense(6)
    graph.relu()
    graph.dense(count)
    return graph.network()


def _problem(count: int) -> Problem:
    """Whether not all of a network's first outputs can be at most zero together."""
    network = _network(count)
    rows = [Constraint({index: Fraction(1)}, Fraction(0)) for index in range(count)]
    ends = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    label = torch.zeros(1, dtype=torch.long)
    return Problem(specified(network, [rows]), torch.zeros(1, 2), label, Box(ends[:1], ends[1:]))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_each_plane_of_a_largest_row_is_below_that_row(count: int) -> None:
    problem = _problem(count)
    planes = margin_planes(linear_relaxation(problem), problem.labels)
    assert planes.least.shape == (1, 1, {1: 1, 2: 2, 3: 4, 4: 4}[count])
    points = torch.rand(500, 2, dtype=torch.float64) * 2 - 1
    rows = _network(count)(points)
    slopes, least = planes.slopes[0, 0], planes.least[0, 0]
    values = points @ slopes.T + least + slopes.abs().sum(1)
    below = (values[..., None] <= rows[:, None] + 1e-9).all(0)
    assert bool(below.any(1).all())
    assert bool(below.any(0).all())


def test_what_was_cut_away_is_proved_of_all_margins_only_as_far_as_it_is() -> None:
    problem = _problem(1)
    search = InputSearch(problem, Deadline(20.0), lambda _: None)
    parts = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    bounds = torch.tensor([[-1.0], [2.0]], dtype=torch.float64)
    before = Parts(parts, parts + 1, {})
    whole = search._settle(before, parts, parts + 1, bounds)
    assert whole.tolist() == [torch.inf]
    cut = search._settle(before, parts, parts + torch.tensor([[0.5, 1.0], [1.0, 1.0]]), bounds)
    assert cut.tolist() == [KEPT]
