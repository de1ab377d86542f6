"""Training on adversarial points."""

from dataclasses import dataclass

import torch.nn.functional as F

from evaluators.learning.attack import Steps, attacked
from evaluators.learning.bounds import box_around
from evaluators.learning.growing import GrowingRadius
from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, TrainingBatch


@dataclass(frozen=True)
class AdversarialTraining(GrowingRadius):
    """Minimise cross-entropy at points that PGD finds (Madry et al. 2018, arXiv 1706.06083).

    Attributes:
        steps: of the attack.
    """

    steps: int = 8

    title = "Adversarial training"
    paper = "Madry et al. 2018, arXiv 1706.06083"
    node = "training/adversarial"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy at the attack's points."""
        x, labels, progress, generator = batch
        radius = self.radius * self.grown(progress)
        if radius:
            if learner.normalised:
                learner(x)
            box = box_around(x, radius)
            x = attacked(learner.network(), box, labels, Steps(self.steps), generator)
        return F.cross_entropy(learner(x), labels)
