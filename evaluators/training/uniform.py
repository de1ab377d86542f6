"""Training on uniform noise, for smoothing in ℓ1."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch


@dataclass(frozen=True)
class UniformTraining(Recipe):
    """Minimise cross-entropy on examples with uniform noise (Yang et al. 2020, arXiv 2002.08118).

    Attributes:
        sigma: the scale λ: entries are uniform in [-λ, λ], in units of pixels in [0, 1].
    """

    sigma: float = 0.5

    title = "Uniform data augmentation"
    paper = "Yang et al. 2020, arXiv 2002.08118"
    node = "training/augmentation-based"
    noise = "uniform"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy with fresh noise on every example."""
        x, labels, _, generator = batch
        noise = torch.rand(x.shape, generator=generator, device=x.device) * 2 - 1
        return F.cross_entropy(learner(x + self.sigma * noise), labels)
