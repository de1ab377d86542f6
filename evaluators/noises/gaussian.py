"""Gaussian noise: N(0, σ²I), radii in ℓ2.

Of all events of probability p a half-space against the shift δ is hit hardest (Neyman and Pearson),
and keeps Φ(Φ⁻¹(p) - ‖δ‖₂/σ).
"""

import numpy as np
from scipy.special import erf, ndtr, ndtri

from evaluators.noises.distribution import SLACK, Distribution, Draws, Shift, Vector
from evaluators.question.norm import Norm

_QUANTILE_ERROR = 1e-9
"""More than `ndtri` errs by anywhere in (1e-300, 1), which is the largest quantile it has there."""


class GaussianNoise(Distribution):
    """N(0, σ²) in every entry; its scale is σ."""

    name = "gaussian"
    own = (Norm.L2,)

    def fill(self, generator: np.random.Generator, out: Draws) -> None:
        """Draw standard normal noise."""
        generator.standard_normal(out=out)

    def least(self, p: float, shift: Shift) -> float:
        """Compute Φ(Φ⁻¹(p) - t), what the half-space against the shift keeps."""
        if not p > 0:
            return 0.0
        return float(ndtr(ndtri(p) - _QUANTILE_ERROR - shift.distance) * (1 - SLACK))

    def privacy(self, epsilon: Vector, shift: Shift) -> Vector:
        """Compute δ = 5/4 exp(-ε²/(2t²)) for 0 < ε < 1, else 1: the Gaussian mechanism.

        Dwork and Roth 2014, theorem A.1 (doi 10.1561/0400000042), as used by PixelDP. The exact δ
        is smaller (Balle and Wang 2018, arXiv 1805.06530).
        """
        delta = 1.25 * np.exp(-0.5 * (epsilon / shift.distance) ** 2) * (1 + SLACK)
        return np.where((epsilon > 0) & (epsilon < 1), np.minimum(delta, 1.0), 1.0)

    def renyi(self, order: Vector, shift: Shift) -> Vector:
        """Compute α t²/2."""
        return order * (0.5 * shift.distance**2 * (1 + SLACK))

    def total_variation(self, shift: Shift) -> float:
        """Compute 2 Φ(t/2) - 1."""
        return float(erf(shift.distance / np.sqrt(8.0)) * (1 + SLACK))

    def growth(self, q: Vector, norm: Norm, dimension: int) -> Vector:  # noqa: ARG002
        """Bound φ(Φ⁻¹(q)), of half-spaces, by the tangent at the exact q of the float Φ⁻¹(q)."""
        quantile = np.minimum(ndtri(q), 0.0)
        off = np.abs(q - ndtr(quantile)) + SLACK * q
        density = np.exp(-0.5 * quantile**2) / np.sqrt(2 * np.pi)
        return np.asarray((density + np.abs(quantile) * off) * (1 + SLACK))
