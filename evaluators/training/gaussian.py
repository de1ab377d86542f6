"""Training on noisy examples, so that a smoothed network can certify."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch


@dataclass(frozen=True)
class GaussianTraining(Recipe):
    """Minimise cross-entropy on examples with Gaussian noise (Cohen et al. 2019, arXiv 1902.02918).

    Attributes:
        sigma: of the noise, in units of pixels in [0, 1]; the one the network is smoothed with.
    """

    sigma: float = 0.25

    title = "Gaussian data augmentation"
    paper = "Cohen et al. 2019, arXiv 1902.02918"
    node = "training/augmentation-based"
    noise = "gaussian"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy with fresh noise on every example."""
        noise = torch.randn(batch.x.shape, generator=batch.generator, device=batch.x.device)
        return F.cross_entropy(learner(batch.x + self.sigma * noise), batch.labels)
