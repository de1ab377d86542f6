"""Interval arithmetic over the canonical graph (IBP, Gowal et al. 2018, arXiv 1810.12715).

With `rounding`, every interval contains the true values in real arithmetic; without, the same
formulas are plain and differentiable, for training.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.affine import AffineMap
from evaluators.elementwise import Elementwise
from evaluators.network import Input, MaxPool, Network, Operation, Sum
from evaluators.rounding import UNDERFLOW, UNIT, down, gamma, up


class Interval(NamedTuple):
    """All values between two tensors of shape `[batch, *shape]`, entry by entry."""

    lower: Tensor
    upper: Tensor

    @property
    def magnitude(self) -> Tensor:
        """Largest absolute value, entry by entry."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    def meet(self, other: "Interval") -> "Interval":
        """The better bound of two valid intervals, entry by entry; NaN stays NaN."""
        return Interval(
            torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper)
        )


def interval_bounds(
    network: Network,
    lower: Float[Tensor, "batch *shape"],
    upper: Float[Tensor, "batch *shape"],
    rounding: bool = True,
) -> list[Interval]:
    """Bounds of every node over the box [lower, upper], in the order of `network.nodes`.

    With `rounding` the network and the box must be float64.
    """
    bounds = [Interval(lower, upper)]
    for node in network.nodes[1:]:
        parents = [bounds[parent] for parent in node.parents]
        bounds.append(propagate(node.operation, parents, rounding))
    return bounds


def propagate(operation: Operation, parents: list[Interval], rounding: bool = True) -> Interval:
    """Bounds of one operation's result from bounds of its inputs."""
    if isinstance(operation, AffineMap):
        return _affine(operation, parents[0], rounding)
    if isinstance(operation, Elementwise):
        if rounding:
            return Interval(*operation.bounds(*parents[0]))
        return Interval(operation(parents[0].lower), operation(parents[0].upper))
    if isinstance(operation, MaxPool):
        return Interval(operation(parents[0].lower), operation(parents[0].upper))
    if isinstance(operation, Sum):
        return _sum(parents, rounding)
    assert isinstance(operation, Input)
    raise TypeError("The input's bounds are given, not propagated.")


def _sum(parents: list[Interval], rounding: bool) -> Interval:
    lower, upper = parents[0]
    for other in parents[1:]:
        lower, upper = lower + other.lower, upper + other.upper
        if rounding:
            lower, upper = down(lower), up(upper)
    return Interval(lower, upper)


def _affine(operation: AffineMap, x: Interval, rounding: bool) -> Interval:
    if operation.fan_in == 0:
        lower, upper = operation(x.lower), operation(x.upper)
        if rounding and operation.bias is not None:
            lower, upper = down(lower), up(upper)
        return Interval(lower, upper)
    middle = (x.lower + x.upper) / 2
    if not rounding:
        spread = operation.absolute((x.upper - x.lower) / 2)
        center = operation(middle)
        return Interval(center - spread, center + spread)
    # One product with |W| bounds both what the inputs may vary and what rounding may do to W·middle
    # and to this product itself: 2γ covers γ with the roundings of these lines to spare. In place,
    # for the passes over memory cost as much as the products.
    error = 2 * gamma(operation.fan_in + 4)
    reach = (x.upper - x.lower).mul_((1 + error) / 2).add_(middle.abs(), alpha=error)
    spread = operation.absolute(reach)
    center = operation(middle)
    spread = spread.mul_(1 + error).add_(UNDERFLOW).add_(center.abs(), alpha=8 * UNIT)
    return Interval(center - spread, center + spread)
