"""Bounds that hold at all times: exact arithmetic, and thousands of simulated runs."""

from functools import cache
from math import exp, log

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from evaluators.smoothing.confidence import (
    anytime_lower,
    clopper_pearson_lower,
    log_evidence,
)
from evaluators.smoothing.procedure import VoteTally
from evaluators.smoothing.sequential import Sequential
from tests.evaluators.test_procedures import Simulated, asked, binary, certified, run

RUNS, TRIALS, FAILURE = 1000, 300, 0.1


def exact_mixture(count: int, trials: int, above: float) -> mpmath.mpf:
    """The mixture of likelihoods to 40 digits; failures first, as the other way cancels."""
    rest = 1 - mpmath.mpf(above)
    prior = mpmath.betainc(0.5, 0.5, 0, rest)
    return mpmath.betainc(trials - count + 0.5, count + 0.5, 0, rest) / prior


def exact_evidence(count: int, trials: int, above: float) -> mpmath.mpf:
    """Its logarithm, relative to the likelihood of `above`."""
    with mpmath.workdps(40):
        lowest = mpmath.mpf(above)
        likelihood = lowest**count * (1 - lowest) ** (trials - count)
        return mpmath.log(exact_mixture(count, trials, above)) - mpmath.log(likelihood)


@pytest.mark.parametrize("above", [0.3, 0.5, 0.8413447, 0.99])
@pytest.mark.parametrize(
    ("count", "trials"), [(1, 1), (0, 5), (60, 64), (450, 512), (9_990, 10_000)]
)
def test_the_evidence_is_the_mixture_of_likelihood_ratios(
    count: int, trials: int, above: float
) -> None:
    expected = exact_evidence(count, trials, above)
    assert log_evidence(count, trials, above) == pytest.approx(float(expected), abs=1e-8)


def test_the_evidence_is_a_supermartingale_that_begins_at_one() -> None:
    """One more trial: its expectation is what it was at the edge, and less below."""
    above = 0.8
    assert log_evidence(0, 0, above) == pytest.approx(0, abs=1e-12)
    for count, trials in ((0, 0), (3, 4), (10, 11), (95, 100), (70, 100)):
        now = log_evidence(count, trials, above)
        won = exp(log_evidence(count + 1, trials + 1, above) - now)
        lost = exp(log_evidence(count, trials + 1, above) - now)
        assert above * won + (1 - above) * lost == pytest.approx(1, rel=1e-8)
        assert 0.7 * won + 0.3 * lost < 1


@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from((0.0, 0.5, 0.84, 0.99)))
@settings(deadline=None)
def test_the_bound_is_outweighed_and_a_slightly_higher_one_is_not(
    trials: int, share: float, above: float
) -> None:
    count = round(share * trials)
    lower = anytime_lower(count, trials, 0.001, above)
    assert 0 <= lower <= count / trials
    if lower < 1e-6:
        return
    with mpmath.workdps(40):
        mixed = mpmath.log(exact_mixture(count, trials, above))

        def weighed(q: mpmath.mpf) -> mpmath.mpf:
            return mixed - count * mpmath.log(q) - (trials - count) * mpmath.log(1 - q)

        assert weighed(mpmath.mpf(lower)) >= -mpmath.log(mpmath.mpf("0.001"))
        assert (
            weighed(mpmath.mpf(lower) * (1 + mpmath.mpf("1e-5")))
            <= -mpmath.log(mpmath.mpf("0.001"))
            or lower * (1 + 1e-5) >= count / trials
        )


def test_the_bound_is_tightest_where_the_mixture_lies_and_costs_little_against_fixed_samples() -> (
    None
):
    fixed = clopper_pearson_lower(9_000, 10_000, 0.001)
    anywhere = anytime_lower(9_000, 10_000, 0.001)
    aimed = anytime_lower(9_000, 10_000, 0.001, above=0.88)
    assert anywhere < aimed < fixed
    assert 0.9 - aimed < 1.5 * (0.9 - fixed)


def test_what_no_mixture_supports_bounds_nothing() -> None:
    assert anytime_lower(0, 100, 0.1) == 0
    assert anytime_lower(10, 100_000, 0.1, above=0.9) == 0
    for count, trials, failure, above in ((5, 4, 0.1, 0.0), (1, 2, 0.0, 0.0), (1, 2, 0.1, 1.0)):
        with pytest.raises(ValueError):
            anytime_lower(count, trials, failure, above)


def walks(p: float, seed: int) -> NDArray[np.int64]:
    """Counts of successes after each trial, `[runs, trials]`."""
    drawn = np.random.default_rng(seed).random((RUNS, TRIALS)) < p
    return np.asarray(drawn.cumsum(1), dtype=np.int64)


