"""Bounds for losses: the evaluators' own formulas, without rounding and with derivatives."""

from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.learning.midrad import MidRad, midrad_bounds
from evaluators.network.affine import AffineMap, Dense
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network
from evaluators.propagation.backward import Walk
from evaluators.propagation.concretization import least_over_box
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.intervals import Interval, propagate
from evaluators.propagation.linear_bounds import margin_rows
from evaluators.propagation.relaxation import Relaxation
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.region import Box

WorstLogits = Float32[Tensor, "batch classes"]
"""Upper bounds of every logit minus the label's; 0 for the label itself."""


def box_around(x: Tensor, radius: float) -> Interval:
    """Make the ℓ∞ balls around images, cut to pixels in [0, 1]."""
    return Interval((x - radius).clamp(0, 1), (x + radius).clamp(0, 1))


def region_of(box: Interval) -> Box:
    """Name a box as the region that bounds are about; derivatives go by way of the box itself."""
    return Box(box.lower.detach().double(), box.upper.detach().double())


def worst_logits(network: Network, box: Interval, labels: Int64[Tensor, " batch"]) -> WorstLogits:
    """Bound every logit minus the label's from above, over a box, by intervals.

    The differences are merged with the last layer (Gowal et al. 2018, section 3, "elision of the
    last layer").
    """
    return worst_of_last(network, midrad_bounds(network, box), labels)


def worst_of_last(
    network: Network, bounds: list[MidRad], labels: Int64[Tensor, " batch"]
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
    middle, spread = hidden.middle * hidden.unit, hidden.radius * hidden.unit
    differences = (weight[None, :] - weight[:, None]).abs()
    # All pairs of classes at once: their number is small beside the batch.
    widths = torch.einsum("bh,ych->byc", spread, differences)
    logits = F.linear(middle, weight, bias)
    rows = torch.arange(len(labels), device=labels.device)
    worst: Tensor = logits - logits[rows, labels][:, None] + widths[rows, labels]
    return worst


def inputs_of_functions(network: Network, bounds: list[MidRad]) -> list[MidRad]:
    """List the bounds of what each elementwise function of a network reads."""
    return [
        bounds[node.parents[0]] for node in network.nodes if isinstance(node.operation, Elementwise)
    ]


class _Rows(DenseRows):
    """Rows whose products are all remembered for derivatives."""

    def adjoint(self, rows: Tensor, operation: AffineMap, position: int) -> Tensor:  # noqa: ARG002
        """The map's adjoint of all rows at once."""
        flat = rows.reshape(-1, *operation.output_shape)
        return operation.adjoint(flat).reshape(*rows.shape[:2], *operation.input_shape)


def linear_lower(relaxed: Relaxed, start: int, rows: Tensor) -> Tensor:
    """Bound linear functions of one node from below, by the evaluators' backward walk.

    Args:
        relaxed: bounds of all nodes before `start`.
        start: the node.
        rows: the functions, `[batch, rows, *shape of start]`.

    Returns:
        `[batch, rows]`, without what rounding is charged.
    """
    carrier = _Rows(relaxed.network, torch.arange(len(rows), device=rows.device))
    walk = Walk(relaxed, carrier, rows.new_zeros(rows.shape[:2]))
    walk.go(start, rows)
    if 0 not in walk.waiting:
        return walk.constant
    coefficients = walk.waiting[0].rows
    value, _ = least_over_box(carrier, coefficients, 0, relaxed.center(0))
    return walk.constant + value


def tightened(network: Network, box: Interval, x: Tensor, relaxation: Relaxation) -> Relaxed:
    """Bound every node over a box, those that elementwise functions read by backward walks, too."""
    found = Relaxed(network, [box], x, region_of(box), relaxation)
    read = {n.parents[0] for n in network.nodes if isinstance(n.operation, Elementwise)}
    for position, node in enumerate(network.nodes[1:], start=1):
        parents = [found.bounds[parent] for parent in node.parents]
        found.bounds.append(propagate(node.operation, parents, rounding=False))
        if position in read:
            found.bounds[position] = walked(found, position)
    return found


def walked(relaxed: Relaxed, position: int) -> Interval:
    """Bound every entry of a node by backward walks, given bounds of all nodes up to it."""
    bounds, shape = relaxed.bounds[position], relaxed.network.nodes[position].shape
    size = prod(shape)
    units = torch.eye(size, device=relaxed.x.device, dtype=relaxed.x.dtype)
    rows = units.reshape(1, size, *shape).expand(len(relaxed.x), size, *shape)
    lower, upper = (linear_lower(relaxed, position, sign * rows) for sign in (1, -1))
    return bounds.meet(Interval(lower.reshape_as(bounds.lower), -upper.reshape_as(bounds.upper)))


def linear_worst(relaxed: Relaxed, labels: Int64[Tensor, " batch"]) -> WorstLogits:
    """Bound every logit minus the label's by backward walks, 0 for the label itself."""
    classes, last = relaxed.network.classes, len(relaxed.network.nodes) - 1
    rows = margin_rows(labels, classes).to(relaxed.x.dtype)
    margins = linear_lower(relaxed, last, rows)
    others = F.one_hot(labels, classes) == 0
    return torch.zeros_like(others, dtype=margins.dtype).masked_scatter(others, -margins)
