"""Randomised smoothing with uniform noise in a cube (Yang et al. 2020, arXiv 2002.08118, table 1;
Lee et al. 2019, arXiv 1906.04948): entries uniform in [-λ, λ], radii in ℓ1.

If the top class has probability at least p under the noise, the smoothed network's answer cannot
change for ‖δ‖₁ < 2 λ (p - 1/2); with another's probability at most p_B, for ‖δ‖₁ < λ (p - p_B).

Proof. The cube and the shifted cube share the part Π(1 - |δᵢ|/(2λ)) >= 1 - ‖δ‖₁/(2λ) of their
volume, so no event's probability changes by more than ‖δ‖₁/(2λ). Along an axis the event "entry i
at most c" loses all of that: the bound is the exact worst case over the ℓ1 ball.

Guarantee: as for `smoothing-gaussian`, with ℓ1 balls of that radius. ℓ2 balls of radius r/√d and ℓ∞
balls of radius r/d lie inside the ℓ1 ball of radius r.

Trusted: as there; the noise is a multiple of 2^-52 (float64), shifted to lie in [-1, 1), times λ.

Cost: at most n0 + n forward passes for each example.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from evaluators.question.problem import Norm
from evaluators.sampling.distribution import SLACK, Column, Distribution, Shift
from evaluators.smoothing.certificate import NeymanPearson
from evaluators.smoothing.smoothing import Smoothing


class Flat(Distribution):
    """Uniform noise in a body: all that matters is the part that the shifted body misses."""

    def privacy(self, epsilon: Column, shift: Shift) -> Column:
        """δ is the part missed, whatever ε >= 0."""
        return np.full_like(epsilon, self.missed(shift))

    def least(self, p: float, shift: Shift) -> float:
        """All of the part missed is lost by an event that contains it."""
        missed = self.missed(shift)
        return max(p - missed - SLACK * missed, 0.0)

    def renyi(self, order: Column, shift: Shift) -> Column:
        """ln(1 - part missed) / (α - 1) below order 1, else infinite."""
        missed = self.missed(shift)
        if missed >= 1:
            return np.full_like(order, np.inf)
        below = np.minimum(order, 0.9)
        value = -np.log1p(-missed) / (1 - below) * (1 + SLACK)
        return np.where(order <= 0.9, value, np.inf)

    def total_variation(self, shift: Shift) -> float:
        """The part missed."""
        return self.missed(shift)

    @abstractmethod
    def missed(self, shift: Shift) -> float:
        """Largest part of the shifted body's volume outside of the body, rounded up; at most 1."""


class Uniform(Flat):
    """Independent entries, uniform in [-λ, λ]; its scale is λ."""

    name = "uniform"
    own = (Norm.L1,)

    def fill(
        self, generator: np.random.Generator, out: Float64[np.ndarray, "rows entries"]
    ) -> None:
        """Uniform in [-1, 1)."""
        generator.random(out=out)
        out *= 2.0
        out -= 1.0

    def missed(self, shift: Shift) -> float:
        """t/2, of a shift along an axis."""
        return min(0.5 * shift.distance * (1 + SLACK), 1.0)

    def growth(self, q: Column, norm: Norm, dimension: int) -> Column:  # noqa: ARG002
        """1/2 for every q: a slice of the cube."""
        return np.full_like(q, 0.5)


@dataclass(frozen=True)
class SmoothingUniform(Smoothing):
    """Randomised smoothing with uniform noise in a cube."""

    title: ClassVar[str] = "Randomised smoothing, uniform noise"
    version: ClassVar[str] = "1"
    certificate: ClassVar[NeymanPearson] = NeymanPearson()
    only: ClassVar[str | None] = Uniform.name
