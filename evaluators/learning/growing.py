"""Recipes for an ℓ∞ ball whose radius grows in the course of the training."""

from abc import abstractmethod
from dataclasses import dataclass

import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch
from evaluators.network.network import Network


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


@dataclass(frozen=True)
class GrowingBounds(GrowingRadius):
    """A recipe whose loss, once the radius grows, is one of bounds of the network's logits."""

    node = "training/relaxation-based"
    for_intervals = True

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the loss of bounds at this stage of the training; at first the plain one."""
        grown = self.grown(batch.progress)
        if not self.radius * grown:
            return F.cross_entropy(learner(batch.x), batch.labels)
        # Where there is normalisation, this pass finds its statistics.
        if learner.normalised:
            learner(batch.x)
        return self.bounded(learner.network(), batch, grown)

    @abstractmethod
    def bounded(self, network: Network, batch: TrainingBatch, grown: float) -> Loss:
        """Compute the loss of bounds for the share `grown` of the radius."""
