"""Bounds of smoothed models' probabilities once more, from their definitions, in mpmath.

Nothing here is shared with the evaluators, which work in float64 with special functions and margins
for their errors: tails are sums of binomial terms, mixtures are integrals over an angle, and both
are inverted in 25 digits. So a mistake there is unlikely to be made here again.
"""

from functools import lru_cache

import mpmath
from mpmath import mpf

DIGITS = 25
_TINY = 10**18
TINY = 1 / mpf(_TINY)
"""Relative; beyond it a sum or an iteration is done."""
_BITS = 128
"""Behind the point of a fixed-point number: more than `DIGITS`, for what many roundings lose."""
_STEPS = 200
"""Newton's method needs about eight."""


def binomial_tail(count: int, trials: int, p: mpf) -> tuple[mpf, mpf]:
    """P[Binomial(trials, p) >= count] and its first term, for `p` at most count / trials.

    From the first term on, terms fall by ever smaller factors; what is left out is bounded by a
    geometric series and added, so the sum is not too small but for rounding.
    """
    choices = mpmath.loggamma(trials + 1) - mpmath.loggamma(count + 1)
    choices -= mpmath.loggamma(trials - count + 1)
    logarithm = choices + count * mpmath.log(p)
    if count < trials:
        logarithm += (trials - count) * mpmath.log1p(-p)
    first = mpmath.exp(logarithm)
    odds = p / (1 - p)
    # In units of the first term and in fixed point, where integers are many times as fast as mpf.
    term = total = 1 << _BITS
    factor = int(mpmath.ldexp(odds, _BITS))
    for successes in range(count, trials):
        term = term * factor * (trials - successes) // ((successes + 1) << _BITS)
        total += term
        if term * _TINY < total:
            ratio = odds * (trials - successes) / (successes + 1)
            return first * mpmath.ldexp(total + term * ratio / (1 - ratio), -_BITS), first
    return first * mpmath.ldexp(total, -_BITS), first


@lru_cache(maxsize=4096)
@mpmath.workdps(DIGITS)  # type: ignore[untyped-decorator]
def lower_bound(count: int, trials: int, failure: mpf) -> mpf:
    """Clopper and Pearson's bound: the p at which `count` or more successes are that unlikely.

    Newton's method on the logarithm of the tail. It is concave in p, so that after one step all
    iterates lie below the solution and rise to it.
    """
    if count == 0:
        return mpf(0)
    goal = mpmath.log(failure)
    if count == trials:
        return mpmath.exp(goal / trials)
    p = mpf(count) / trials
    for _ in range(_STEPS):
        tail, first = binomial_tail(count, trials, p)
        step = (mpmath.log(tail) - goal) * p * tail / (first * count)
        following = p - step if step < p else p / 2
        if abs(following - p) <= p * TINY * 100:
            return following
        p = following
    raise ArithmeticError(f"No bound was found for {count} of {trials}.")


@lru_cache(maxsize=4096)
@mpmath.workdps(DIGITS)  # type: ignore[untyped-decorator]
def anytime_lower_bound(count: int, trials: int, failure: mpf, above: mpf) -> mpf:
    """A bound that holds at all numbers of trials at once (Robbins 1970, Howard et al. 2021).

    The likelihood of p, θ^count (1-θ)^(trials-count) at θ = p, against its mean over θ in
    (above, 1) with Jeffreys' prior. With θ = sin²φ that prior is uniform in the angle φ. By Ville's
    inequality the mean ever exceeds the likelihood of the true p by 1/failure with probability at
    most `failure`; the bound is the p below count/trials at which it does so.
    """
    if count == 0:
        return mpf(0)
    goal = _log_mixture(count, trials, above) + mpmath.log(failure)
    low, high = mpf(0), mpf(count) / trials
    while high - low > high * TINY:
        middle = (low + high) / 2
        if _log_likelihood(count, trials, middle) <= goal:
            low = middle
        else:
            high = middle
    return low


def _log_likelihood(count: int, trials: int, p: mpf) -> mpf:
    value = count * mpmath.log(p)
    return value + (trials - count) * mpmath.log1p(-p) if count < trials else value


def _log_mixture(count: int, trials: int, above: mpf) -> mpf:
    """Logarithm of the mean likelihood over angles from that of `above` to a right one."""
    start, end = mpmath.asin(mpmath.sqrt(above)), mpmath.pi / 2
    peak = min(max(mpmath.asin(mpmath.sqrt(mpf(count) / trials)), start), end)
    highest = _at_angle(count, trials, peak)
    width = 1 / (2 * mpmath.sqrt(mpf(trials)))
    ends = [peak + width * factor for factor in (-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40)]
    places = [start, *(at for at in ends if start < at < end), end]
    area = mpmath.quad(lambda angle: mpmath.exp(_at_angle(count, trials, angle) - highest), places)
    return highest + mpmath.log(area / (end - start))


def _at_angle(count: int, trials: int, angle: mpf) -> mpf:
    value = 2 * count * mpmath.log(mpmath.sin(angle)) if count else mpf(0)
    if count == trials:
        return value
    cosine = mpmath.cos(angle)
    return value + 2 * (trials - count) * mpmath.log(cosine) if cosine > 0 else -mpmath.inf
