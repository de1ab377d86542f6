"""Losses between those of an attack and of interval bounds (De Palma et al. 2024)."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from evaluators.learning.attack import Steps, attacked
from evaluators.learning.bounds import WorstLogits, box_around, worst_logits
from evaluators.learning.growing import GrowingBounds
from evaluators.learning.recipe import Loss, TrainingBatch
from evaluators.network.network import Network


@dataclass(frozen=True)
class Expressive(GrowingBounds):
    """Mixes the margins at an adversarial point with interval bounds of them.

    Attributes:
        share: α, of the bounds, from 0 (adversarial training) to 1 (IBP).
        steps: of the attack.
        length: of each step, as a share of the ball's radius.
    """

    share: float = 0.1
    steps: int = 4
    length: float = 0.25

    paper = "De Palma et al. 2024, arXiv 2305.13991"

    def bounded(self, network: Network, batch: TrainingBatch, grown: float) -> Loss:
        """Compute the mixture at this stage of the training."""
        x, labels, _, generator = batch
        box = box_around(x, self.radius * grown)
        point = attacked(network, box, labels, Steps(self.steps, self.length), generator)
        logits = network(point)
        margins = logits - logits.gather(1, labels[:, None])
        return self.mixed(margins, worst_logits(network, box, labels), labels)

    @abstractmethod
    def mixed(self, attacked: WorstLogits, bounded: WorstLogits, labels: Tensor) -> Loss:
        """Mix logits minus the label's at a point of the box with upper bounds of them."""
