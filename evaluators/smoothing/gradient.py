"""What first-order certificates know: a bound of the gradient's length, and what follows from it.

Scale one throughout: f is 1 where the base network gives the top class, p = E f(x + z), and
m = E[f(x + z) z] is σ times the gradient of the smoothed probability at x, z ~ N(0, I).

The bound of ‖m‖. X and Y are the means of f z over two independent halves of the samples, of sizes
n₁ and n₂. Since ‖m‖² = ⟨X, Y⟩ - ⟨X, Y - m⟩ - ⟨X - m, m⟩, and a mean of n centred variables of
variance proxy κ exceeds √(2κτ/n) with probability at most exp(-τ), it holds except with probability
2 exp(-τ) that
    ‖m‖² <= ⟨X, Y⟩ + ‖X‖ √(2κτ/n₂) + ‖m‖ √(2κτ/n₁),
where the first deviation is taken given X, along X. This is a quadratic inequality for ‖m‖.

The variance proxy. Let w = f g with g = ⟨u, z⟩, ‖u‖ = 1, and s > 0. As exp(x) - 1 - x >= 0,
E exp(s w) = 1 + E[f (exp(s g) - 1)] <= exp(s²/2) + s E w. So ln E exp(s (w - E w)) is at most
ln(exp(s²/2) + y) - y with y = s E w, |y| <= s/√(2π). That is greatest at y = 1 - exp(s²/2) or at
the end y = -s/√(2π), and below κ s²/2 with κ = 1.36 for every s (a test looks closely at all
s < 2.3; beyond, 1 + 2/(s √(2π)) < κ). For s < 0 replace u by -u.
"""

from functools import lru_cache
from math import exp, inf, isfinite, log, pi, sqrt
from typing import NamedTuple

from jaxtyping import Float64
from scipy.special import ndtr, ndtri
from torch import Tensor

from evaluators.numerics.rounding import gamma

VARIANCE_PROXY = 1.36
"""κ above."""

_MARGIN = 1e-13
"""More than the rounding errors of a dual value, relative to its largest term."""

_LARGEST_DRAW = 40.0
"""No normal variate of float64 is larger in size."""


class GradientBound(NamedTuple):
    """An upper confidence bound of ‖E[f z]‖.

    Attributes:
        product: ⟨X, Y⟩.
        length: ‖X‖.
        bound: the bound; infinite where there is none.
    """

    product: float
    length: float
    bound: float


def gradient_bound(
    sums: Float64[Tensor, "2 entries"], samples: int, failure_probability: float
) -> GradientBound:
    """Bound ‖E[f z]‖ from sums of f z over the samples of even number and those of odd number."""
    halves = (samples + 1) // 2, samples // 2
    if halves[1] == 0:
        return GradientBound(0.0, 0.0, inf)
    first, second = sums[0] / halves[0], sums[1] / halves[1]
    # What summing in float64 loses, in each entry and so in length.
    error = gamma(samples + sums.shape[1]) * _LARGEST_DRAW * sqrt(sums.shape[1])
    length, other = float(first.norm()) + error, float(second.norm()) + error
    product = float(first @ second) + 2 * error * (length + other)
    return GradientBound(product, length, solve(product, length, halves, failure_probability))


def solve(
    product: float, length: float, halves: tuple[int, int], failure_probability: float
) -> float:
    """Compute the largest ‖m‖ that the inequality allows, rounded up; inf if it allows none."""
    spread = 2 * VARIANCE_PROXY * log(2 / failure_probability)
    slope, constant = sqrt(spread / halves[0]), product + length * sqrt(spread / halves[1])
    square = slope * slope + 4 * constant
    # No solution is an event of small probability, but no reason to believe in a small gradient.
    if not (square >= 0 and isfinite(square)):
        return inf
    return (slope + sqrt(square)) / 2 * (1 + _MARGIN)


def least_given_gradient(p: float, gradient: float, distance: float) -> float:
    """Bound the probability after a shift of `distance`, of events with ‖E[f z]‖ <= `gradient`.

    Such an event has at least probability `p` before the shift; rounded down. Only the part of
    E[f z] along the shift matters, which is at least -`gradient`; then f may depend on that one
    coordinate alone. The worst f minimises the integral of f(z) w(z) φ(z), w(z) = exp(tz - t²/2).
    By the generalised lemma of Neyman and Pearson it is 1 between the two points where w crosses a
    line λ + νz (Mohapatra et al. 2020, arXiv 2010.06651). For any λ, ν >= 0
        λ p - ν `gradient` + integral of min(0, w - λ - νz) φ
    is a lower bound (weak duality), so that no error in the two points can do harm.
    """
    interval = _interval(p, gradient)
    if interval is None:
        return 0.0
    start, end = interval
    weights = [exp(distance * (z - distance / 2)) for z in (start, end)]
    slope = (weights[1] - weights[0]) / (end - start)
    intercept = weights[0] - slope * start
    if not (slope >= 0 and intercept >= 0):
        return 0.0
    inside = float(ndtr(end) - ndtr(start))
    moment = _density(start) - _density(end)
    moved = float(ndtr(end - distance) - ndtr(start - distance))
    value = moved + intercept * (p - inside) - slope * (gradient + moment)
    return max(value - _MARGIN * (1 + intercept + slope), 0.0)


@lru_cache(maxsize=64)
def _interval(p: float, gradient: float) -> tuple[float, float] | None:
    """Find the interval of probability `p` whose mean of z is -`gradient`; None if none binds."""
    # Slow to import, and this needs nothing else of it.
    from scipy.optimize import brentq

    if not 0.5 < p < 1 or not 0 <= gradient < _density(float(ndtri(p))):
        return None

    def missing(below: float) -> float:
        return _density(float(ndtri(p + below))) - _density(float(ndtri(below))) - gradient

    least, most = 1e-300, (1 - p) / 2
    if missing(least) <= 0:
        return None
    below = float(brentq(missing, least, most, xtol=1e-300)) if missing(most) < 0 else most
    start, end = float(ndtri(below)), float(ndtri(p + below))
    return (start, end) if start < end and isfinite(end - start) else None


def _density(z: float) -> float:
    return exp(-0.5 * z * z) / sqrt(2 * pi)
