"""Bounds for losses: the evaluators' own formulas, without rounding and with derivatives."""

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network
from evaluators.propagation.intervals import Interval, interval_bounds

WorstLogits = Float32[Tensor, "batch classes"]
"""Upper bounds of every logit minus the label's; 0 for the label itself."""


def box_around(x: Tensor, radius: float) -> Interval:
    """Make the ℓ∞ balls around images, cut to pixels in [0, 1]."""
    return Interval((x - radius).clamp(0, 1), (x + radius).clamp(0, 1))


def worst_logits(network: Network, box: Interval, labels: Int64[Tensor, " batch"]) -> WorstLogits:
    """Bound every logit minus the label's from above, over a box, by intervals.

    The differences are merged with the last layer (Gowal et al. 2018, section 3, "elision of the
    last layer").
    """
    return worst_of_last(network, interval_bounds(network, *box, rounding=False), labels)


def worst_of_last(
    network: Network, bounds: list[Interval], labels: Int64[Tensor, " batch"]
) -> WorstLogits:
    """Bound every logit minus the label's, given bounds of all nodes.

    Raises:
        ValueError: the network does not end with a matrix and a bias.
    """
    last = network.nodes[-1]
    if not isinstance(last.operation, Dense) or last.operation.bias is None:
        raise ValueError("Interval training needs a network that ends with a matrix and a bias.")
    weight, bias = last.operation.weight, last.operation.bias
    hidden = bounds[last.parents[0]]
    middle, spread = (hidden.lower + hidden.upper) / 2, (hidden.upper - hidden.lower) / 2
    differences = (weight[None, :] - weight[:, None]).abs()
    # All pairs of classes at once: their number is small beside the batch.
    widths = torch.einsum("bh,ych->byc", spread, differences)
    logits = F.linear(middle, weight, bias)
    rows = torch.arange(len(labels), device=labels.device)
    worst: Tensor = logits - logits[rows, labels][:, None] + widths[rows, labels]
    return worst


def inputs_of_functions(network: Network, bounds: list[Interval]) -> list[Interval]:
    """List the bounds of what each elementwise function of a network reads."""
    return [
        bounds[node.parents[0]] for node in network.nodes if isinstance(node.operation, Elementwise)
    ]
