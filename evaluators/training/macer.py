"""Training that enlarges the certified radius of the smoothed network itself."""

from dataclasses import dataclass
from math import sqrt

import torch.nn.functional as F
from torch import Tensor

from evaluators.learning.learner import Learner
from evaluators.learning.noisy import GaussianCopies
from evaluators.learning.recipe import Loss, TrainingBatch

LEAST = 1e-3
"""Distance of probabilities from 0 and 1: there radii have infinite derivatives."""


@dataclass(frozen=True)
class MACERTraining(GaussianCopies):
    """Add a hinge of soft certified radii to the loss (Zhai et al. 2020, arXiv 2001.02378).

    The radius is σ/2·(Φ⁻¹(p_label) - Φ⁻¹(p_other)) of mean softmax probabilities at temperature
    1/β (section 4); it counts for examples that the smoothed network has right.

    Attributes:
        weight: λ of the radii.
        margin: γ, beyond which a radius is not enlarged, as Φ⁻¹ differences.
        beta: the inverse temperature.
    """

    copies: int = 8
    weight: float = 6.0
    margin: float = 8.0
    beta: float = 16.0

    title = "MACER"
    paper = "Zhai et al. 2020, arXiv 2001.02378"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the cross-entropy of the mean softmax, and the hinge."""
        logits, labels = learner(self.repeated(batch.x) + self.drawn(batch)), batch.labels
        mean = self.apart(F.softmax(logits, 1)).mean(0)
        loss = F.nll_loss(mean.clamp(min=1e-10).log(), labels)
        sharp = self.apart(F.softmax(self.beta * logits, 1)).mean(0)
        label = F.one_hot(labels, sharp.shape[1]) == 1
        other = sharp.masked_fill(label, -1).amax(1)
        right = sharp[label] > other
        gap = _quantile(sharp[label]) - _quantile(other)
        counted = right & (gap < self.margin)
        hinge = ((self.margin - gap) * counted).sum() * self.sigma / 2
        return loss + self.weight / self.copies * hinge / len(labels)


def _quantile(p: Tensor) -> Tensor:
    """Φ⁻¹."""
    return sqrt(2) * (2 * p.clamp(LEAST, 1 - LEAST) - 1).erfinv()
