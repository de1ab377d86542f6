"""Adversarial training of the smoothed network."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.learning.learner import Learner
from evaluators.learning.noisy import GaussianCopies
from evaluators.learning.recipe import Loss, TrainingBatch


@dataclass(frozen=True)
class SmoothAdvTraining(GaussianCopies):
    """Minimise cross-entropy at adversarial points of the soft smoothed network, with noise.

    The attack climbs the cross-entropy of the mean softmax over the noisy copies, whose noise is
    the same in all of its steps and in the loss (Salman et al. 2019, arXiv 1906.04584;
    SmoothAdv-PGD in ℓ2).

    Attributes:
        radius: of the ℓ2 ball that is attacked, in units of pixels in [0, 1].
        steps: of the attack.
        warm_up: share of the training in which the radius grows from 0.
    """

    radius: float = 0.25
    steps: int = 2
    warm_up: float = 0.1

    title = "SmoothAdv"
    paper = "Salman et al. 2019, arXiv 1906.04584"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy of all copies at the attacked points."""
        noise, radius = self.drawn(batch), self.radius * min(1.0, batch.progress / self.warm_up)
        point = self._attacked(learner, batch, noise, radius)
        return F.cross_entropy(learner(self.repeated(point) + noise), self.repeated(batch.labels))

    def _attacked(
        self, learner: Learner, batch: TrainingBatch, noise: Tensor, radius: float
    ) -> Tensor:
        x, labels = batch.x, batch.labels
        if learner.normalised:
            learner(self.repeated(x) + noise)
        network, shift = learner.network(), torch.zeros_like(x)
        for _ in range(self.steps):
            shift.requires_grad_()
            logits = network(self.repeated(x + shift) + noise)
            mean = self.apart(F.softmax(logits, 1)).mean(0)
            loss = F.nll_loss(mean.clamp(min=1e-20).log(), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, shift)
            moved = shift.detach() + 2 * radius / self.steps * _scaled(gradient, 1e-12)
            shift = _scaled(moved, radius) * radius if radius else moved
            shift = (x + shift).clamp(0, 1) - x
        return (x + shift).detach()


def _scaled(rows: Tensor, least: float) -> Tensor:
    """Each row divided by its ℓ2 norm, or by `least` where that is more."""
    norms = torch.linalg.vector_norm(rows.flatten(1), dim=1).clamp(min=least)
    scaled: Tensor = rows / norms.reshape(-1, *(1,) * (rows.dim() - 1))
    return scaled
