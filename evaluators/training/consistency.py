"""Training that makes the network answer all noisy copies of an image alike."""

from dataclasses import dataclass

import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.noisy import GaussianCopies
from evaluators.learning.recipe import Loss, TrainingBatch


@dataclass(frozen=True)
class ConsistencyTraining(GaussianCopies):
    """Add the divergence of copies' answers from their mean (Jeong and Shin 2020).

    Cross-entropy on noisy copies, λ·KL(mean ‖ each copy) and η times the mean's entropy (arXiv
    2006.04062).

    Attributes:
        weight: λ.
        entropy: η.
    """

    weight: float = 10.0
    entropy: float = 0.5

    title = "Consistency regularisation"
    paper = "Jeong and Shin 2020, arXiv 2006.04062"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the three terms, each a mean over the batch."""
        logits = learner(self.repeated(batch.x) + self.drawn(batch))
        loss = F.cross_entropy(logits, self.repeated(batch.labels))
        answers = self.apart(F.log_softmax(logits, 1))
        mean = answers.exp().mean(0)
        logs = mean.clamp(min=1e-20).log()
        divergence = (mean * (logs - answers)).sum(2).mean()
        return loss + self.weight * divergence - self.entropy * (mean * logs).sum(1).mean()
