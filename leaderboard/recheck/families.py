"""Radii of smoothed models once more, by every family of certificates, in mpmath.

A family says up to which shift two class probabilities, of which only bounds are known, cannot
meet. Where it has a parameter (an order, an ε) the best value is looked for among all; evaluators
try a fixed list, and so find a little less. Nothing here is shared with them.
"""

from collections.abc import Callable
from functools import lru_cache

import mpmath
from mpmath import mpf

from leaderboard.recheck.bounds import DIGITS, TINY
from leaderboard.recheck.noises import NOISES, Flat, Gaussian, Noise, inner

_GOLDEN = (mpmath.sqrt(5) - 1) / 2
_ROUNDS = 70
"""Of a golden section: each takes off a third."""


Family = Callable[[Noise, mpf, mpf], mpf]
"""From a noise, a lower bound of the top class's probability and an upper bound of any other's."""


@mpmath.workdps(DIGITS)  # type: ignore[untyped-decorator]
def radius(
    noise: str,
    norm: str,
    scale: mpf,
    lower: mpf,
    upper: mpf,
    dimension: int,
    family: str = "neyman-pearson",
) -> mpf | None:
    """The radius that follows from two bounds of probabilities; None where no formula is known.

    Of a noise with several norms of its own the largest ball inside counts.
    """
    if noise not in NOISES or family not in FAMILIES:
        return None
    if not 0 < upper < lower < 1:
        return mpf(0)
    return scale * max(
        inner(norm, own, dimension)
        * _unit_radius(family, NOISES[noise](own, dimension), lower, upper)
        for own in NOISES[noise].own
    )


@lru_cache(maxsize=4096)
def _unit_radius(family: str, noise: Noise, lower: mpf, upper: mpf) -> mpf:
    return max(FAMILIES[family](noise, lower, upper), mpf(0))


def neyman_pearson(noise: Noise, lower: mpf, upper: mpf) -> mpf:
    """What the events that are hit hardest keep (Cohen et al. 2019, theorem 1)."""
    return noise.apart(lower, upper)


def level_set(noise: Noise, lower: mpf, upper: mpf) -> mpf:
    """Half of the way between two places (Yang et al. 2020, theorem 4.1)."""
    return (noise.place(lower) - noise.place(upper)) / 2


def lipschitz(noise: Noise, lower: mpf, upper: mpf) -> mpf:
    """Both probabilities change by the constant per unit at most (Salman et al. 2019, lemma 1)."""
    return (lower - upper) / 2 / noise.steepest()


def pixeldp(noise: Noise, lower: mpf, upper: mpf) -> mpf:
    """The best ε of p_A > exp(2ε) p_B + (1 + exp(ε)) δ (Lecuyer et al. 2019, proposition 1).

    Gaussian noise is private as Dwork and Roth's mechanism, with ε < 1 and
    δ = 5/4 exp(-ε²/(2t²)); noise of log density that changes by t at most has
    δ = 1 - exp((ε - t)/2); of flat noise δ is what is left behind, whatever ε.
    """
    if isinstance(noise, Flat):
        return noise.unseen((lower - upper) / 2)

    def reached(epsilon: mpf) -> mpf:
        delta = (lower - mpmath.exp(2 * epsilon) * upper) / (1 + mpmath.exp(epsilon))
        if delta < 0:
            return mpf(0)
        if not isinstance(noise, Gaussian):
            return epsilon - 2 * mpmath.log1p(-delta)
        return epsilon / mpmath.sqrt(-2 * mpmath.log(delta / 1.25)) if delta > 0 else mpf(0)

    most = mpmath.log(lower / upper) / 2
    return _largest(reached, mpf(0), min(most, mpf(1)) if isinstance(noise, Gaussian) else most)


def renyi(noise: Noise, lower: mpf, upper: mpf) -> mpf:
    """The best order α: the noise's divergence against that of a tie (Li et al. 2019, lemma 1)."""

    def reached(position: mpf) -> mpf:
        # Orders from 0 to infinity, by a position from 0 to 1; flat noise has none above 1.
        order = position if isinstance(noise, Flat) else position / (1 - position)
        return _divergent(noise, order, tie(order, lower, upper))

    return _largest(reached, mpf(0), mpf(1))


