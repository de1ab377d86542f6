"""A counterexample is what was replayed: exact, inside the box, and confirmed twice."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluators.network.constraint import Constraint
from evaluators.network.specification import Case, ExactBox
from evaluators.properties.boxes import float32_between
from evaluators.properties.counterexample import Counterexample, OutputsOf, replay
from leaderboard.vnncomp.counterexample import counterexample_text, decimal


def at_most(limit: Fraction, strict: bool = False) -> Constraint:
    """y0 <= limit."""
    return Constraint({0: Fraction(1)}, -limit, strict)


def asked(lower: str, upper: str, *rows: Constraint) -> Case:
    box = ExactBox((Fraction(lower),), (Fraction(upper),))
    return Case(box, (rows or (at_most(Fraction(9)),),))


def same(x: NDArray[np.float64]) -> Sequence[float]:
    values: list[float] = x.tolist()
    return values


def giving(value: float) -> OutputsOf:
    """A network whose one output is always the same."""
    return lambda _: [value]


def single(value: float) -> NDArray[np.float32]:
    return np.array([value], dtype=np.float32)


def test_an_input_of_the_box_is_taken_as_it_is() -> None:
    found = replay(asked("0", "1"), single(0.1), same, same)
    assert isinstance(found, Counterexample)
    assert found.inputs == (Fraction(float(np.float32(0.1))),)
    assert found.outputs == found.inputs


@pytest.mark.parametrize(
    ("lower", "upper", "value"),
    [("0.1", "1", 0.0), ("-1", "0.1", 1.0), ("0.1", "0.1000001", 0.1), ("-0.3", "-0.1", -0.1)],
)
def test_an_input_beside_the_box_is_moved_to_a_float32_inside(
    lower: str, upper: str, value: float
) -> None:
    """The float32 next to 0.1 lies above it, outside of [-1, 0.1]."""
    found = replay(asked(lower, upper), single(value), same, same)
    assert isinstance(found, Counterexample)
    (x,) = found.inputs
    assert Fraction(lower) <= x <= Fraction(upper)
    assert Fraction(float(np.float32(float(x)))) == x


def test_a_fixed_decimal_is_written_as_it_is_and_run_as_its_float32() -> None:
    seen = []

    def deployed(x: NDArray[np.float64]) -> Sequence[float]:
        seen.append(float(x[0]))
        return [0.0]

    found = replay(asked("0.1", "0.1"), single(0.1), deployed, same)
    assert isinstance(found, Counterexample)
    assert found.inputs == (Fraction(1, 10),)
    assert seen == [float(np.float32(0.1))]


def test_a_range_without_decimal_numbers_is_refused() -> None:
    found = replay(asked("1/3", "1/3"), single(1 / 3), same, same)
    assert found == "an input's range holds no decimal number of float64"


def test_both_arithmetics_must_confirm_the_same_disjunct() -> None:
    low, high = at_most(Fraction(0)), Constraint({0: Fraction(-1)}, Fraction(1))
    case = Case(ExactBox((Fraction(0),), (Fraction(1),)), ((low,), (high,)))
    for deployed, exact, message in (
        (0.0, 0.5, "a candidate is a counterexample in onnxruntime only"),
        (0.5, 0.0, "a candidate is a counterexample in float64 only"),
        (0.5, 0.5, "a candidate is no counterexample in onnxruntime, nor in float64"),
        (0.0, 1.0, "a candidate is a counterexample in onnxruntime only"),
        (np.nan, 0.0, "the outputs are not finite"),
        (0.0, np.inf, "the outputs are not finite"),
    ):
        found = replay(case, single(0.5), giving(deployed), giving(exact))
        assert found == message
    for value in (0.0, 1.0):
        found = replay(case, single(0.5), giving(value), giving(value))
        assert isinstance(found, Counterexample)


def test_equality_meets_a_condition_unless_it_is_strict() -> None:
    limit = Fraction(1, 2)
    assert isinstance(
        replay(asked("0", "1", at_most(limit)), single(0.5), same, same), Counterexample
    )
    strict = asked("0", "1", at_most(limit, strict=True))
    assert isinstance(replay(strict, single(0.5), same, same), str)
    # One step above the limit is not below it, however small the step.
    above = float(np.nextafter(np.float32(0.5), np.float32(1)))
    assert isinstance(replay(asked("0", "1", at_most(limit)), single(above), same, same), str)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_written_numbers_are_exact(value: float) -> None:
    text = decimal(Fraction(value))
    assert Fraction(text) == Fraction(value)
    assert float(text) == value
    assert "e" not in text.lower()


@given(st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=9))
def test_decimals_stay_what_they_were(value: Decimal) -> None:
    assert Fraction(decimal(Fraction(value))) == Fraction(value)


def test_the_format_is_vnncomps() -> None:
    found = Counterexample((Fraction(1, 10), Fraction(-3)), (Fraction(5, 4),))
    assert counterexample_text(found) == "((X_0 0.1)\n (X_1 -3.0)\n (Y_0 1.25))"


@given(st.fractions(-2, 2), st.fractions(0, Fraction(1, 10**6)))
def test_a_float32_between_two_numbers_is_found_if_there_is_one(
    lower: Fraction, width: Fraction
) -> None:
    upper = lower + width
    found = float32_between(lower, upper, (lower + upper) / 2)
    if found is not None:
        assert lower <= Fraction(float(found)) <= upper
    else:
        below = np.float32(float(lower))
        while Fraction(float(below)) >= lower:
            below = np.nextafter(below, np.float32(-np.inf))
        assert Fraction(float(np.nextafter(below, np.float32(np.inf)))) > upper
