"""Sine and cosine, whose pieces repeat for ever.

The gap sin(x) - s·x between two points is least at one of them, or where cos(x) = s on a convex
piece. Those places lie 2π apart and their gaps differ by multiples of 2π·s, so that of all of them
only the first and the last can be least. A place that is a few units off changes its gap to second
order, by far less than what is charged for rounding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.network.elementwise import Activation, Points
from evaluators.network.smooth import ROUND, Smooth
from evaluators.numerics.rounding import UNIT, down, up

FAR = 2.0**13
"""From here on nothing is known of a float32 run, whose reduction by 2π may be coarse."""
UNKNOWN = 2.0**20
"""From here on nothing is said of real arithmetic, either."""
PERIOD = 2 * math.pi


@dataclass(frozen=True)
class Wave(Smooth):
    """`Sin` or `Cos`, as its kind says."""

    def _chosen(self, x: Tensor, slope: bool) -> Tensor:
        if self.kind == "Sin":
            return torch.cos(x) if slope else torch.sin(x)
        return -torch.sin(x) if slope else torch.cos(x)

    def _touches(self, slope: Tensor, sign: int) -> Points:
        """One of the places where the derivative is the slope, of pieces that bend one way."""
        inside = slope.clamp(-1.0, 1.0)
        if self.kind == "Sin":
            return (-sign * torch.arccos(inside),)
        return (torch.arcsin(inside) + math.pi if sign == 1 else -torch.arcsin(inside),)

    def _least(self, slope: Tensor, lower: Tensor, upper: Tensor, sign: int) -> Tensor:
        """Bound sign·f(x) - slope·x on [lower, upper] from below."""
        known = (lower >= -UNKNOWN) & (upper <= UNKNOWN) & (lower <= upper)
        left, right = (end.clamp(-UNKNOWN, UNKNOWN) for end in (lower, upper))
        (place,) = self._touches(sign * slope, sign)
        first = torch.ceil((left - place) / PERIOD) - 1
        last = torch.floor((right - place) / PERIOD) + 1
        # Of turns that are off by one, two on either side hold the first and the last.
        turns = (first, first + 1, first + 2, last - 2, last - 1, last)
        least = torch.minimum(self._gap(slope, left, sign), self._gap(slope, right, sign))
        for turn in turns:
            point = torch.minimum(torch.maximum(place + turn * PERIOD, left), right)
            least = torch.minimum(least, self._gap(slope, point, sign))
        return torch.where(known, least, math.nan)

    def _gap(self, slope: Tensor, x: Tensor, sign: int) -> Tensor:
        line = slope * x
        return down(sign * self(x) - line - up(2 * ROUND + line.abs() * (8 * UNIT)))

    def run_deviation(self, lower: Activation, upper: Activation) -> Activation:
        """Bound what a float32 run may be off by, of inputs in [lower, upper]."""
        near = torch.maximum(lower.abs(), upper.abs()) <= FAR
        return torch.where(near, super().run_deviation(lower, upper), math.inf)


WAVES = ("Cos", "Sin")
