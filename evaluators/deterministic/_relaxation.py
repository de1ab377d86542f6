"""Relaxations: which lines stand for a non-linearity. Pure functions of pre-activation bounds."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.deterministic._intervals import Interval
from evaluators.elementwise import Elementwise
from evaluators.network import MaxPool


class Lines(NamedTuple):
    """Lines below and above an elementwise function; every field is `[batch, *shape]`."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor


class Winner(NamedTuple):
    """Linear bounds of max-pooling: one input of each window below, it or a constant above.

    Attributes:
        place: flat position of the input entry with the largest lower bound, `[batch, outputs]`.
        dominates: whether that entry is surely the largest of its window.
        ceiling: largest upper bound in the window.
    """

    place: Tensor
    dominates: Tensor
    ceiling: Tensor


Relaxation = Callable[[Elementwise, Interval], Lines]


def adaptive(function: Elementwise, interval: Interval) -> Lines:
    """CROWN's lines (Zhang et al. 2018, arXiv 1811.00866, section 3.3), safely intercepted."""
    slopes = function.slopes(*interval)
    lower_intercept, upper_intercept = function.intercepts(slopes, *interval)
    return Lines(slopes.lower, lower_intercept, slopes.upper, upper_intercept)


def winners(pool: MaxPool, interval: Interval) -> Winner:
    """Linear bounds of a max-pooling layer over an interval."""
    windows = pool.windows.to(interval.lower.device)
    padding = windows < 0
    places = windows.clamp(min=0)
    lower = interval.lower.flatten(1)[:, places].masked_fill(padding, -torch.inf)
    upper = interval.upper.flatten(1)[:, places].masked_fill(padding, -torch.inf)
    best = lower.argmax(dim=2, keepdim=True)
    floor = lower.gather(2, best)[..., 0]
    others = upper.scatter(2, best, -torch.inf).amax(dim=2)
    place = places.expand(len(lower), -1, -1).gather(2, best)[..., 0]
    return Winner(place, floor >= others, upper.amax(dim=2))
