"""Plain training: cross-entropy on the examples as they are."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from evaluators.learning.recipe import Loss, Recipe, TrainingBatch
from evaluators.network.network import Network


@dataclass(frozen=True)
class Standard(Recipe):
    """Minimise the cross-entropy of the training set; nothing is done for robustness."""

    title: ClassVar[str] = "Standard training"

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy."""
        return F.cross_entropy(network(batch.x), batch.labels)
