"""Confidence statements about a count of successes in independent trials.

Each bound is one function of (count, trials, failure_probability). Computed in float64 and moved
to the safe side, so that what is stated holds in real arithmetic.
"""

from math import nextafter

from scipy.special import betainc, betaincinv

_MARGIN = 1e-6
"""Relative room left to the incomplete beta function, whose error stays below 1e-10."""


def upper_tail(count: int, trials: int, probability: float) -> float:
    """P[Binomial(trials, probability) >= count], by the incomplete beta function."""
    if count <= 0:
        return 1.0
    return float(betainc(count, trials - count + 1, probability))


def clopper_pearson_lower(count: int, trials: int, failure_probability: float) -> float:
    """One-sided lower confidence bound of the probability of a success.

    Whatever the true probability p is, the bound exceeds p with probability at most
    `failure_probability` (Clopper and Pearson, Biometrika 1934): it is the p at which `count` or
    more successes would be that unlikely, here stepped down until that surely holds.

    Raises:
        ValueError: a count that is no count of `trials`, or a probability outside (0, 1).
    """
    check_trials(count, trials, failure_probability)
    if count == 0:
        return 0.0
    allowed = failure_probability * (1 - _MARGIN)
    bound = float(betaincinv(count, trials - count + 1, allowed))
    step = 1e-12
    while not upper_tail(count, trials, bound) <= allowed:
        bound, step = bound * (1 - step), 2 * step
        if step > 1:
            return 0.0
    return bound


def clopper_pearson_upper(count: int, trials: int, failure_probability: float) -> float:
    """One-sided upper confidence bound of the probability of a success.

    Whatever the true probability p is, the bound is below p with probability at most
    `failure_probability`: one minus the lower bound of a failure, rounded up.

    Raises:
        ValueError: a count that is no count of `trials`, or a probability outside (0, 1).
    """
    check_trials(count, trials, failure_probability)
    lower = clopper_pearson_lower(trials - count, trials, failure_probability)
    upper = 1.0 - lower
    return upper if lower >= 0.5 or upper == 1.0 else min(1.0, nextafter(upper, 2.0))


def sign_test(larger: int, smaller: int) -> float:
    """Two-sided p-value of `larger` against `smaller` under equal chances (exact binomial test)."""
    if larger < smaller:
        raise ValueError(f"{larger} is not the larger of {larger} and {smaller}.")
    return min(1.0, 2 * upper_tail(larger, larger + smaller, 0.5))


def check_trials(count: int, trials: int, failure_probability: float) -> None:
    """Refuse what is no count or no probability."""
    if trials < 1 or not 0 <= count <= trials:
        raise ValueError(f"{count} is not a number of successes in {trials} trials.")
    if not 0 < failure_probability < 1:
        raise ValueError(f"A failure probability lies in (0, 1), not {failure_probability}.")
