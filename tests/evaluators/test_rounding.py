"""Directed rounding against exact fractions."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators.numerics.rounding import UNIT, down, float_above, float_below, gamma, up

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.integers(0, 10**9))
def test_gamma_is_not_below_its_definition(terms: int) -> None:
    unit = Fraction(1, 2**53)
    true = terms * unit / (1 - terms * unit)
    assert true <= Fraction(gamma(terms)) <= true * Fraction(1000001, 1000000)


def test_gamma_refuses_sums_it_cannot_bound() -> None:
    with pytest.raises(ValueError, match="too many"):
        gamma(2**53)


def test_the_unit_is_half_of_epsilon() -> None:
    assert torch.finfo(torch.float64).eps / 2 == UNIT


@given(st.fractions(min_value=0, max_value=10**6))
def test_fractions_are_enclosed_by_their_floats(value: Fraction) -> None:
    below, above = float_below(value), float_above(value)
    assert Fraction(below) <= value <= Fraction(above)
    assert above in (below, math.nextafter(below, math.inf))


@pytest.mark.parametrize("text", ["8/255", "2/255", "0.3", "0.1", "36/255", "1/2"])
def test_radii_are_enclosed(text: str) -> None:
    radius = Fraction(text)
    assert Fraction(float_below(radius)) <= radius <= Fraction(float_above(radius))


@given(finite)
def test_up_and_down_are_the_neighbours(value: float) -> None:
    tensor = torch.tensor(value, dtype=torch.float64)
    assert float(up(tensor)) == math.nextafter(value, math.inf)
    assert float(down(tensor)) == math.nextafter(value, -math.inf)


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=40), st.integers(0, 99))
def test_gamma_bounds_real_dot_products(values: list[float], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.tensor(values, dtype=torch.float64)
    w = torch.randn(len(values), generator=generator, dtype=torch.float64)
    exact = [Fraction(a) * Fraction(b) for a, b in zip(values, w.tolist(), strict=True)]
    error = abs(Fraction(float(w @ x)) - sum(exact))
    assert error <= Fraction(gamma(len(values))) * sum(map(abs, exact)) + Fraction(1e-290)
