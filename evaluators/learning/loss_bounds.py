"""Bounds for losses, of a PyTorch module that learns: differentiable, and no proofs."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float32
from torch import Tensor, nn

from evaluators.learning.bounds import region_of, tightened, walked
from evaluators.learning.live_module import live_network
from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Input, Network, Node, Sum
from evaluators.propagation.bounds import names_of_nodes
from evaluators.propagation.intervals import Interval, interval_bounds
from evaluators.propagation.relaxation import ADAPTIVE
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Region

METHODS = "ibp", "crown-ibp", "crown"


@dataclass(frozen=True)
class LossBounds:
    """Float32 intervals `[batch, *shape]` with derivatives by the weights and the examples.

    They follow the formulas of the certified ones without their rounding: nothing is proved by
    them, not even where they are strict. A certificate needs `bound` without derivatives, or
    `certify`, after training.

    Attributes:
        logits: of the outputs.
        layers: of the result of every node, in order, by its name.
    """

    logits: Interval
    layers: Mapping[str, Interval]


def loss_bounds(
    model: nn.Module | Network, x: Float32[Tensor, "batch *shape"], region: Region, method: str
) -> LossBounds:
    """Bound every layer and the logits for a loss.

    Args:
        model: a module, whose own parameters get the derivatives; or a network.
        x: the examples.
        region: a ball in ℓ∞ or boxes.
        method: "ibp", "crown-ibp" (linear bounds for the logits) or "crown" (for all that feeds a
            non-linearity, too).

    Raises:
        UnsupportedModelError: the module has layers that are not read with derivatives.
        ValueError: no method has that name, the region is another ball, or linear bounds are asked
            of other functions than (leaky) ReLUs.
    """
    if method not in METHODS:
        raise ValueError(f"No method is called '{method}', only {', '.join(METHODS)}.")
    box = _box(region, x)
    network = live_network(model, x) if isinstance(model, nn.Module) else model
    network = network if isinstance(model, nn.Module) else network.to(x.dtype, x.device)
    if method != "ibp" and not all(map(_has_lines, network.nodes)):
        raise ValueError("Linear bounds with derivatives are of (leaky) ReLUs only: ask for 'ibp'.")
    if method == "crown":
        relaxed = tightened(network, box, x, ADAPTIVE)
    else:
        bounds = interval_bounds(network, *box, rounding=False)
        relaxed = Relaxed(network, bounds, x, region_of(box), ADAPTIVE)
    last = len(network.nodes) - 1
    found = list(relaxed.bounds)
    if method != "ibp":
        found[last] = walked(relaxed, last)
    return LossBounds(found[last], dict(zip(names_of_nodes(network), found, strict=True)))


def _has_lines(node: Node) -> bool:
    return isinstance(node.operation, AffineMap | Input | LeakyReLU | Sum)


def _box(region: Region, x: Tensor) -> Interval:
    """The region, rounded to the examples' type, with derivatives by them."""
    if isinstance(region, Ball):
        if region.norm is not Norm.LINF:
            raise ValueError("Bounds with derivatives are about boxes and balls of linf only.")
        radius, ends = float(region.radius), (region.low, region.high)
        return Interval((x - radius).clamp(*ends), (x + radius).clamp(*ends))
    return Interval(region.lower.to(x), region.upper.to(x))
