"""Adversarial training of a network that is easy to verify: few unstable ReLUs, sparse weights."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from evaluators.learning.attack import Steps, attacked
from evaluators.learning.bounds import box_around, inputs_of_functions
from evaluators.learning.growing import GrowingRadius
from evaluators.learning.learner import Learner
from evaluators.learning.midrad import midrad_bounds
from evaluators.learning.recipe import Loss, TrainingBatch


@dataclass(frozen=True)
class ReLUStabilityTraining(GrowingRadius):
    """Add regularisers to adversarial training, for exact solvers (Xiao et al. 2019).

    1 - tanh(1 + l·u) of each ReLU's bounds l and u is near 0 where it is stable, and ℓ1 norms make
    weights small (arXiv 1809.03008, sections 3.1 and 3.3).

    Attributes:
        stability: weight of the sum over ReLUs, mean over examples.
        sparsity: weight of the ℓ1 norm of all matrices and kernels.
        steps: of the attack.
    """

    stability: float = 1e-3
    sparsity: float = 1e-5
    steps: int = 8

    title = "ReLU stability"
    paper = "Xiao et al. 2019, arXiv 1809.03008"
    node = "training/regularization-based"

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the cross-entropy at the attack's points, and the regularisers."""
        x, labels, progress, generator = batch
        grown = self.grown(progress)
        sizes = [weight.abs().sum() for weight in learner.parameters() if weight.dim() > 1]
        loss = self.sparsity * torch.stack(sizes).sum()
        if not grown:
            return loss + F.cross_entropy(learner(x), labels)
        if learner.normalised:
            learner(x)
        network, box = learner.network(), box_around(x, self.radius * grown)
        point = attacked(network, box, labels, Steps(self.steps), generator)
        inputs = inputs_of_functions(network, midrad_bounds(network, box))
        ends = [read.interval for read in inputs]
        unstable = [(1 - torch.tanh(1 + low * high)).flatten(1).sum(1) for low, high in ends]
        loss = loss + self.stability * torch.stack(unstable).sum(0).mean()
        return loss + F.cross_entropy(network(point), labels)
