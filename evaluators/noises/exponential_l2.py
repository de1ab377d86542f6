"""Exponential noise of balls: density proportional to exp(-‖z‖₂/λ), radii in ℓ2 (Yang et al. 2020,
arXiv 2002.08118, section 5).

Along a shift of direction v an event of probability q loses at most Φ(q) per unit of length, the
largest mean of the slope u = ⟨z, v⟩/‖z‖₂ over events of that probability: over {u >= a} where
P(u >= a) = q. In d > 1 dimensions u has density proportional to (1 - u²)^((d-3)/2), so that with
m = (d - 1)/2 and the regularised incomplete beta function I
    q = I(1 - a²; m, 1/2)/2  and  Φ(q) = (1 - a²)^m Γ(d/2) / (2 √π Γ((d+1)/2))  for a >= 0.
Along the shift a changes by (1 - a²)/(d - 1) per unit, so arctanh(a) by 1/(d - 1). In one dimension
u = ±1, and the noise is Laplace's.
"""

from math import atanh, cosh, exp, inf, isfinite, lgamma, log, log1p, pi, sqrt, tanh

import numpy as np
from scipy.special import betainc, betaincc, betaincinv

from evaluators.noises.distribution import Draws, Shift, Vector
from evaluators.noises.log_lipschitz import LogLipschitzNoise
from evaluators.noises.uniform_ball import BETA_ERROR, fill_directions
from evaluators.question.norm import Norm


class ExponentialL2Noise(LogLipschitzNoise):
    """Density proportional to exp(-‖z‖₂/λ); its scale is λ, and ‖z‖₂ has mean λ d."""

    name = "exponential-l2"
    own = (Norm.L2,)

    def fill(self, generator: np.random.Generator, out: Draws) -> None:
        """Draw a direction, and a length of density r^(d-1) exp(-r)."""
        fill_directions(generator, out)
        out *= generator.standard_gamma(out.shape[1], (len(out), 1))

    def least(self, p: float, shift: Shift) -> float:
        """Move arctanh(a) by t/(d - 1); this bound is of level sets, not the exact worst."""
        if shift.dimension == 1 or not 0 < p < 1:
            return super().least(p, shift)
        # The difference is exact.
        start = _arctanh(1 - p if p >= 0.5 else p, shift.dimension)
        if not isfinite(start):
            return 0.0
        moved = (start if p >= 0.5 else -start) - shift.distance / (shift.dimension - 1)
        beyond = _beyond(abs(moved), shift.dimension)
        value = 1 - beyond if moved > 0 else beyond
        # A relative error of q in the inverse is one of at most Φ(1/2) q/Φ(q) <= 1/2 here.
        return max(value - BETA_ERROR, 0.0)

    def total_variation(self, shift: Shift) -> float:
        """Take the event {u >= 0} seen from half of the way."""
        if shift.dimension == 1:
            return super().total_variation(shift)
        half = 0.5 * shift.distance / (shift.dimension - 1)
        return 1 - 2 * _beyond(half, shift.dimension) + BETA_ERROR

    def growth(self, q: Vector, norm: Norm, dimension: int) -> Vector:
        """Take the tangent at the exact q of the float a; Φ has slope a."""
        if dimension == 1:
            return super().growth(q, norm, dimension)
        m = (dimension - 1) / 2
        rest = betaincinv(m, 0.5, np.minimum(2 * q, 1.0))
        off = np.abs(q - 0.5 * betainc(m, 0.5, rest)) + BETA_ERROR * q
        ratio = exp(lgamma(dimension / 2) - lgamma((dimension + 1) / 2)) / (2 * sqrt(pi))
        value = ratio * np.exp(m * np.log(rest)) + np.sqrt(1 - rest) * off
        return np.asarray(value * (1 + BETA_ERROR))


def _arctanh(tail: float, dimension: int) -> float:
    """Find arctanh(a) with P(u >= a) = tail <= 1/2, by the smaller of a² and 1 - a²."""
    m = (dimension - 1) / 2
    if tail > 0.25:
        return atanh(sqrt(float(betaincinv(0.5, m, 1 - 2 * tail))))
    rest = float(betaincinv(m, 0.5, 2 * tail))
    return log1p(sqrt(1 - rest)) - 0.5 * log(rest) if rest > 0 else inf


def _beyond(start: float, dimension: int) -> float:
    """Compute P(arctanh(u) >= t) for t >= 0, by the smaller of tanh² and 1/cosh²."""
    m = (dimension - 1) / 2
    if start < 1:
        return 0.5 * float(betaincc(0.5, m, tanh(start) ** 2))
    return 0.5 * float(betainc(m, 0.5, cosh(min(start, 300.0)) ** -2))
