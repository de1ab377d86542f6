"""Training on the dual bounds of Wong and Kolter, of every neuron and of the margins."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from evaluators.deterministic.fast_lin import PARALLEL
from evaluators.learning.bounds import box_around, linear_worst, tightened
from evaluators.learning.growing import GrowingBounds
from evaluators.learning.recipe import Loss, TrainingBatch
from evaluators.network.network import Network
from evaluators.propagation.relaxed import Relaxed


@dataclass(frozen=True)
class WongKolterTraining(GrowingBounds):
    """Minimise the cross-entropy of dual bounds (Wong and Kolter 2018, arXiv 1711.00851).

    Each hidden neuron costs a backward pass for each example: for small networks and images. The
    random projections of the authors' second paper, which estimate, are not used.
    """

    title = "Wong-Kolter training"
    paper = "Wong and Kolter 2018, arXiv 1711.00851"

    def bounded(self, network: Network, batch: TrainingBatch, grown: float) -> Loss:
        """Compute the cross-entropy of the worst logits."""
        bounds = relaxed(network, batch.x, self.radius * grown)
        return F.cross_entropy(linear_worst(bounds, batch.labels), batch.labels)


def relaxed(network: Network, x: Tensor, radius: float) -> Relaxed:
    """Bound every node, those that elementwise functions read by the dual or by intervals."""
    return tightened(network, box_around(x, radius), x, PARALLEL)
