"""Noise whose log density changes by at most the size of the shift: no worse than Laplace noise.

Along a shift of direction v of size one, an event of probability q loses at most
Φ(q) = min(q, 1 - q) per unit of length, since log densities change by at most one per unit. So its
probability after the shift t is at least F(F⁻¹(q) - t/b), where F is the distribution function of
one Laplace variate: F(F⁻¹(q) - t) solves q' = -Φ(q).
"""

from math import exp

import numpy as np

from evaluators.noises.distribution import SLACK, Distribution, Shift, Vector
from evaluators.question.norm import Norm


class LogLipschitzNoise(Distribution):
    """Noise whose log density changes by at most the size of the shift, in its own norms.

    The formulas are those of one Laplace entry shifted by t. The proof above holds for all such
    noise, hence its trade-off functions are above that pair's, and so are all divergences that
    shrink under data processing at most that pair's (Blackwell's theorem; Dong, Roth and Su 2022,
    arXiv 1905.02383, theorem 2.10).
    """

    def least(self, p: float, shift: Shift) -> float:
        """Compute F(F⁻¹(p) - t), F(z) = exp(z)/2 for z <= 0 and 1 - exp(-z)/2 for z >= 0."""
        if shift.distance > 700:
            return 0.0
        grown = (1 - p) * exp(shift.distance) * (1 + SLACK)
        if p < 0.5:
            return p * exp(-shift.distance) * (1 - SLACK)
        return (1 - grown) * (1 - SLACK) if grown < 0.5 else (1 - SLACK) / (4 * grown)

    def privacy(self, epsilon: Vector, shift: Shift) -> Vector:
        """Compute δ = 1 - exp((ε - t)/2) for ε < t, else 0: the Laplace mechanism, exactly."""
        delta = -np.expm1(0.5 * np.minimum(epsilon - shift.distance, 0.0)) * (1 + SLACK)
        return np.where(epsilon < shift.distance, delta + SLACK, 0.0)

    def renyi(self, order: Vector, shift: Shift) -> Vector:
        """Compute ln(α/(2α-1) exp((α-1)t) + (α-1)/(2α-1) exp(-αt)) / (α-1) for α > 1.

        Mironov 2017, arXiv 1702.07476, proposition 6. At 1: t + exp(-t) - 1; at 1/2:
        t - 2 ln(1 + t/2). Smaller orders get the next one of these.
        """
        t = shift.distance
        half, one = t - 2 * np.log1p(t / 2), t + exp(-t) - 1
        # Divergences increase with the order. Just above 1 the formula would lose its digits.
        above = np.maximum(order, 1 + 1e-4)
        weight = above / (2 * above - 1)
        inner = np.log(weight + (1 - weight) * np.exp(-(2 * above - 1) * t))
        general = t + inner / (above - 1)
        value = np.where(order <= 0.5, half, np.where(order <= 1, one, general))
        return value * (1 + SLACK) + SLACK * (1 + t)

    def total_variation(self, shift: Shift) -> float:
        """Compute 1 - exp(-t/2)."""
        return float(-np.expm1(-0.5 * shift.distance) * (1 + SLACK))

    def growth(self, q: Vector, norm: Norm, dimension: int) -> Vector:  # noqa: ARG002
        """Return Φ(q), which is q on (0, 1/2]."""
        return q
