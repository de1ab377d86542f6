"""Networks of ℓ∞ distances, whose margins certify by themselves."""

from dataclasses import dataclass
from math import inf

import torch.nn.functional as F

from evaluators.learning.distance import Distances
from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch

LEAST, DOUBLED = 8.0, 2
"""The first order of the norm, and how often it is doubled before it is infinite."""


@dataclass(frozen=True)
class LinfDistanceTraining(Recipe):
    """Minimise a hinge of the margins of ℓ∞-distance layers (Zhang et al. 2021).

    Only for `--architecture linf-distance`, which is its default. In training the distances are of
    order p, which is doubled from 8 to 32 and in the last `exact` of the training is infinite
    (arXiv 2102.05363, where it grows to 1000). A margin of twice the radius is a certificate, and
    interval bounds prove it. Learning rates of some hundredths learn most.

    Attributes:
        radius: to certify, in units of pixels in [0, 1].
        slack: how many times the certifying margin the hinge asks for.
        exact: share of the training with infinite order.
    """

    radius: float = 0.1
    slack: float = 3.0
    exact: float = 0.1

    title = "ℓ∞-distance network"
    paper = "Zhang et al. 2021, arXiv 2102.05363"
    node = "training/regularization-based"
    architecture = "linf-distance"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean hinge, after setting the order for this point of the training."""
        done = batch.progress / (1 - self.exact)
        order = inf if done >= 1 else LEAST * 2 ** round(DOUBLED * done)
        for part in learner.modules():
            if isinstance(part, Distances):
                part.order = order
        logits = learner(batch.x)
        label = F.one_hot(batch.labels, logits.shape[1]) == 1
        margins = logits[label] - logits.masked_fill(label, -inf).amax(1)
        return F.relu(2 * self.radius * self.slack - margins).mean()
