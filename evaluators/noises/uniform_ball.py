"""Uniform noise in a Euclidean ball: z uniform in {‖z‖₂ <= λ}, radii in ℓ2.

Two balls of radius λ in d dimensions whose centres are t apart share the part
1 - I(t²/(4λ²); 1/2, (d + 1)/2) of their volume (I is the regularised incomplete beta function: two
caps). So no event's probability changes by more than V(t) = I(t²/(4λ²); 1/2, (d + 1)/2), and the
event "outside of the shifted ball" changes by that: exact in every direction, by symmetry.
"""

from math import exp, lgamma, pi, sqrt

import numpy as np
from scipy.special import betainc

from evaluators.noises.distribution import Draws, Shift, Vector
from evaluators.noises.flat import FlatNoise
from evaluators.question.norm import Norm

BETA_ERROR = 1e-9
"""More than the relative error of `betainc`, and of differences of `lgamma`, up to d = 10⁶."""


class UniformBallNoise(FlatNoise):
    """Uniform in the Euclidean ball; its scale is the ball's radius λ."""

    name = "uniform-ball"
    own = (Norm.L2,)

    def fill(self, generator: np.random.Generator, out: Draws) -> None:
        """Draw a direction, and a length with distribution function r^d."""
        fill_directions(generator, out)
        out *= generator.random((len(out), 1)) ** (1.0 / out.shape[1])

    def missed(self, shift: Shift) -> float:
        """Compute the shifted ball's part outside of the ball: all but two caps."""
        if shift.distance >= 2:
            return 1.0
        part = betainc(0.5, (shift.dimension + 1) / 2, (shift.distance / 2) ** 2)
        return float(min(part * (1 + BETA_ERROR), 1.0))

    def growth(self, q: Vector, norm: Norm, dimension: int) -> Vector:  # noqa: ARG002
        """Divide the volume of the unit ball of d - 1 dimensions by that of d, for every q."""
        slope = exp(lgamma(dimension / 2 + 1) - lgamma((dimension + 1) / 2)) / sqrt(pi)
        return np.full_like(q, slope * (1 + BETA_ERROR))


def fill_directions(generator: np.random.Generator, out: Draws) -> None:
    """Fill with independent rows of Euclidean length one, of uniform direction."""
    generator.standard_normal(out=out)
    out /= np.sqrt(np.einsum("ij,ij->i", out, out))[:, None]
