"""Interval arithmetic over the canonical graph (IBP, Gowal et al. 2018, arXiv 1810.12715).

With `rounding`, every interval contains the true values in real arithmetic, and `deployed` ones
also what any float32 run computes (`evaluators/network/deployment.py`); without, the formulas are
plain and differentiable, for training.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.network.deployment import (
    FLUSHED,
    LARGEST,
    ROOM,
    batched_most,
    flushed_error,
    products_error,
    run_error,
    small_weights,
)
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Input, MaxPool, Network, Operation, Product, Sum
from evaluators.numerics.rounding import UNDERFLOW, UNIT, down, gamma, up


class Interval(NamedTuple):
    """All values between two tensors of shape `[batch, *shape]`, entry by entry."""

    lower: Tensor
    upper: Tensor

    @property
    def magnitude(self) -> Tensor:
        """Largest absolute value, entry by entry."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    def widened(self, error: Tensor) -> "Interval":
        """With room for an error on both sides, entry by entry."""
        return Interval(down(self.lower - error), up(self.upper + error))

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
    deployed: bool = False,
) -> list[Interval]:
    """Bounds of every node over the box [lower, upper], in the order of `network.nodes`.

    With `rounding` the network and the box must be float64.
    """
    bounds = [Interval(lower, upper)]
    for node in network.nodes[1:]:
        parents = [bounds[parent] for parent in node.parents]
        bounds.append(propagate(node.operation, parents, rounding, deployed=deployed))
    return bounds


def propagate(
    operation: Operation,
    parents: list[Interval],
    rounding: bool = True,
    *,
    deployed: bool = False,
) -> Interval:
    """Bounds of one operation's result from bounds of its inputs."""
    if isinstance(operation, AffineMap):
        return _affine(operation, parents[0], rounding, deployed)
    result = _propagate(operation, parents, rounding)
    if not deployed:
        return result
    error = run_error(operation, [parent.magnitude for parent in parents], parents[0])
    return result if error is None else result.widened(error)


def _propagate(operation: Operation, parents: list[Interval], rounding: bool) -> Interval:
    if isinstance(operation, Elementwise):
        if rounding or not operation.monotone:
            return Interval(*operation.bounds(*parents[0]))
        return Interval(operation(parents[0].lower), operation(parents[0].upper))
    if isinstance(operation, MaxPool):
        return Interval(operation(parents[0].lower), operation(parents[0].upper))
    if isinstance(operation, Sum):
        return _sum(parents, rounding)
    if isinstance(operation, Product):
        return _product(parents[0], parents[1], rounding)
    assert isinstance(operation, Input)
    raise TypeError("The input's bounds are given, not propagated.")


def _sum(parents: list[Interval], rounding: bool) -> Interval:
    lower, upper = parents[0]
    for other in parents[1:]:
        lower, upper = lower + other.lower, upper + other.upper
        if rounding:
            lower, upper = down(lower), up(upper)
    return Interval(lower, upper)


def _product(first: Interval, second: Interval, rounding: bool) -> Interval:
    corners = torch.stack([one * other for one in first for other in second])
    lower, upper = corners.amin(0), corners.amax(0)
    return Interval(down(lower), up(upper)) if rounding else Interval(lower, upper)


def _affine(operation: AffineMap, x: Interval, rounding: bool, deployed: bool) -> Interval:
    if operation.fan_in == 0:
        return _moved(operation, x, rounding, deployed)
    middle = (x.lower + x.upper).mul_(0.5)
    if not rounding:
        spread = operation.absolute((x.upper - x.lower) / 2)
        center = operation(middle)
        return Interval(center - spread, center + spread)
    # One product with |W| bounds what the inputs may vary, what a float32 run may lose, and what
    # rounding may do here: with g = γ of eight terms more, W·middle is off by less than g and this
    # product by less than g of itself, 1 + share at most twice; 4g covers both with the roundings
    # of all these lines. In few passes over memory, which cost as much as the products.
    share = products_error(operation) if deployed else 0.0
    error = 4 * gamma(operation.fan_in + 8) + share
    reach = (x.upper - x.lower).mul_((1 + error) / 2).add_(middle.abs(), alpha=error)
    if deployed:
        reach.add_(FLUSHED * (1 + error))
    spread, center = operation.absolute(reach), operation.linear(middle)
    least: Tensor | float = (UNDERFLOW + (flushed_error(operation) if deployed else 0.0)) * ROOM
    if operation.bias is not None:
        center = center.add_(operation.bias)
        least = operation.bias.abs() * ((share + 8 * UNIT) * ROOM) + least
    if deployed and (small := small_weights(operation)):
        least = least + batched_most(x.magnitude, center.dim()) * (small * ROOM)
    spread.add_(least)
    # `spread` is at least that share of all magnitudes that are summed up.
    largest = share * LARGEST * operation.neighbours.low
    if deployed and not (spread.numel() and bool(spread.amax() < largest)):
        spread = torch.where(spread < largest, spread, torch.inf)
    return Interval(center - spread, spread.add_(center))


def _moved(operation: AffineMap, x: Interval, rounding: bool, deployed: bool) -> Interval:
    """Bounds of a map that moves entries, and may add constants."""
    lower, upper = operation(x.lower), operation(x.upper)
    if operation.bias is None or not rounding:
        return Interval(lower, upper)
    lost = run_error(operation, [x.magnitude]) if deployed else None
    if lost is None:
        return Interval(down(lower), up(upper))
    # It is more than 2^-22 of all magnitudes, and a share of 2^-28 covers float64's roundings.
    lost = lost * (1 + 2.0**-28)
    return Interval(lower - lost, upper + lost)
