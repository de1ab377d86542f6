"""Randomised smoothing with Gaussian noise (Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918).

The smoothed network g answers with the class that the base f gives most often to x + z,
z ~ N(0, σ²I). If the top class has probability at least p_A under the noise and every other at most
p_B < p_A, then g(x + δ) is the top class for all ‖δ‖₂ < σ/2 (Φ⁻¹(p_A) - Φ⁻¹(p_B)) (theorem 1);
with p_B = 1 - p_A, as in section 3.2.2, for all ‖δ‖₂ < σ Φ⁻¹(p_A).

Proof in a line: of all events of probability p a half-space against δ is hit hardest by the shift
(Neyman and Pearson), and keeps Φ(Φ⁻¹(p) - ‖δ‖₂/σ).

Guarantee: for each example, whatever the network, the probability over the noise that `radius` is
too large or the prediction wrong is at most `failure_probability`. It holds around the example
itself and so for the part of the ball with pixels in [0, 1]. ℓ∞ balls of radius r/√d and ℓ1 balls
of radius r lie inside the ℓ2 ball of radius r. The radius is rounded down, hence strictly smaller.

A page of examples: where the noise is shared by its examples their errors may come together. A
union bound over examples holds as it always does; bounds that need independence do not.

Trusted: that the pseudorandom noise is as good as independent Gaussian noise; it is drawn in
float64 (ziggurat over Philox) and rounded once, with the example added, to float32. The base f is
exactly what is run: float32 on this device, no class where the top logit is tied or one is not
finite.

Cost: at most n0 + n forward passes for each example.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64
from scipy.special import erf, ndtr, ndtri

from evaluators.question.problem import Norm
from evaluators.sampling.distribution import SLACK, Column, Distribution, Shift
from evaluators.smoothing.certificate import NeymanPearson
from evaluators.smoothing.smoothing import Smoothing

_QUANTILE_ERROR = 1e-9
"""More than `ndtri` errs by anywhere in (1e-300, 1), which is the largest quantile it has there."""


class Gaussian(Distribution):
    """N(0, σ²) in every entry; its scale is σ."""

    name = "gaussian"
    own = (Norm.L2,)

    def fill(
        self, generator: np.random.Generator, out: Float64[np.ndarray, "rows entries"]
    ) -> None:
        """Standard normal noise."""
        generator.standard_normal(out=out)

    def least(self, p: float, shift: Shift) -> float:
        """Φ(Φ⁻¹(p) - t), of the half-space against the shift."""
        if not p > 0:
            return 0.0
        return float(ndtr(ndtri(p) - _QUANTILE_ERROR - shift.distance) * (1 - SLACK))

    def privacy(self, epsilon: Column, shift: Shift) -> Column:
        """δ = 5/4 exp(-ε²/(2t²)) for 0 < ε < 1, else 1: the Gaussian mechanism.

        Dwork and Roth 2014, theorem A.1 (doi 10.1561/0400000042), as used by PixelDP. The exact δ
        is smaller (Balle and Wang 2018, arXiv 1805.06530).
        """
        delta = 1.25 * np.exp(-0.5 * (epsilon / shift.distance) ** 2) * (1 + SLACK)
        return np.where((epsilon > 0) & (epsilon < 1), np.minimum(delta, 1.0), 1.0)

    def renyi(self, order: Column, shift: Shift) -> Column:
        """α t²/2."""
        return order * (0.5 * shift.distance**2 * (1 + SLACK))

    def total_variation(self, shift: Shift) -> float:
        """2 Φ(t/2) - 1."""
        return float(erf(shift.distance / np.sqrt(8.0)) * (1 + SLACK))

    def growth(self, q: Column, norm: Norm, dimension: int) -> Column:  # noqa: ARG002
        """φ(Φ⁻¹(q)), of half-spaces; by the tangent at the exact q of the float Φ⁻¹(q)."""
        quantile = np.minimum(ndtri(q), 0.0)
        off = np.abs(q - ndtr(quantile)) + SLACK * q
        density = np.exp(-0.5 * quantile**2) / np.sqrt(2 * np.pi)
        return np.asarray((density + np.abs(quantile) * off) * (1 + SLACK))


@dataclass(frozen=True)
class SmoothingGaussian(Smoothing):
    """Randomised smoothing with Gaussian noise."""

    title: ClassVar[str] = "Randomised smoothing, Gaussian noise"
    version: ClassVar[str] = "2"
    certificate: ClassVar[NeymanPearson] = NeymanPearson()
    only: ClassVar[str | None] = Gaussian.name
