"""The loss of logits between those of an attack and interval bounds."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from evaluators.learning.bounds import WorstLogits
from evaluators.learning.expressive import Expressive
from evaluators.learning.recipe import Loss


@dataclass(frozen=True)
class CCIBPTraining(Expressive):
    """Minimise CE((1 - α)·attacked + α·bounded) (De Palma et al. 2024, arXiv 2305.13991)."""

    title = "CC-IBP"

    def mixed(self, attacked: WorstLogits, bounded: WorstLogits, labels: Tensor) -> Loss:
        """Combine the logits."""
        return F.cross_entropy((1 - self.share) * attacked + self.share * bounded, labels)
