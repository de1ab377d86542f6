"""Plain training: cross-entropy on the examples as they are."""

import torch.nn.functional as F

from evaluators.learning.recipe import Loss, Recipe, TrainingBatch
from evaluators.network.network import Network


class Standard(Recipe):
    """Minimise the cross-entropy of the training set; nothing is done for robustness."""

    title = "Standard training"

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy."""
        return F.cross_entropy(network(batch.x), batch.labels)
