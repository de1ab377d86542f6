"""Uniform noise in a body: what certificates ask follows from the part that a shift misses."""

from abc import abstractmethod

import numpy as np

from evaluators.noises.distribution import SLACK, Distribution, Shift, Vector


class FlatNoise(Distribution):
    """Uniform noise in a body: all that matters is the part that the shifted body misses."""

    def privacy(self, epsilon: Vector, shift: Shift) -> Vector:
        """Take the part missed for δ, whatever ε >= 0."""
        return np.full_like(epsilon, self.missed(shift))

    def least(self, p: float, shift: Shift) -> float:
        """Subtract the part missed: an event that contains it loses all of it."""
        missed = self.missed(shift)
        return max(p - missed - SLACK * missed, 0.0)

    def renyi(self, order: Vector, shift: Shift) -> Vector:
        """Compute ln(1 - part missed) / (α - 1) below order 1; it is infinite elsewhere."""
        missed = self.missed(shift)
        if missed >= 1:
            return np.full_like(order, np.inf)
        below = np.minimum(order, 0.9)
        value = -np.log1p(-missed) / (1 - below) * (1 + SLACK)
        return np.where(order <= 0.9, value, np.inf)

    def total_variation(self, shift: Shift) -> float:
        """Return the part missed."""
        return self.missed(shift)

    @abstractmethod
    def missed(self, shift: Shift) -> float:
        """Bound the part of the shifted body outside of the body, from above; at most 1."""
