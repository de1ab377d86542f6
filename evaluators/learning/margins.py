"""The loss of networks whose layers cannot stretch distances."""

from dataclasses import dataclass

import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch


@dataclass(frozen=True)
class LargeMargins(Recipe):
    """Minimise t·CE((logits - u·label) / t) (Prach and Lampert 2022, arXiv 2208.03160).

    Margins count until they are about u: divided by √2 they are the radius that is certified.

    Attributes:
        offset: u.
        temperature: t.
    """

    offset: float = 1.41421356
    temperature: float = 0.25

    node = "training/regularization-based"
    rescaling = "almost-orthogonal"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the loss of the plain logits."""
        logits = learner(batch.x)
        wanted = self.offset * F.one_hot(batch.labels, logits.shape[1])
        return self.temperature * F.cross_entropy(
            (logits - wanted) / self.temperature, batch.labels
        )