@pytest.mark.parametrize(
    ("p", "above"), [(0.84, 0.0), (0.84, 0.75), (0.84, 0.84), (0.84, 0.9), (0.3, 0.3), (0.97, 0.84)]
)
def test_looking_after_every_trial_finds_the_bound_wrong_no_more_often_than_allowed(
    p: float, above: float
) -> None:
    @cache
    def wrong(count: int, trials: int) -> bool:
        return anytime_lower(count, trials, FAILURE, above) > p

    runs = walks(p, seed=1)
    # A bound above p needs a share above p: the others need no computing.
    ever = 0
    for walk in runs:
        high = np.flatnonzero(walk > p * np.arange(1, TRIALS + 1))
        ever += any(wrong(int(walk[t]), int(t) + 1) for t in high)
    assert ever <= binom.ppf(1 - 1e-6, RUNS, FAILURE)


def test_the_fixed_bound_is_wrong_more_often_than_allowed_when_looked_at_after_every_trial() -> (
    None
):
    """That the test above can fail: this is what peeking does."""

    @cache
    def wrong(count: int, trials: int) -> bool:
        return clopper_pearson_lower(count, trials, FAILURE) > 0.84

    ever = sum(
        any(wrong(int(c), t) for t, c in enumerate(walk, 1) if c > 0.84 * t)
        for walk in walks(0.84, seed=1)[:300]
    )
    assert ever > binom.ppf(1 - 1e-6, 300, FAILURE)


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.5, 0.83, 0.8413])
def test_examples_that_fall_short_are_certified_no_more_often_than_allowed(p: float) -> None:
    question, failure = asked(), 0.05
    votes = Simulated(binary([p] * 2000), 2000, seed=2, block=100)
    estimates = run(Sequential(100, 2000, failure), votes, question)
    assert all(estimate.prediction == 0 for estimate in estimates) or p < 0.6
    certificates = sum(certified(question, e) and e.prediction == 0 for e in estimates)
    assert certificates <= binom.ppf(1 - 1e-6, 2000, failure)


def test_examples_that_suffice_are_given_up_no_more_often_than_allowed() -> None:
    question, failure = asked(), 0.05
    votes = Simulated(binary([0.8414] * 2000), 2000, seed=3, block=100)
    estimates = run(Sequential(100, 2000, failure), votes, question)
    given_up = sum(bool(estimate.note) for estimate in estimates)
    assert given_up <= binom.ppf(1 - 1e-6, 2000, failure)


@pytest.mark.parametrize("sides", [1, 2])
def test_clear_examples_are_decided_as_by_all_samples_with_a_fifth_of_them(sides: int) -> None:
    question, n = asked(), 20_000
    clear = [0.3, 0.6, 0.75, 0.8, 0.88, 0.9, 0.95, 0.99, 0.999, 1.0]
    rows = [(p, (1 - p) * 0.9, (1 - p) * 0.1) for p in clear]
    votes = Simulated(rows, n, seed=4, block=64)
    estimates = run(Sequential(100, n, 0.001, sides), votes, question)
    answers = [certified(question, estimate) for estimate in estimates]
    # The first one's largest class has 0.63.
    assert answers == [False] * 4 + [True] * 6
    assert sum(estimate.n for estimate in estimates) < n * len(clear) / 5


def test_an_example_that_goes_all_the_way_gets_the_exact_bound_too() -> None:
    question, n = asked(), 3000
    votes = Simulated(binary([0.8413]), n, seed=8)
    (estimate,) = run(Sequential(100, n, 0.01), votes, question)
    assert estimate.n == n
    assert estimate.probabilities.lower == clopper_pearson_lower(estimate.count, n, 0.005)
    assert dict(estimate.statistics) == {"limit": n, "needed": question.needed}


def test_the_bound_that_stops_is_the_bound_that_is_reported() -> None:
    question, n = asked(), 20_000
    (estimate,) = run(Sequential(100, n, 0.001), Simulated(binary([0.95]), n), question)
    assert estimate.n < n / 10
    expected = anytime_lower(estimate.count, estimate.n, 0.0005, question.needed)
    assert estimate.probabilities.lower == expected >= question.needed


def test_evidence_of_failures_is_evidence_against_the_class() -> None:
    procedure, question = Sequential(100, 1000, 0.01), asked()
    tally = VoteTally(0, 60, 200, 120, 80)
    assert procedure.hopeless(tally, question, question.needed, 2)
    assert log_evidence(80, 200, 1 - question.needed) > log(100)
    assert not procedure.hopeless(tally._replace(won=168), question, question.needed, 2)
