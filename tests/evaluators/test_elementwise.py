"""Bounds and bounding lines of every elementwise function, on dense grids."""

import math
from fractions import Fraction

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.network.elementwise import (
    Elementwise,
    LeakyReLU,
    Sigmoid,
    Slopes,
    Tanh,
    elementwise_functions,
)
from tests.fixtures.effort import examples

FUNCTIONS: tuple[Elementwise, ...] = (
    LeakyReLU(),
    LeakyReLU(0.125),
    LeakyReLU(0.99),
    Sigmoid(),
    Tanh(),
)
any_function = st.sampled_from(FUNCTIONS)
wide = st.floats(-1e6, 1e6)
usual = st.floats(-8, 8)
tiny_widths = st.sampled_from([0.0, 5e-324, 1e-300, 1e-16, 1e-8, 1e-3])
TERMS = 40


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float]:
    """Wide and narrow, far and near, straddling zero or not, of one point only."""
    start = draw(st.one_of(usual, wide, st.sampled_from([0.0, -0.0, 745.0, -745.0, 20.0, 5e-324])))
    end = draw(st.one_of(usual, wide, tiny_widths.map(lambda width: start + width)))
    return min(start, end), max(start, end)


def real(function: Elementwise, x: float) -> mpmath.mpf:
    """The function's true value to many digits."""
    with mpmath.workdps(TERMS):
        if isinstance(function, LeakyReLU):
            return mpmath.mpf(x) if x > 0 else mpmath.mpf(function.leak) * mpmath.mpf(x)
        if isinstance(function, Sigmoid):
            return 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
        return mpmath.tanh(mpmath.mpf(x))


def grid(lower: float, upper: float) -> list[float]:
    inner = [lower + (upper - lower) * step / 24 for step in range(25)]
    near = [lower, upper, math.nextafter(lower, math.inf), math.nextafter(upper, -math.inf)]
    points = [*inner, *near, 0.0, 1e-9, -1e-9, 1.0, -1.0]
    return [x for x in points if lower <= x <= upper]


def tensors(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([value], dtype=torch.float64) for value in values)


def test_every_function_is_tested() -> None:
    assert {type(f) for f in FUNCTIONS} == set(elementwise_functions().values())
    assert {f.name for f in FUNCTIONS} == set(elementwise_functions())


@given(any_function, intervals())
@settings(max_examples=examples(300), deadline=None)
@example(Sigmoid(), (-745.0, -700.0))
@example(Tanh(), (19.0, 400.0))
def test_bounds_contain_the_true_values(
    function: Elementwise, interval: tuple[float, float]
) -> None:
    below, above = function.bounds(*tensors(*interval))
    with mpmath.workdps(TERMS):
        for x in grid(*interval):
            assert mpmath.mpf(float(below)) <= real(function, x) <= mpmath.mpf(float(above))


def assert_lines_hold(function: Elementwise, interval: tuple[float, float], slopes: Slopes) -> None:
    lower, upper = tensors(*interval)
    below, above = function.intercepts(slopes, lower, upper)
    assert math.isfinite(float(below))
    assert math.isfinite(float(above))
    with mpmath.workdps(TERMS):
        low_slope, low = (mpmath.mpf(float(part)) for part in (slopes.lower, below))
        high_slope, high = (mpmath.mpf(float(part)) for part in (slopes.upper, above))
        for x in grid(*interval):
            assert low_slope * x + low <= real(function, x) <= high_slope * x + high


@given(any_function, intervals(), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=examples(300), deadline=None)
@example(Sigmoid(), (-3.0, 3.0), 0.25, 0.25)
@example(Tanh(), (-3.0, 3.0), 1.0, math.nextafter(1.0, 0.0))
@example(Sigmoid(), (-40.0, 40.0), 1e-18, 1e-300)
def test_lines_of_any_slope_are_on_their_side(
    function: Elementwise, interval: tuple[float, float], low: float, high: float
) -> None:
    assert_lines_hold(function, interval, Slopes(*tensors(low, high)))


@given(any_function, intervals())
@settings(max_examples=examples(400), deadline=None)
def test_crowns_lines_are_on_their_side(
    function: Elementwise, interval: tuple[float, float]
) -> None:
    assert_lines_hold(function, interval, function.slopes(*tensors(*interval)))


