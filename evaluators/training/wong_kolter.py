"""Training on the dual bounds of Wong and Kolter, of every neuron and of the margins."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from evaluators.deterministic.fast_lin import PARALLEL
from evaluators.learning.bounds import box_around, linear_worst, tightened
from evaluators.learning.growing import GrowingRadius
from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, TrainingBatch
from evaluators.network.network import Network
from evaluators.propagation.relaxed import Relaxed


@dataclass(frozen=True)
class WongKolterTraining(GrowingRadius):
    """Minimise the cross-entropy of dual bounds (Wong and Kolter 2018, arXiv 1711.00851).

    Each hidden neuron costs a backward pass for each example: for small networks and images. The
    random projections of the authors' second paper, which estimate, are not used.
    """

    title = "Wong-Kolter training"
    paper = "Wong and Kolter 2018, arXiv 1711.00851"
    node = "training/relaxation-based"
    for_intervals = True

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the cross-entropy of the worst logits; at first the plain one."""
        x, labels, progress, _ = batch
        radius = self.radius * self.grown(progress)
        if not radius:
            return F.cross_entropy(learner(x), labels)
        if learner.normalised:
            learner(x)
        return F.cross_entropy(linear_worst(relaxed(learner.network(), x, radius), labels), labels)


def relaxed(network: Network, x: Tensor, radius: float) -> Relaxed:
    """Bound every node, those that elementwise functions read by the dual or by intervals."""
    return tightened(network, box_around(x, radius), x, PARALLEL)
