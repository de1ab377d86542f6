"""A weighted sum of the losses of an attack and of interval bounds."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from evaluators.learning.bounds import WorstLogits
from evaluators.learning.expressive import Expressive
from evaluators.learning.recipe import Loss


@dataclass(frozen=True)
class MTLIBPTraining(Expressive):
    """Minimise (1 - α)·CE(attacked) + α·CE(bounded) (De Palma et al. 2024, arXiv 2305.13991).

    A small α leaves room for accuracy, and certificates to branch and bound.
    """

    title = "MTL-IBP"

    def mixed(self, attacked: WorstLogits, bounded: WorstLogits, labels: Tensor) -> Loss:
        """Add the two cross-entropies."""
        losses = F.cross_entropy(attacked, labels), F.cross_entropy(bounded, labels)
        return (1 - self.share) * losses[0] + self.share * losses[1]