def f_divergence(noise: Noise, lower: mpf, upper: mpf) -> mpf:
    """The best of five divergences against that of a tie (Dvijotham et al. 2020)."""
    half = (lower - upper) / 2
    found = [noise.unseen(half)]
    found += [_divergent(noise, order, tie(order, lower, upper)) for order in _ORDERS]
    both = (lower + upper) / 2
    backwards = lower * mpmath.log(lower / both) + upper * mpmath.log(upper / both)
    return max([*found, _divergent(noise, mpf(1), backwards)])


_ORDERS = (mpf(1) / 2, mpf(1), mpf(2))
"""Hellinger's, Kullback and Leibler's and the χ² divergence are Rényi's of these orders."""


def tie(order: mpf, lower: mpf, upper: mpf) -> mpf:
    """The least Rényi divergence from these probabilities at which two classes are tied."""
    rest = max(1 - lower - upper, mpf(0))
    power = 1 - order
    if abs(power) < mpf(10) ** -8:
        mean = mpmath.sqrt(lower * upper)
    else:
        mean = ((lower**power + upper**power) / 2) ** (1 / power)
    return -mpmath.log(rest + 2 * mean)


def _divergent(noise: Noise, order: mpf, allowed: mpf) -> mpf:
    """The shift at which the noise's Rényi divergence of an order reaches `allowed`."""
    if not (allowed > 0 and order > 0):
        return mpf(0)
    if isinstance(noise, Gaussian):
        return mpmath.sqrt(2 * allowed / order)
    if isinstance(noise, Flat):
        # -ln(1 - what is left behind)/(1 - α) below 1, infinite from there on.
        if order >= 1:
            return mpf(0)
        change = -mpmath.expm1((order - 1) * allowed)
        return noise.unseen(min(change, mpf(1)))
    return _crossing(lambda t: laplace_divergence(order, t) - allowed)


def _crossing(function: Callable[[mpf], mpf]) -> mpf:
    """Where an increasing function that is negative at 0 becomes positive, from below.

    Regula falsi, with the end that stays halved in weight (the Illinois method).
    """
    low, high = mpf(0), mpf(1)
    # Where almost nothing is allowed, rounding may make it positive at 0.
    at_low, at_high = min(function(low), mpf(0)), function(high)
    while at_high <= 0:
        low, high, at_low = high, 2 * high, at_high
        at_high = function(high)
    before, stayed = high, ""
    for _ in range(_ROUNDS):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        if abs(middle - before) <= middle * TINY:
            return min(middle, before)
        before, value = middle, function(middle)
        if value <= 0:
            at_high = at_high / 2 if stayed == "high" else at_high
            low, at_low, stayed = middle, value, "high"
        else:
            at_low = at_low / 2 if stayed == "low" else at_low
            high, at_high, stayed = middle, value, "low"
    return low


def laplace_divergence(order: mpf, t: mpf) -> mpf:
    """Of one Laplace entry from itself shifted by t (Mironov 2017, arXiv 1702.07476).

    At most this has any noise whose log density changes by t at most: from the one pair the other
    follows by data processing (Blackwell).
    """
    if abs(order - 1) < mpf(10) ** -8:
        return t + mpmath.expm1(-t)
    if abs(order - mpf(1) / 2) < mpf(10) ** -8:
        return t - 2 * mpmath.log1p(t / 2)
    weight = order / (2 * order - 1)
    value = weight * mpmath.exp((order - 1) * t) + (1 - weight) * mpmath.exp(-order * t)
    return mpmath.log(value) / (order - 1)


def _largest(function: Callable[[mpf], mpf], start: mpf, end: mpf) -> mpf:
    """The largest value between two points: on a grid, then by golden section around the best."""
    points = [start + (end - start) * number / 64 for number in range(1, 64)]
    values = [function(point) for point in points]
    best = values.index(max(values))
    low, high = ([start, *points][best], [*points, end][best + 1])
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_ROUNDS):
        if at_left < at_right:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
        else:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
    return max(at_left, at_right, values[best])


FAMILIES: dict[str, Family] = {
    "f-divergence": f_divergence,
    "level-set": level_set,
    "lipschitz": lipschitz,
    "neyman-pearson": neyman_pearson,
    "pixeldp": pixeldp,
    "renyi": renyi,
}
"""All that use nothing but bounds of probabilities, by name."""