@pytest.mark.parametrize("function", FUNCTIONS, ids=repr)
@pytest.mark.parametrize("interval", [(-2.0, 3.0), (-4.0, 1.0), (0.5, 2.0), (-3.0, -1.0)])
def test_crowns_lines_touch_the_function(
    function: Elementwise, interval: tuple[float, float]
) -> None:
    """A sound line that touches nowhere would be needlessly loose."""
    lower, upper = tensors(*interval)
    slopes = function.slopes(lower, upper)
    below, above = function.intercepts(slopes, lower, upper)
    x = torch.linspace(*interval, 20001, dtype=torch.float64)
    assert float((function(x) - slopes.lower * x - below).min()) < 1e-6
    assert float((slopes.upper * x + above - function(x)).min()) < 1e-6


@pytest.mark.parametrize("function", FUNCTIONS, ids=repr)
def test_slopes_of_a_point_are_usable(function: Elementwise) -> None:
    for x in (-3.0, 0.0, 2.0):
        slopes = function.slopes(*tensors(x, x))
        below, above = function.intercepts(slopes, *tensors(x, x))
        for slope, intercept in zip(slopes, (below, above), strict=True):
            assert float(slope * x + intercept) == pytest.approx(float(real(function, x)), abs=1e-9)


def test_relu_lines_are_the_published_ones() -> None:
    """[-1, 3]: chord 3/4 x + 3/4 above; the steeper side has less area below, so slope 1."""
    slopes = LeakyReLU().slopes(*tensors(-1.0, 3.0))
    assert (float(slopes.lower), float(slopes.upper)) == (1.0, 0.75)
    below, above = LeakyReLU().intercepts(slopes, *tensors(-1.0, 3.0))
    assert float(below) == 0.0
    assert Fraction(3, 4) <= Fraction(float(above)) < Fraction(3, 4) + Fraction(1, 10**12)
    assert float(LeakyReLU().slopes(*tensors(-3.0, 1.0)).lower) == 0.0


@pytest.mark.parametrize("function", [LeakyReLU(), LeakyReLU(0.125)], ids=repr)
def test_decided_neurons_are_passed_on_exactly(function: LeakyReLU) -> None:
    for lower, upper, slope in [(0.0, 2.0, 1.0), (-2.0, 0.0, function.leak)]:
        slopes = function.slopes(*tensors(lower, upper))
        below, above = function.intercepts(slopes, *tensors(lower, upper))
        assert (float(slopes.lower), float(slopes.upper)) == (slope, slope)
        assert (float(below), float(above)) == (0.0, 0.0)
        assert not bool(function.unstable(*tensors(lower, upper)))


@pytest.mark.parametrize("function", [Sigmoid(), Tanh()], ids=repr)
@given(x=st.floats(-30, 30))
def test_derivatives_are_inverted(function: Sigmoid | Tanh, x: float) -> None:
    point = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    function(point).sum().backward()  # type: ignore[no-untyped-call]
    slope = function.derivative(point.detach())
    assert point.grad is not None
    assert float(slope) == pytest.approx(float(point.grad), rel=1e-6, abs=1e-15)
    if 1e-3 < abs(x) < 15:
        assert float(function.inverse_derivative(slope)) == pytest.approx(abs(x), rel=1e-5)


@pytest.mark.parametrize("leak", [-0.1, 1.0, math.nan])
def test_a_leak_is_a_share(leak: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        LeakyReLU(leak)


@pytest.mark.parametrize("function", FUNCTIONS, ids=repr)
def test_what_is_not_a_number_stays_so(function: Elementwise) -> None:
    """NaN must not turn into a bound."""
    nan = tensors(math.nan, 1.0)
    below, above = function.bounds(*nan)
    slopes = function.slopes(*nan)
    low, high = function.intercepts(slopes, *nan)
    assert math.isnan(float(below))
    assert math.isnan(float(slopes.upper + high)) or math.isnan(float(above + below))
    assert math.isnan(float(slopes.lower + low)) or isinstance(function, LeakyReLU)


@pytest.mark.parametrize("function", [Sigmoid(), Tanh()], ids=repr)
@given(st.floats(0.1, 9), st.floats(0.1, 9))
@settings(max_examples=examples(100), deadline=None)
def test_crowns_lines_through_the_far_end_are_the_best_ones(
    function: Elementwise, left: float, right: float
) -> None:
    """No line above f that passes through (l, f(l)) is lower anywhere; below likewise."""
    lower, upper = tensors(-left, right)
    below, above = function.slopes(lower, upper)
    x = torch.linspace(-left, right, 4001, dtype=torch.float64)
    rising = (function(x[1:]) - function(lower)) / (x[1:] - lower)
    falling = (function(upper) - function(x[:-1])) / (upper - x[:-1])
    assert float(above) == pytest.approx(float(rising.max()), rel=1e-4)
    assert float(below) == pytest.approx(float(falling.max()), rel=1e-4)
