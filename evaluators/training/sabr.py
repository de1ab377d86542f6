"""Training on interval bounds of a small box around an adversarial point."""

from dataclasses import dataclass

import torch.nn.functional as F

from evaluators.learning.attack import Steps, attacked
from evaluators.learning.bounds import box_around, worst_logits
from evaluators.learning.growing import GrowingBounds
from evaluators.learning.recipe import Loss, TrainingBatch
from evaluators.network.network import Network


@dataclass(frozen=True)
class SABRTraining(GrowingBounds):
    """Minimise the worst logits of a small box (Müller et al. 2023, arXiv 2210.04871, section 3).

    The box of radius λ·ε lies inside the ball of radius ε, its centre found by an attack in the
    ball of radius (1 - λ)·ε.

    Attributes:
        share: λ, the small box's size against the ball's.
        steps: of the attack.
    """

    share: float = 0.1
    steps: int = 8

    title = "SABR"
    paper = "Müller et al. 2023, arXiv 2210.04871"

    def bounded(self, network: Network, batch: TrainingBatch, grown: float) -> Loss:
        """Compute the cross-entropy of the small box's worst logits."""
        x, labels, _, generator = batch
        radius = self.radius * grown
        small = self.share * radius
        room = box_around(x, radius - small)
        centre = attacked(network, room, labels, Steps(self.steps), generator)
        return F.cross_entropy(worst_logits(network, box_around(centre, small), labels), labels)
