"""Lines of functions without a kink, such as sigmoids, that an ascent chooses on both sides.

A row only uses one line of a unit: the one below where its coefficient A is at least 0, else the
one above. So one parameter for each row and unit, in [0, 1], chooses either (`LineFamily`). A line
with slope s that touches f at t is s·z + f(t) - s·t, and its derivative by s is z - t: where t is
where f(x) - s·x is least (or largest), t moves, but f(t) - s·t does not (Danskin's theorem). So

    d bound / d parameter = A · (z - t) · (last slope - first slope),

which for a ReLU, t = 0, is the gradient by its slope. The bound is concave in each slope.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.elementwise import Elementwise, LineFamily, Slopes
from evaluators.propagation.relaxation import Lines
from evaluators.unrolled.unrolled_network import Layer


class Touch(NamedTuple):
    """Where chosen lines touch their functions.

    Attributes:
        span: the units.
        points: below and above, `[rows, units]`.
        spreads: of the slopes, `[units]`.
    """

    span: slice
    points: Slopes
    spreads: Slopes

    def gradient(self, a: Tensor, z: Tensor) -> Tensor:
        """Derive bounds by the parameters, at coefficients and pre-activations `[rows, units]`."""
        below, above = (
            (z - point) * spread for point, spread in zip(self.points, self.spreads, strict=True)
        )
        return a * torch.where(a >= 0, below, above)


@dataclass(frozen=True)
class Curve:
    """Units with the same function whose lines are a choice.

    Attributes:
        function: theirs.
        span: their places among all units.
        lower, upper: float64 bounds of their pre-activations, `[units]`.
        family: of their lines.
    """

    function: Elementwise
    span: slice
    lower: Tensor
    upper: Tensor
    family: LineFamily

    def select(self, units: Tensor) -> "Curve | None":
        """Select the curves of some units, given in increasing order; None if there are none."""
        before = int((units < self.span.start).sum())
        places = units[before : int((units < self.span.stop).sum())] - self.span.start
        if not len(places):
            return None
        first, last = (
            Slopes(*(end[places] for end in ends)) for ends in (self.family.first, self.family.last)
        )
        return Curve(
            self.function,
            slice(before, before + len(places)),
            self.lower[places],
            self.upper[places],
            LineFamily(first, last, self.family.start[places]),
        )

    def lines(self, parameters: Tensor) -> Lines:
        """The lines of parameters `[rows, all units]`, on their side of the function in float64."""
        slopes = self._slopes(parameters)
        lower, upper = (end.to(parameters) for end in (self.lower, self.upper))
        low, high = self.function.intercepts(slopes, lower, upper)
        return Lines(slopes.lower, low, slopes.upper, high)

    def supports(self, parameters: Tensor) -> tuple[Lines, Touch]:
        """The lines of parameters `[rows, all units]` up to rounding, and where they touch."""
        slopes = self._slopes(parameters)
        lower, upper = (end.to(parameters) for end in (self.lower, self.upper))
        (low, high), points = self.function.supports(slopes, lower, upper)
        spreads = Slopes(*(spread.to(parameters) for spread in self.family.spreads))
        return Lines(slopes.lower, low, slopes.upper, high), Touch(self.span, points, spreads)

    def _slopes(self, parameters: Tensor) -> Slopes:
        first, last = (
            Slopes(*(end.to(parameters) for end in ends))
            for ends in (self.family.first, self.family.last)
        )
        return LineFamily(first, last, self.family.start).slopes(parameters[:, self.span])


def curves_of(layers: Iterable[Layer]) -> tuple[Curve, ...]:
    """The units that have more than one line on a side, neighbouring layers of a function as one.

    Units that can be split are not among them: their lines have a rule of their own.
    """
    found, first = list[Curve](), 0
    for function, group in groupby(layers, key=lambda layer: layer.function):
        ends = [(layer.lower, layer.upper) for layer in group]
        span = slice(first, first := first + sum(len(lower) for lower, _ in ends))
        if math.isnan(function.leak):
            lower, upper = (torch.cat(end) for end in zip(*ends, strict=True))
            family = function.family(lower, upper)
            if any(bool(spread.any()) for spread in family.spreads):
                found.append(Curve(function, span, lower, upper, family))
    return tuple(found)
