"""The bounds of the recheck, held to closed forms and to enumeration; never to the evaluators'."""

from itertools import product
from math import comb

import pytest
from mpmath import mpf

from leaderboard.recheck.bounds import (
    anytime_lower_bound,
    binomial_tail,
    lower_bound,
)


def tail(count: int, trials: int, p: float) -> float:
    return sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(count, trials + 1))


@pytest.mark.parametrize(("count", "trials", "p"), [(7, 10, 0.3), (1, 1, 0.5), (90, 100, 0.85)])
def test_the_tail_is_the_sum_of_binomial_terms(count: int, trials: int, p: float) -> None:
    found, first = binomial_tail(count, trials, mpf(p))
    assert float(found) == pytest.approx(tail(count, trials, p), rel=1e-12)
    assert float(first) == pytest.approx(
        comb(trials, count) * p**count * (1 - p) ** (trials - count)
    )


@pytest.mark.parametrize("trials", [1, 2, 10, 1000])
def test_when_all_agree_the_bound_is_a_root(trials: int) -> None:
    expected = 0.001 ** (1 / trials)
    assert float(lower_bound(trials, trials, mpf("0.001"))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("count", "trials"), [(1, 10), (7, 10), (99, 100), (60, 100), (9947, 10_000)]
)
def test_at_the_bound_the_count_is_as_unlikely_as_stated(count: int, trials: int) -> None:
    bound = lower_bound(count, trials, mpf("0.001"))
    assert 0 < bound < mpf(count) / trials
    assert float(binomial_tail(count, trials, bound)[0]) == pytest.approx(0.001, rel=1e-9)


def test_nothing_counted_bounds_nothing() -> None:
    assert lower_bound(0, 10, mpf("0.001")) == 0
    assert anytime_lower_bound(0, 10, mpf("0.001"), mpf("0.5")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("above", ["0", "0.6"])
@pytest.mark.parametrize("p", [0.3, 0.7])
def test_an_anytime_bound_is_passed_at_any_time_no_more_often_than_stated(
    above: str, p: float
) -> None:
    """All 2^12 sequences of twelve trials, by their probability."""
    length, failure = 12, mpf("0.2")
    wrong = 0.0
    for sequence in product((0, 1), repeat=length):
        won, ever = 0, False
        for drawn, success in enumerate(sequence, start=1):
            won += success
            ever = ever or anytime_lower_bound(won, drawn, failure, mpf(above)) > p
        wrong += ever * p ** sum(sequence) * (1 - p) ** (length - sum(sequence))
    assert wrong <= 0.2
    assert p < 0.5 or wrong > 0.005
