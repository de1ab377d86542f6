"""Randomised smoothing with uniform noise in a Euclidean ball (Yang et al. 2020, arXiv 2002.08118,
table 1): z uniform in {‖z‖₂ <= λ}, radii in ℓ2.

Two balls of radius λ in d dimensions whose centres are t apart share the part
1 - I(t²/(4λ²); 1/2, (d + 1)/2) of their volume (I is the regularised incomplete beta function: two
caps). So no event's probability changes by more than V(t) = I(t²/(4λ²); 1/2, (d + 1)/2), and the
event "outside of the shifted ball" changes by that. The smoothed network's answer cannot change
while p_A - p_B > 2 V(‖δ‖₂): exact in every direction, by symmetry.

Guarantee: as for `smoothing-gaussian`, with ℓ2 balls of that radius, ℓ1 balls of radius r and ℓ∞
balls of radius r/√d inside of them. Neyman and Pearson's radius is larger than the level set
method's here: V is concave, and a level set knows only its slope at 0.

Trusted: as there; the noise is a normal vector divided by its length, times U^(1/d), U uniform.

Cost: at most n0 + n forward passes for each example.
"""

from dataclasses import dataclass
from math import exp, lgamma, pi, sqrt
from typing import ClassVar

import numpy as np
from jaxtyping import Float64
from scipy.special import betainc

from evaluators.probabilistic.smoothing_uniform import Flat
from evaluators.question.problem import Norm
from evaluators.sampling.distribution import Column, Shift
from evaluators.smoothing.certificate import NeymanPearson
from evaluators.smoothing.smoothing import Smoothing

BETA_ERROR = 1e-9
"""More than the relative error of `betainc`, and of differences of `lgamma`, up to d = 10⁶."""


class UniformBall(Flat):
    """Uniform in the Euclidean ball; its scale is the ball's radius λ."""

    name = "uniform-ball"
    own = (Norm.L2,)

    def fill(
        self, generator: np.random.Generator, out: Float64[np.ndarray, "rows entries"]
    ) -> None:
        """A direction, and a length with distribution function r^d."""
        fill_directions(generator, out)
        out *= generator.random((len(out), 1)) ** (1.0 / out.shape[1])

    def missed(self, shift: Shift) -> float:
        """The shifted ball's part outside of the ball: all but two caps."""
        if shift.distance >= 2:
            return 1.0
        part = betainc(0.5, (shift.dimension + 1) / 2, (shift.distance / 2) ** 2)
        return float(min(part * (1 + BETA_ERROR), 1.0))

    def growth(self, q: Column, norm: Norm, dimension: int) -> Column:  # noqa: ARG002
        """For every q the volume of the unit ball of d - 1 dimensions over that of d dimensions."""
        slope = exp(lgamma(dimension / 2 + 1) - lgamma((dimension + 1) / 2)) / sqrt(pi)
        return np.full_like(q, slope * (1 + BETA_ERROR))


def fill_directions(
    generator: np.random.Generator, out: Float64[np.ndarray, "rows entries"]
) -> None:
    """Fill with independent rows of Euclidean length one, of uniform direction."""
    generator.standard_normal(out=out)
    out /= np.sqrt(np.einsum("ij,ij->i", out, out))[:, None]


@dataclass(frozen=True)
class SmoothingUniformBall(Smoothing):
    """Randomised smoothing with uniform noise in a Euclidean ball."""

    title: ClassVar[str] = "Randomised smoothing, uniform noise in a ball"
    version: ClassVar[str] = "1"
    certificate: ClassVar[NeymanPearson] = NeymanPearson()
    only: ClassVar[str | None] = UniformBall.name
