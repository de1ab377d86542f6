"""Uniform noise in a body: what certificates ask follows from the part that a shift misses."""

from abc import abstractmethod

import numpy as np

from evaluators.noises.distribution import SLACK, Distribution, Shift, Vector


class FlatNoise(Distribution):
    """Uniform noise in a body: all that matters is the part that the shifted body misses."""

    def privacy(self, epsilon: Vector, shift: Shift) -> Vector:
        """δ is the part missed, whatever ε >= 0."""
        return np.full_like(epsilon, self.missed(shift))

    def least(self, p: float, shift: Shift) -> float:
        """All of the part missed is lost by an event that contains it."""
        missed = self.missed(shift)
        return max(p - missed - SLACK * missed, 0.0)

    def renyi(self, order: Vector, shift: Shift) -> Vector:
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
