"""Training on interval bounds: what is minimised is what the `ibp` evaluator proves."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.learning.bounds import box_around, inputs_of_functions, worst_of_last
from evaluators.learning.growing import GrowingRadius
from evaluators.learning.learner import Learner
from evaluators.learning.midrad import MidRad, midrad_bounds
from evaluators.learning.recipe import Loss, TrainingBatch

SEEN = 32
"""Of so many examples of a batch the regularisers are computed."""

TOLERANCE = 0.5
"""τ of the regularisers: how unlike the balance of a layer may be before it costs."""


@dataclass(frozen=True)
class IBPTraining(GrowingRadius):
    """Minimise the loss of the worst logits in an ℓ∞ ball by interval bounds (Gowal et al. 2018).

    The loss is κ·CE(logits) + (1 - κ)·CE(worst logits); while the radius grows from 0, κ falls
    from 1 to `clean_share` (arXiv 1810.12715, sections 3 and 4). The network first learns plainly,
    and after the ramp goes on at the full radius. While it grows, two regularisers keep bounds from
    growing through the layers and ReLUs from dying (Shi et al. 2021, arXiv 2103.17268).
    Bounds are a middle and a spread: two products a layer.

    Attributes:
        clean_share: κ at the end.
        regulariser: weight of the regularisers at radius 0; it falls to 0 with the radius' growth.
        settled: share of the training after which batch normalisation is by the averages of what
            was seen before; from then on there is one pass less.
    """

    clean_share: float = 0.0
    regulariser: float = 0.0
    settled: float = 1.0

    title = "Interval bound propagation training"
    paper = "Gowal et al. 2018, arXiv 1810.12715; Shi et al. 2021, arXiv 2103.17268"
    node = "training/relaxation-based"
    for_intervals = True

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mixed cross-entropy at this stage of the training."""
        x, labels, progress, _ = batch
        share = self.grown(progress)
        clean = 1 - (1 - self.clean_share) * share
        loss = x.new_zeros(())
        if progress >= self.settled:
            learner.settle()
        # Where there is normalisation, this pass also finds its statistics.
        if clean or (learner.normalised and progress < self.settled):
            logits = learner(x)
            loss = clean * F.cross_entropy(logits, labels) if clean else loss
        if share:
            network = learner.network()
            bounds = midrad_bounds(network, box_around(x, self.radius * share))
            worst = worst_of_last(network, bounds, labels)
            loss = loss + (1 - clean) * F.cross_entropy(worst, labels)
            if self.regulariser and share < 1:
                unbalanced = imbalance(inputs_of_functions(network, bounds), bounds[0])
                loss = loss + self.regulariser * (1 - share) * unbalanced
        return loss


def imbalance(inputs: list[MidRad], box: MidRad) -> Tensor:
    """Compute how far bounds grow and ReLUs lean to one side, 0 where neither does.

    As Shi et al. 2021 have it: of each layer the mean width against the box's, and the
    means and variances of middles of active and of inactive ReLUs against each other; of the
    first `SEEN` examples, which are enough for means.
    """
    first = (box.radius[:SEEN] * box.unit).mean()
    total = first.new_zeros(())
    for read in inputs:
        middle, radius = (part[:SEEN] * read.unit for part in read[:2])
        total = total + F.relu(TOLERANCE - first / radius.mean().clamp(min=1e-12))
        active, inactive = middle > radius, middle < -radius
        squares = (middle - middle.mean()) ** 2
        for values in (middle.abs(), squares):
            total = total + _apart((values * active).sum(), (values * inactive).sum())
    return total / (TOLERANCE * len(inputs))


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """By how much the ratio of two sums falls short of the tolerance; 0 where one is empty."""
    if not bool((one > 0) & (other > 0)):
        return torch.zeros_like(one)
    return F.relu(TOLERANCE - torch.minimum(one / other, other / one))
