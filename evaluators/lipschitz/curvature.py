"""How far functions of the logits bend downwards in a region.

Along any path a margin m changes its gradient by its Hessian, which is a sum over the elementwise
nodes I of the network,

    ∇²m = Σ_I J_Iᵀ diag(∂m/∂a_I · f''(z_I)) J_I,

J_I the Jacobian of the node's inputs z_I, a_I = f(z_I) its outputs (Singla and Feizi 2020, arXiv
2006.00731, lemma 1, there for chains of dense layers). So -K <= ∇²m with K the sum of ‖J_I‖² times
the largest negative value that ∂m/∂a_I · f''(z_I) has there.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from evaluators.lipschitz.gradients import Enclosure, gradients
from evaluators.lipschitz.operators import constant_of
from evaluators.network.elementwise import Elementwise, SShaped
from evaluators.network.network import Network, Product, Sum
from evaluators.propagation.intervals import Interval
from evaluators.question.norm import Norm

PAD = 1 + 1e-9
"""Covers all roundings of sums and products of non-negative numbers here."""


def smooth(network: Network) -> bool:
    """Whether the second derivative of every function is known."""
    curved = (Elementwise, Product)
    functions = [n.operation for n in network.nodes if isinstance(n.operation, curved)]
    return all(isinstance(f, SShaped) and not math.isnan(f.bend) for f in functions)


def curvatures(network: Network, bounds: Sequence[Interval], rows: Tensor) -> Tensor:
    """Bound K of each row of the logits, `[batch, rows]`: nowhere is a Hessian below -K.

    Args:
        network: smooth, in float64, without max-pooling.
        bounds: of all nodes, `[batch, *shape]`: the region that the bounds hold in is their
            input's box.
        rows: `[batch, rows, classes]`, exact.
    """
    reach = _jacobians(network, bounds)
    total = torch.zeros(rows.shape[:2], dtype=rows.dtype, device=rows.device)

    def add(position: int, gradient: Enclosure) -> None:
        function, (parent,) = network.nodes[position].operation, network.nodes[position].parents
        assert isinstance(function, SShaped)
        bend = _second_derivatives(function, bounds[parent])
        product = gradient.times(Enclosure(bend.middle[:, None], bend.radius[:, None]))
        deepest = (product.radius - product.middle).flatten(2).amax(2).clamp(min=0)
        total.add_(deepest * (reach[parent] ** 2)[:, None] * PAD)

    found = gradients(network, bounds, rows, add)
    assert found is not None
    return total * PAD


def _second_derivatives(function: SShaped, within: Interval) -> Enclosure:
    """The values of f'' between bounds of its input."""
    ends = [function.second_derivative(end) for end in within]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    for point in (-function.bend, function.bend):
        value = function.second_derivative(torch.full_like(low, point))
        inside = (within.lower <= point + 1e-9) & (within.upper >= point - 1e-9)
        low = torch.where(inside, torch.minimum(low, value), low)
        high = torch.where(inside, torch.maximum(high, value), high)
    found = Enclosure.of(low, high)
    return found._replace(radius=found.radius + 1e-13)


def _jacobians(network: Network, bounds: Sequence[Interval]) -> list[Tensor]:
    """Bound the spectral norm of each node's Jacobian in the region, `[batch]`."""
    found = [bounds[0].lower.new_ones(len(bounds[0].lower))]
    for node in network.nodes[1:]:
        parents = torch.stack([found[parent] for parent in node.parents])
        if isinstance(node.operation, SShaped):
            lower, upper = (end.flatten(1) for end in bounds[node.parents[0]])
            nearest = torch.maximum(lower, -upper).clamp(min=0)  # to zero, where it is steepest
            slope = node.operation.derivative(nearest).amax(1) * PAD
            found.append(parents[0] * slope * PAD)
        elif isinstance(node.operation, Sum):
            found.append(parents.sum(0) * PAD)
        else:
            found.append(parents[0] * constant_of(node.operation, Norm.L2) * PAD)
    return found
