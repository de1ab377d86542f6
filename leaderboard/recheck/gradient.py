"""The first-order radius once more: from bounds of probabilities and of a gradient, in mpmath.

Nothing here is shared with the evaluators. Noise is N(0, I) and f the event that the top class
wins, of probability p, with m = E[f z] (Mohapatra et al. 2020, arXiv 2010.06651).
"""

import mpmath
from mpmath import mpf

from leaderboard.recheck.bounds import DIGITS, TINY

PROXY = mpf("1.36")
"""Variance proxy of one entry of f z."""

_FARTHEST = mpf(-60)
"""Where a slab begins that is as good as a half-space."""


@mpmath.workdps(DIGITS)  # type: ignore[untyped-decorator]
def gradient_bound(product: mpf, length: mpf, samples: int, failure: mpf) -> mpf:
    """An upper confidence bound of ‖m‖ from means X, Y of f z over the two halves of the samples.

    ‖m‖² = ⟨X, Y⟩ - ⟨X, Y - m⟩ - ⟨X - m, m⟩, and each deviation, of a mean of n along a fixed
    direction, is above √(2κτ/n) with probability exp(-τ) at most: a quadratic inequality for ‖m‖.

    Arguments:
        product, length: ⟨X, Y⟩ and ‖X‖.
    """
    halves = (samples + 1) // 2, samples // 2
    spread = 2 * PROXY * mpmath.log(2 / failure)
    if not halves[1]:
        return mpmath.inf
    slope = mpmath.sqrt(spread / halves[0])
    constant = product + length * mpmath.sqrt(spread / halves[1])
    square = slope * slope + 4 * constant
    return (slope + mpmath.sqrt(square)) / 2 if square >= 0 else mpmath.inf


@mpmath.workdps(DIGITS)  # type: ignore[untyped-decorator]
def slab_radius(lower: mpf, upper: mpf, gradient: mpf) -> mpf:
    """The shift at which a slab across it, the worst of such events, loses the lead; 0 for none.

    The slab (a, b) has probability `lower` and mean of z -`gradient` (φ(a) - φ(b)). It keeps
    Φ(b - t) - Φ(a - t), and leads while that is above 1/2 or above what any other may have come
    to, 1 - Φ(Φ⁻¹(1 - `upper`) - t).
    """
    if not (0 < upper < lower < 1 and lower > mpf(1) / 2):
        return mpf(0)
    ends = _slab(lower, gradient)
    if ends is None:
        return mpf(0)
    start, end = ends
    other = _quantile(1 - upper)

    def leads(t: mpf) -> bool:
        kept = mpmath.ncdf(end - t) - mpmath.ncdf(start - t)
        return bool(kept > 0.5 or kept + mpmath.ncdf(other - t) > 1)

    low, high = mpf(0), mpf(1)
    while leads(high):
        low, high = high, 2 * high
    while high - low > TINY:
        middle = (low + high) / 2
        low, high = (middle, high) if leads(middle) else (low, middle)
    return low


def _slab(p: mpf, gradient: mpf) -> tuple[mpf, mpf] | None:
    """The ends of the slab, by bisection in the first one; None where a half-space is as steep."""
    if not 0 <= gradient < mpmath.npdf(_quantile(p)):
        return None

    def end(start: mpf) -> mpf:
        return _quantile(p + mpmath.ncdf(start))

    low, high = _FARTHEST, _quantile((1 - p) / 2)
    while high - low > TINY:
        middle = (low + high) / 2
        steeper = mpmath.npdf(end(middle)) - mpmath.npdf(middle) > gradient
        low, high = (middle, high) if steeper else (low, middle)
    return low, end(low)


def _quantile(p: mpf) -> mpf:
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)
