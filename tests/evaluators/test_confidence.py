"""Confidence bounds hold in real arithmetic and are as tight as floating point allows."""

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.smoothing.confidence import (
    clopper_pearson_lower,
    upper_tail,
)

COUNTS = [
    (count, trials)
    for trials in (1, 2, 10, 100, 1_000, 100_000)
    for count in sorted({1, trials // 2 + 1, trials - trials // 7, trials - 1, trials} - {0})
]


def exact_tail(count: int, trials: int, probability: float) -> mpmath.mpf:
    """P[Binomial(trials, probability) >= count] to 30 digits, summed term by term."""
    with mpmath.workdps(40):
        p = mpmath.mpf(probability)
        term = mpmath.binomial(trials, count) * p**count * (1 - p) ** (trials - count)
        total, k = term, count
        while k < trials and term > total * mpmath.mpf("1e-35"):
            term *= mpmath.mpf(trials - k) / (k + 1) * p / (1 - p)
            total, k = total + term, k + 1
        return total


@pytest.mark.parametrize("failure_probability", [0.5, 0.001, 1e-9, 1e-200])
@pytest.mark.parametrize(("count", "trials"), COUNTS)
def test_the_bound_satisfies_its_tail_inequality_to_30_digits_and_is_tight(
    count: int, trials: int, failure_probability: float
) -> None:
    bound = clopper_pearson_lower(count, trials, failure_probability)
    tail = exact_tail(count, trials, bound)
    assert tail <= mpmath.mpf(failure_probability)
    assert tail >= mpmath.mpf(failure_probability) * (1 - 1e-5)


def test_no_success_at_all_is_always_reached() -> None:
    assert upper_tail(0, 12, 0.3) == 1


def test_all_successes_give_the_root_of_the_failure_probability() -> None:
    assert clopper_pearson_lower(100, 100, 0.001) == pytest.approx(0.001 ** (1 / 100), rel=1e-6)


def test_no_success_bounds_nothing() -> None:
    assert clopper_pearson_lower(0, 100, 0.001) == 0


@given(st.integers(0, 400), st.integers(1, 400), st.floats(1e-12, 0.5))
def test_more_successes_and_more_doubt_allowed_raise_the_bound(
    count: int, trials: int, failure_probability: float
) -> None:
    count = min(count, trials - 1)
    bound = clopper_pearson_lower(count, trials, failure_probability)
    assert 0 <= bound <= count / trials or count == 0
    assert clopper_pearson_lower(count + 1, trials, failure_probability) > bound
    assert clopper_pearson_lower(count, trials, failure_probability * 1.01) >= bound


@pytest.mark.parametrize(
    ("count", "trials", "failure_probability"),
    [
        (-1, 10, 0.1),
        (11, 10, 0.1),
        (0, 0, 0.1),
        (5, 10, 0.0),
        (5, 10, 1.0),
        (5, 10, float("nan")),
        (962, 1000, 1e-295),  # of which SciPy has 0 where it is 6e-263
    ],
)
def test_what_is_no_count_or_no_probability_is_refused(
    count: int, trials: int, failure_probability: float
) -> None:
    with pytest.raises(ValueError):
        clopper_pearson_lower(count, trials, failure_probability)
