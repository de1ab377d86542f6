"""Plain training: cross-entropy on the examples as they are."""

import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch


class Standard(Recipe):
    """Minimise the cross-entropy of the training set; nothing is done for robustness."""

    title = "Standard training"
    paper = "cross-entropy on the images as they are"
    node = "training/standard"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy."""
        return F.cross_entropy(learner(batch.x), batch.labels)
