"""The geometric mean of the losses of an attack and of interval bounds."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from evaluators.learning.bounds import WorstLogits
from evaluators.learning.expressive import Expressive
from evaluators.learning.recipe import Loss

LEAST = 1e-6
"""Added to the attack's loss: the derivative of its power is infinite at 0."""


@dataclass(frozen=True)
class ExpIBPTraining(Expressive):
    """Minimise CE(attacked)^(1 - α)·CE(bounded)^α (De Palma et al. 2024, arXiv 2305.13991).

    The mean is taken over the powers of each example.
    """

    title = "Exp-IBP"

    def mixed(self, attacked: WorstLogits, bounded: WorstLogits, labels: Tensor) -> Loss:
        """Multiply the powers of the cross-entropies."""
        losses = [F.cross_entropy(one, labels, reduction="none") for one in (attacked, bounded)]
        powers = (losses[0] + LEAST) ** (1 - self.share) * (losses[1] + LEAST) ** self.share
        return powers.mean()
