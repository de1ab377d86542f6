"""Training on interval bounds: what is minimised is what the `ibp` evaluator proves."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.learning.recipe import Loss, Recipe, TrainingBatch
from evaluators.network.affine import Dense
from evaluators.network.network import Network
from evaluators.propagation.intervals import Interval, interval_bounds


@dataclass(frozen=True)
class IBPTraining(Recipe):
    """Minimise the loss of the worst logits in an ℓ∞ ball by interval bounds (Gowal et al. 2018).

    The loss is κ·CE(logits) + (1 - κ)·CE(worst logits); while the radius grows from 0, κ falls
    from 1 to `clean_share` (arXiv 1810.12715, sections 3 and 4). The network first learns plainly,
    and after the ramp goes on at the full radius.

    Attributes:
        radius: the largest radius trained for, in units of pixels in [0, 1].
        clean_share: κ at the end.
        warm_up: share of the training before the radius starts to grow.
        ramp: share of the training at which it is fully grown.
    """

    radius: float = 0.1
    clean_share: float = 0.0
    warm_up: float = 0.02
    ramp: float = 0.5

    title = "Interval bound propagation training"
    for_intervals = True

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """Compute the mixed cross-entropy at this stage of the training."""
        x, labels, progress, _ = batch
        grown = min(max((progress - self.warm_up) / (self.ramp - self.warm_up), 0.0), 1.0)
        clean = 1 - (1 - self.clean_share) * grown
        loss = x.new_zeros(())
        if clean:
            loss = clean * F.cross_entropy(network(x), labels)
        if grown:
            radius = self.radius * grown
            box = Interval((x - radius).clamp(0, 1), (x + radius).clamp(0, 1))
            worst = worst_logits(network, box, labels)
            loss = loss + (1 - clean) * F.cross_entropy(worst, labels)
        return loss


def worst_logits(
    network: Network, box: Interval, labels: Int64[Tensor, " batch"]
) -> Float32[Tensor, "batch classes"]:
    """Bound every logit minus the label's from above, over a box (0 for the label itself).

    The differences are merged with the last layer (section 3, "elision of the last layer").
    """
    last = network.nodes[-1]
    if not isinstance(last.operation, Dense) or last.operation.bias is None:
        raise ValueError("Interval training needs a network that ends with a matrix and a bias.")
    weight, bias = last.operation.weight, last.operation.bias
    hidden = interval_bounds(network, *box, rounding=False)[last.parents[0]]
    middle, spread = (hidden.lower + hidden.upper) / 2, (hidden.upper - hidden.lower) / 2
    differences = (weight[None, :] - weight[:, None]).abs()
    # All pairs of classes at once: their number is small beside the batch.
    widths = torch.einsum("bh,ych->byc", spread, differences)
    logits = F.linear(middle, weight, bias)
    rows = torch.arange(len(labels), device=labels.device)
    worst: Tensor = logits - logits[rows, labels][:, None] + widths[rows, labels]
    return worst
