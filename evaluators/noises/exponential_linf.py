"""Exponential noise of cubes: density proportional to exp(-‖z‖∞/λ), radii in ℓ∞ and in ℓ1 (Yang et
al. 2020, arXiv 2002.08118, section 5).

Along a shift of direction v an event of probability q loses at most Φ(q) per unit of length, the
largest mean of the slope ∂ᵥ‖z‖∞ over events of that probability (level sets of it).

ℓ∞: slopes lie in [-1, 1], so Φ(q) <= min(q, 1 - q), as for Laplace noise in ℓ1. For
v = (1, ..., 1) the slopes are ±1, each half of the time; (max z + min z)/2 is a Laplace variate
that the shift moves: the worst case is exact.

ℓ1: the worst direction is an axis, since Φ is convex in v. The slope along it is ±1 where that
entry is the largest in size, with probability 1/(2d) each, else 0: Φ(q) = min(q, 1 - q, 1/(2d)).
"""

from math import exp

import numpy as np

from evaluators.noises.distribution import SLACK, Draws, Shift, Vector
from evaluators.noises.log_lipschitz import LogLipschitzNoise
from evaluators.question.norm import Norm


class ExponentialLinfNoise(LogLipschitzNoise):
    """Density proportional to exp(-‖z‖∞/λ); its scale is λ, and ‖z‖∞ has mean λ d."""

    name = "exponential-linf"
    own = (Norm.LINF, Norm.L1)

    def fill(self, generator: np.random.Generator, out: Draws) -> None:
        """Scale a uniform vector, of size Beta(d, 1), by Gamma(d + 1): its size is Gamma(d)."""
        generator.random(out=out)
        out *= 2.0
        out -= 1.0
        out *= generator.standard_gamma(out.shape[1] + 1, (len(out), 1))

    def least(self, p: float, shift: Shift) -> float:
        """Solve q' = -Φ(q) in ℓ1: its slope is constant in the middle, its ends exponential."""
        if shift.norm is not Norm.L1 or shift.dimension == 1:
            return super().least(p, shift)
        end, middle = 0.5 / shift.dimension, shift.dimension - 1.0
        place = _quantile(p, end, middle) - shift.distance
        if place > middle:
            value = 1 - end * exp(middle - place)
        elif place > -middle:
            value = 0.5 + end * place
        else:
            value = end * exp(max(place + middle, -700.0))
        # The place has an absolute error of a few units in the last place of d and the distance.
        return max(value - SLACK * (1 + end * abs(shift.distance)), 0.0)

    def total_variation(self, shift: Shift) -> float:
        """Bound it by t/(2d), too, in ℓ1."""
        value = super().total_variation(shift)
        if shift.norm is not Norm.L1:
            return value
        return min(value, shift.distance / (2 * shift.dimension) * (1 + SLACK))

    def growth(self, q: Vector, norm: Norm, dimension: int) -> Vector:
        """Compute Φ(q), which is q in ℓ∞ and min(q, 1/(2d)) in ℓ1."""
        most = 0.5 if norm is Norm.LINF else 0.5 / dimension * (1 + SLACK)
        return np.asarray(np.minimum(q, most))


def _quantile(p: float, end: float, middle: float) -> float:
    """Find where a distribution function of slope `end` up to ±`middle` is `p`."""
    if p >= 1 - end:
        return float(middle + np.log(end / (1 - p))) if p < 1 else np.inf
    if p > end:
        return (p - 0.5) / end
    return float(np.log(p / end) - middle) if p > 0 else -np.inf
