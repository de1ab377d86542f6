"""Training on linear bounds of the margins over interval bounds of the neurons."""

from dataclasses import dataclass
from fractions import Fraction

import torch.nn.functional as F

from evaluators.learning.bounds import box_around, linear_worst, worst_of_last
from evaluators.learning.growing import GrowingBounds
from evaluators.learning.midrad import midrad_bounds
from evaluators.learning.recipe import Loss, TrainingBatch
from evaluators.network.network import Network
from evaluators.propagation.relaxation import ADAPTIVE
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.region import Ball


@dataclass(frozen=True)
class CrownIBPTraining(GrowingBounds):
    """Minimise CE(β·CROWN-IBP + (1 - β)·IBP) (Zhang et al. 2020, arXiv 1906.06316, section 3.2).

    Both bound the logits less the label's; β falls from 1 to 0 while the radius grows, so that the
    tighter bound leads, and the cheaper one, which trains better, ends.

    Attributes:
        last_share: β at the end.
    """

    last_share: float = 0.0

    title = "CROWN-IBP"
    paper = "Zhang et al. 2020, arXiv 1906.06316"

    def bounded(self, network: Network, batch: TrainingBatch, grown: float) -> Loss:
        """Compute the cross-entropy of the mixed bounds."""
        x, labels, *_ = batch
        found = midrad_bounds(network, box_around(x, self.radius * grown))
        worst, share = worst_of_last(network, found, labels), 1 - (1 - self.last_share) * grown
        if share:
            bounds = [one.interval for one in found]
            ball = Ball(Norm.LINF, Fraction(self.radius * grown))
            linear = linear_worst(Relaxed(network, bounds, x, ball, ADAPTIVE), labels)
            worst = share * linear + (1 - share) * worst
        return F.cross_entropy(worst, labels)
