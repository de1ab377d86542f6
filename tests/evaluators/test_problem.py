"""Regions in exact arithmetic, and questions that make sense."""

import math
from fractions import Fraction
from math import ceil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from tests.fixtures.tiny import FAMILIES

RADIUS = Fraction(8, 255)


def floats(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def neighbours(target: Fraction) -> tuple[float, float]:
    """The float32 at or below a fraction, and the next one above."""
    value = torch.tensor(float(target), dtype=torch.float32)
    while Fraction(float(value)) > target:
        value = torch.nextafter(value, torch.tensor(-math.inf))
    while Fraction(float(torch.nextafter(value, torch.tensor(math.inf)))) <= target:
        value = torch.nextafter(value, torch.tensor(math.inf))
    return float(value), float(torch.nextafter(value, torch.tensor(math.inf)))


@pytest.mark.parametrize("pixel", [0, 1, 8, 100, 127, 128, 200, 246])
@pytest.mark.parametrize("norm", list(Norm))
def test_the_boundary_is_decided_exactly(pixel: int, norm: Norm) -> None:
    x = floats(pixel / 255, 0.5)
    last, first = neighbours(Fraction(float(x[0])) + RADIUS)
    ball = Ball(norm, RADIUS)
    assert ball.contains(x, floats(last, 0.5))
    assert not ball.contains(x, floats(first, 0.5))


@pytest.mark.parametrize("labels", [[[0, 1]], [[1]], [1.0]])
def test_labels_are_one_whole_number_for_each_example(labels: list[object]) -> None:
    network = FAMILIES["relu 2-3-2"](0)
    problem = Problem(
        network, torch.zeros(1, *network.input_shape), torch.zeros(1).long(), Ball(Norm.L2, RADIUS)
    )
    object.__setattr__(problem, "labels", torch.tensor(labels))
    with pytest.raises(ValueError, match="one whole number for each example"):
        problem.__post_init__()


def test_a_float_radius_is_not_the_fraction() -> None:
    """From 0, the float32 next to 8/255 is one above it, and outside."""
    value = float(torch.tensor(8 / 255, dtype=torch.float32))
    assert Fraction(value) > RADIUS
    assert not Ball(Norm.LINF, RADIUS).contains(floats(0.0), floats(value))


def test_distances_add_up_by_norm() -> None:
    x, point = floats(0.0, 0.0), floats(0.375, 0.5)
    assert Ball(Norm.LINF, Fraction(1, 2)).contains(x, point)
    assert not Ball(Norm.LINF, Fraction(1, 2) - Fraction(1, 10**40)).contains(x, point)
    assert Ball(Norm.L2, Fraction(5, 8)).contains(x, point)
    assert not Ball(Norm.L2, Fraction(5, 8) - Fraction(1, 10**40)).contains(x, point)
    assert Ball(Norm.L1, Fraction(7, 8)).contains(x, point)
    assert not Ball(Norm.L1, Fraction(7, 8) - Fraction(1, 10**40)).contains(x, point)


@pytest.mark.parametrize("value", [-1e-7, 1.0000001, math.nan, math.inf])
def test_points_beyond_the_pixel_range_are_outside(value: float) -> None:
    assert not Ball(Norm.LINF, Fraction(2)).contains(floats(0.5), floats(value))


@given(
    st.floats(0, 1, width=32),
    st.fractions(min_value=Fraction(1, 10**6), max_value=2, max_denominator=10**6),
    st.sampled_from(list(Norm)),
)
def test_the_hull_contains_the_region(x: float, radius: Fraction, norm: Norm) -> None:
    lower, upper = Ball(norm, radius).hull(floats(x)[None])
    assert Fraction(float(lower)) <= max(Fraction(x) - radius, Fraction(0))
    assert Fraction(float(upper)) >= min(Fraction(x) + radius, Fraction(1))
    assert 0 <= float(lower) <= float(upper) <= 1
    assert float(upper - lower) <= 2 * float(radius) * (1 + 1e-9) + 1e-15


@pytest.mark.parametrize("pixel", range(1, 255, 7))
def test_the_hull_is_outward_where_the_difference_cancels(pixel: int) -> None:
    """x - radius is exact and tiny: only the radius itself can be rounded the wrong way."""
    radius, x = Fraction(pixel, 255), floats(pixel / 255)
    lower, upper = Ball(Norm.LINF, radius, -9.0, 9.0).hull(x[None])
    assert Fraction(float(lower)) <= Fraction(float(x)) - radius
    lower, upper = Ball(Norm.LINF, radius, -9.0, 9.0).hull(-x[None])
    assert Fraction(float(upper)) >= radius - Fraction(float(x))


def test_the_hull_is_float64() -> None:
    lower, upper = Ball(Norm.L2, RADIUS).hull(floats(0.5)[None])
    assert lower.dtype is upper.dtype is torch.float64


def test_centers_outside_are_noticed() -> None:
    x = torch.tensor([[0.0, 1.0], [-0.1, 0.5], [math.nan, 0.5], [0.5, math.inf]])
    assert Ball(Norm.L1, RADIUS).holds_centers(x).tolist() == [True, False, False, False]


@pytest.mark.parametrize("radius", [Fraction(0), Fraction(-1)])
def test_a_radius_is_positive(radius: Fraction) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Ball(Norm.LINF, radius)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.0, 0.0), (math.nan, 1.0)])
def test_a_pixel_range_is_not_empty(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low < high"):
        Ball(Norm.LINF, RADIUS, low, high)


@pytest.mark.parametrize(
    ("shape", "labels", "examples"),
    [
        ((2, 3), [0, 1], ()),
        ((2, 2), [0], ()),
        ((2, 2), [0, 2], ()),
        ((2, 2), [0, -1], ()),
        ((2, 2), [0, 1], (5,)),
    ],
)
def test_questions_that_do_not_fit_are_refused(
    shape: tuple[int, int], labels: list[int], examples: tuple[int, ...]
) -> None:
    network = FAMILIES["relu 2-3-2"](0)
    with pytest.raises((ValueError, TypeError)):  # the latter from the types executed in tests
        Problem(
            network,
            torch.zeros(shape),
            torch.tensor(labels),
            Ball(Norm.LINF, RADIUS),
            examples=examples,
        )


def test_a_selection_keeps_what_belongs_together() -> None:
    network = FAMILIES["relu 2-3-2"](0)
    x, labels = torch.rand(3, 2), torch.tensor([0, 1, 1])
    problem = Problem(network, x, labels, Ball(Norm.LINF, RADIUS), examples=(7, 8, 9))
    part = problem.select([2, 0])
    assert part.examples == (9, 7)
    assert part.labels.tolist() == [1, 0]
    assert torch.equal(part.x, x[[2, 0]])
    assert len(part) == 2


def smallest(ball: Ball, x: Tensor, point: Tensor, grid: int) -> int:
    """Among the radii of k/grid of the ball's."""
    return ball.smallest(
        x, point, lambda k: ball.radius * k / grid, lambda r: ceil(r * grid / ball.radius)
    )


@pytest.mark.parametrize("norm", list(Norm))
def test_the_smallest_ball_that_holds_a_point_is_found_exactly(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(7)
    x = torch.full((1, 2, 3), 0.5)
    ball = Ball(norm, Fraction(1, 3))
    for _ in range(20):
        point = x + (torch.rand(x.shape, generator=generator) - 0.5) * 0.1
        k = smallest(ball, x, point, 64)
        held = [Ball(norm, ball.radius * j / 64).contains(x, point) for j in range(1, 65)]
        assert held == [j >= k for j in range(1, 65)]


def test_a_point_on_a_sphere_lies_in_its_ball_and_in_no_smaller_one() -> None:
    x, point = torch.zeros(1, 1, 2), torch.tensor([[[0.375, 0.5]]])
    ends = {Norm.LINF: 4, Norm.L2: 5, Norm.L1: 7}
    assert {norm: smallest(Ball(norm, Fraction(1)), x, point, 8) for norm in Norm} == ends
    assert smallest(Ball(Norm.L2, Fraction(5, 8)), x, point, 8) == 8
    assert smallest(Ball(Norm.L2, Fraction(1, 8)), x, point, 8) == 8
    assert smallest(Ball(Norm.L2, Fraction(1)), x, x, 8) == 1
