"""Relaxations: which linear bounds stand for a non-linearity. Functions of its input's bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.elementwise import Elementwise, LeakyReLU, Slopes
from evaluators.network.network import MaxPool, Network, Product
from evaluators.propagation.intervals import Interval


class Lines(NamedTuple):
    """Lines below and above an elementwise function; every field is `[batch, *shape]`."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor


class PoolPlanes(NamedTuple):
    """PoolPlanes below and above the largest entry of each window of a max-pooling layer.

    Attributes:
        entry: flat positions of the input entries that the planes are made of, `[batch, outputs,
            terms]`; where a window has fewer, some position with weights 0.
        lower_weight, upper_weight: of these entries, in [0, 1], `[batch, outputs, terms]`.
        lower_intercept, upper_intercept: `[batch, outputs]`.
    """

    entry: Tensor
    lower_weight: Tensor
    lower_intercept: Tensor
    upper_weight: Tensor
    upper_intercept: Tensor


class Windows(NamedTuple):
    """The inputs of each window of a max-pooling layer.

    Attributes:
        place: flat position of each input, 0 in the padding, `[outputs, size]`.
        lower, upper: its bounds, -inf in the padding, `[batch, outputs, size]`.
    """

    place: Tensor
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, pool: MaxPool, interval: Interval) -> "Windows":
        """The windows of a layer whose inputs lie in an interval."""
        windows = pool.windows.to(interval.lower.device)
        padding, place = windows < 0, windows.clamp(min=0)
        lower, upper = (
            bound.flatten(1)[:, place].masked_fill(padding, -torch.inf) for bound in interval
        )
        return cls(place, lower, upper)


@dataclass(frozen=True)
class Relaxation:
    """What a method puts in the place of each non-linear operation.

    Attributes:
        slopes: of the lines below and above an elementwise function; intercepts follow from them.
        planes: below and above the windows of max-pooling.
        covers: the non-linear operations that it has lines or planes for.
    """

    slopes: Callable[[Elementwise, Interval], Slopes]
    planes: Callable[[MaxPool, Interval], PoolPlanes]
    covers: tuple[type[Elementwise | MaxPool | Product], ...] = (Elementwise, MaxPool, Product)

    def lines(self, function: Elementwise, interval: Interval) -> Lines:
        """The lines with the chosen slopes that are surely on their side of the function."""
        slopes = self.slopes(function, interval)
        lower_intercept, upper_intercept = function.intercepts(slopes, *interval)
        return Lines(slopes.lower, lower_intercept, slopes.upper, upper_intercept)

    def missing(self, network: Network) -> list[str]:
        """Names of a network's non-linear operations that are not covered."""
        operations = (
            node.operation
            for node in network.nodes
            if isinstance(node.operation, Elementwise | MaxPool | Product)
        )
        names = {
            operation.name if isinstance(operation, Elementwise) else type(operation).__name__
            for operation in operations
            if not isinstance(operation, self.covers)
        }
        return sorted(names)


def adaptive_slopes(function: Elementwise, interval: Interval) -> Slopes:
    """CROWN's slopes (Zhang et al. 2018, arXiv 1811.00866, section 3.3)."""
    return function.slopes(*interval)


def parallel_slopes(function: Elementwise, interval: Interval) -> Slopes:
    """The chord's slope on both sides of a ReLU (Weng et al. 2018, arXiv 1804.09699, eq. 6).

    Of a leaky ReLU likewise. Other functions keep CROWN's slopes.
    """
    slopes = function.slopes(*interval)
    if not isinstance(function, LeakyReLU):
        return slopes
    return Slopes(slopes.upper, slopes.upper)


def winner_planes(pool: MaxPool, interval: Interval) -> PoolPlanes:
    """One input of each window below, it or a constant above (Singh et al. 2019, section 4.4).

    Below, the input with the largest lower bound. Above, the same input where it is surely the
    largest of its window, else the window's largest upper bound.
    """
    places, lower, upper = Windows.of(pool, interval)
    best = lower.argmax(dim=2, keepdim=True)
    floor = lower.gather(2, best)
    others = upper.scatter(2, best, -torch.inf).amax(dim=2, keepdim=True)
    dominates = floor >= others
    weight = dominates.to(floor.dtype)
    ceiling = torch.where(dominates[..., 0], 0.0, upper.amax(dim=2))
    place = places.expand(len(lower), -1, -1).gather(2, best)
    return PoolPlanes(place, torch.ones_like(floor), torch.zeros_like(ceiling), weight, ceiling)


ADAPTIVE = Relaxation(adaptive_slopes, winner_planes)
"""CROWN's lines; max-pooling, which its paper does not treat, as in DeepPoly."""
