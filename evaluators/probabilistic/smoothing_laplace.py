"""Randomised smoothing with Laplace noise (Teng, Lee and Yuan 2020; Yang et al. 2020,
arXiv 2002.08118, table 1): entries of density exp(-|z|/b) / (2b), radii in ℓ1.

If the top class has probability at least p > 1/2 under the noise, the smoothed network's answer
cannot change for ‖δ‖₁ < b ln(1 / (2 (1 - p))).

Proof. Along a shift of direction v, ‖v‖₁ = 1, an event of probability q loses at most
Φ(q) = min(q, 1 - q) per unit of length, since log densities change by at most one per unit. So its
probability after the shift t is at least F(F⁻¹(q) - t/b), where F is the distribution function of
one entry: F(F⁻¹(q) - t) solves q' = -Φ(q). The event "entry i at most F⁻¹(q)" loses just as much
under the shift t of entry i, so that the bound is the exact worst case over the ℓ1 ball.

Guarantee: as for `smoothing-gaussian`, with ℓ1 balls of that radius. ℓ2 balls of radius r/√d and ℓ∞
balls of radius r/d lie inside the ℓ1 ball of radius r.

Trusted: as there; the noise is an exponential variate (ziggurat, float64) with a random sign.

Cost: at most n0 + n forward passes for each example.
"""

from dataclasses import dataclass
from math import exp
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from evaluators.question.problem import Norm
from evaluators.sampling.distribution import SLACK, Column, Distribution, Shift
from evaluators.smoothing.certificate import NeymanPearson
from evaluators.smoothing.smoothing import Smoothing


class LogLipschitz(Distribution):
    """Noise whose log density changes by at most the size of the shift, in its own norms.

    The formulas are those of one Laplace entry shifted by t. The proof above holds for all such
    noise, hence its trade-off functions are above that pair's, and so are all divergences that
    shrink under data processing at most that pair's (Blackwell's theorem; Dong, Roth and Su 2022,
    arXiv 1905.02383, theorem 2.10).
    """

    def least(self, p: float, shift: Shift) -> float:
        """F(F⁻¹(p) - t) with F(z) = exp(z)/2 for z <= 0 and 1 - exp(-z)/2 for z >= 0."""
        if shift.distance > 700:
            return 0.0
        grown = (1 - p) * exp(shift.distance) * (1 + SLACK)
        if p < 0.5:
            return p * exp(-shift.distance) * (1 - SLACK)
        return (1 - grown) * (1 - SLACK) if grown < 0.5 else (1 - SLACK) / (4 * grown)

    def privacy(self, epsilon: Column, shift: Shift) -> Column:
        """δ = 1 - exp((ε - t)/2) for ε < t, else 0: the Laplace mechanism, exactly."""
        delta = -np.expm1(0.5 * np.minimum(epsilon - shift.distance, 0.0)) * (1 + SLACK)
        return np.where(epsilon < shift.distance, delta + SLACK, 0.0)

    def renyi(self, order: Column, shift: Shift) -> Column:
        """ln(α/(2α-1) exp((α-1)t) + (α-1)/(2α-1) exp(-αt)) / (α-1) for orders α > 1.

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
        """1 - exp(-t/2)."""
        return float(-np.expm1(-0.5 * shift.distance) * (1 + SLACK))

    def growth(self, q: Column, norm: Norm, dimension: int) -> Column:  # noqa: ARG002
        """Φ(q) = q on (0, 1/2]."""
        return q


class Laplace(LogLipschitz):
    """Independent Laplace entries; its scale is b. Its formulas are exact."""

    name = "laplace"
    own = (Norm.L1,)

    def fill(
        self, generator: np.random.Generator, out: Float64[np.ndarray, "rows entries"]
    ) -> None:
        """Exponential variates with random signs."""
        generator.standard_exponential(out=out)
        bits = np.frombuffer(generator.bytes(-(-out.size // 8)), np.uint8)
        signs = np.unpackbits(bits, count=out.size).astype(bool).reshape(out.shape)
        np.negative(out, out=out, where=signs)


@dataclass(frozen=True)
class SmoothingLaplace(Smoothing):
    """Randomised smoothing with Laplace noise."""

    title: ClassVar[str] = "Randomised smoothing, Laplace noise"
    version: ClassVar[str] = "1"
    certificate: ClassVar[NeymanPearson] = NeymanPearson()
    only: ClassVar[str | None] = Laplace.name
