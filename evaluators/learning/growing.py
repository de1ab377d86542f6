"""Recipes for an ℓ∞ ball whose radius grows in the course of the training."""

from dataclasses import dataclass

from evaluators.learning.recipe import Recipe


@dataclass(frozen=True)
class GrowingRadius(Recipe):
    """A recipe that first learns plainly, then for a growing radius, then for all of it.

    Attributes:
        radius: the largest radius trained for, in units of pixels in [0, 1].
        warm_up: share of the training before the radius starts to grow.
        ramp: share of the training at which it is fully grown.
    """

    radius: float = 0.1
    warm_up: float = 0.02
    ramp: float = 0.5

    def grown(self, progress: float) -> float:
        """Compute the share of the radius, from 0 to 1, at this point of the training."""
        if progress >= self.ramp:
            return 1.0
        return max((progress - self.warm_up) / (self.ramp - self.warm_up), 0.0)
