"""Uniform noise in a cube: independent entries, uniform in [-λ, λ], radii in ℓ1.

The cube and the shifted cube share the part Π(1 - |δᵢ|/(2λ)) >= 1 - ‖δ‖₁/(2λ) of their volume, so
no event's probability changes by more than ‖δ‖₁/(2λ). Along an axis the event "entry i at most c"
loses all of that: the bound is the exact worst case over the ℓ1 ball.
"""

import numpy as np

from evaluators.noises.distribution import SLACK, Draws, Shift, Vector
from evaluators.noises.flat import FlatNoise
from evaluators.question.norm import Norm


class UniformNoise(FlatNoise):
    """Independent entries, uniform in [-λ, λ]; its scale is λ."""

    name = "uniform"
    own = (Norm.L1,)

    def fill(self, generator: np.random.Generator, out: Draws) -> None:
        """Draw uniformly from [-1, 1)."""
        generator.random(out=out)
        out *= 2.0
        out -= 1.0

    def missed(self, shift: Shift) -> float:
        """Compute t/2, which a shift along an axis misses."""
        return min(0.5 * shift.distance * (1 + SLACK), 1.0)

    def growth(self, q: Vector, norm: Norm, dimension: int) -> Vector:  # noqa: ARG002
        """Return 1/2 for every q: a slice of the cube."""
        return np.full_like(q, 0.5)
