"""Training on Laplace noise, for smoothing in ℓ1."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch


@dataclass(frozen=True)
class LaplaceTraining(Recipe):
    """Minimise cross-entropy on examples with Laplace noise (Teng et al. 2020).

    As Gaussian augmentation (Cohen et al. 2019, arXiv 1902.02918), with the noise of the ℓ1
    certificate (openreview.net/forum?id=H1lQIgrFDS).

    Attributes:
        sigma: the scale λ of each entry, in units of pixels in [0, 1].
    """

    sigma: float = 0.25

    title = "Laplace data augmentation"
    paper = "Teng et al. 2020, openreview.net/forum?id=H1lQIgrFDS"
    node = "training/augmentation-based"
    noise = "laplace"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy with fresh noise on every example."""
        x, labels, _, generator = batch
        size = torch.empty_like(x).exponential_(generator=generator)
        sign = torch.randint(2, x.shape, generator=generator, device=x.device) * 2 - 1
        return F.cross_entropy(learner(x + self.sigma * sign * size), labels)
