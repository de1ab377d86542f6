"""Confidence statements about a count of successes in independent trials.

Each bound is one function of (count, trials, failure_probability). Computed in float64 and moved
to the safe side, so that what is stated holds in real arithmetic.
"""

from math import inf, log, log1p, nextafter

from scipy.special import betainc, betaincc, betaincinv, betaln

_MARGIN = 1e-6
"""Relative room left to the incomplete beta function, whose error stays below 1e-10."""

LEAST_FAILURE = 1e-200
"""Of a statement: from 1e-250 down the incomplete beta function loses its digits, and is 0 too
soon, so that a bound would be claimed that does not hold."""


def upper_tail(count: int, trials: int, probability: float) -> float:
    """Compute P[Binomial(trials, probability) >= count] by the incomplete beta function."""
    if count <= 0:
        return 1.0
    return float(betainc(count, trials - count + 1, probability))


def clopper_pearson_lower(count: int, trials: int, failure_probability: float) -> float:
    """Bound the probability of a success from below, one-sided.

    Whatever the true probability p is, the bound exceeds p with probability at most
    `failure_probability` (Clopper and Pearson, Biometrika 1934): it is the p at which `count` or
    more successes would be that unlikely, here stepped down until that surely holds.

    Raises:
        ValueError: a count that is no count of `trials`, or a probability that is not supported.
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
    """Bound the probability of a success from above, one-sided.

    Whatever the true probability p is, the bound is below p with probability at most
    `failure_probability`: one minus the lower bound of a failure, rounded up.

    Raises:
        ValueError: a count that is no count of `trials`, or a probability that is not supported.
    """
    check_trials(count, trials, failure_probability)
    lower = clopper_pearson_lower(trials - count, trials, failure_probability)
    upper = 1.0 - lower
    return upper if lower >= 0.5 or upper == 1.0 else min(1.0, nextafter(upper, 2.0))


def log_evidence(count: int, trials: int, above: float) -> float:
    """Compute the log of an e-process's evidence that a success is more likely than `above`.

    Likelihoods relative to that of `above`, averaged over probabilities θ in (above, 1) by the
    prior Beta(1/2, 1/2) of Jeffreys restricted to them (Robbins 1970, doi
    10.1214/aoms/1177696786; Howard et al. 2021, arXiv 1810.08240):

        ∫ θ^c (1-θ)^(t-c) π(θ) dθ / (above^c (1-above)^(t-c)).

    While each trial succeeds with a probability of at most `above`, given those before, this is a
    nonnegative supermartingale that begins at 1. So it ever reaches 1/α with probability at most
    α, whenever one looks (Ville's inequality).
    """
    return _log_mixture(count, trials, above) - _log_likelihood(count, trials, above)


def anytime_lower(count: int, trials: int, failure_probability: float, above: float = 0.0) -> float:
    """Bound the probability of a success from below, at all times at once.

    With p the true probability, the bound after any number of trials ever exceeds p with
    probability at most `failure_probability`: it is the q below the share of successes at which
    the mixture of `log_evidence` outweighs the likelihood of q by 1/`failure_probability`. If it
    exceeds p, the mixture outweighs p as much, and for p that is a martingale (Ville). `above`, a
    number fixed before the first trial, says where the mixture lies; the bound is tightest there.
    Moved down for the error of the special functions.

    Raises:
        ValueError: a count that is no count of `trials`, or a probability that is not supported.
    """
    check_trials(count, trials, failure_probability)
    if not 0 <= above < 1:
        raise ValueError(f"A mixture lies above a number in [0, 1), not {above}.")
    # Likelihoods of up to t log t are subtracted; float64 errs by far less than this.
    allowed = log(failure_probability) - _MARGIN - 1e-11 * trials
    target = _log_mixture(count, trials, above) + allowed
    if target == -inf:
        return 0.0
    low, high = 0.0, count / trials
    while (middle := (low + high) / 2) not in (low, high):
        if _log_likelihood(count, trials, middle) <= target:
            low = middle
        else:
            high = middle
    return low


def _log_mixture(count: int, trials: int, above: float) -> float:
    """Compute log ∫ θ^count (1-θ)^(trials-count) dπ, π being Beta(1/2, 1/2) on θ > above."""
    a, b = count + 0.5, trials - count + 0.5
    inside, prior = float(betaincc(a, b, above)), float(betaincc(0.5, 0.5, above))
    if not (inside > 1e-290 and prior > 0):
        return -inf
    return float(betaln(a, b) - betaln(0.5, 0.5)) + log(inside) - log(prior)


def _log_likelihood(count: int, trials: int, probability: float) -> float:
    """Compute count log p + (trials - count) log(1 - p), with 0 log 0 = 0."""
    wins = count * log(probability) if probability > 0 else (-inf if count else 0.0)
    return wins + ((trials - count) * log1p(-probability) if count < trials else 0.0)


def check_trials(count: int, trials: int, failure_probability: float) -> None:
    """Raise a ValueError for what is no count or no probability."""
    if trials < 1 or not 0 <= count <= trials:
        raise ValueError(f"{count} is not a number of successes in {trials} trials.")
    if not LEAST_FAILURE <= failure_probability < 1:
        said = f"A failure probability lies between {LEAST_FAILURE} and 1"
        raise ValueError(f"{said}, not {failure_probability}.")
