"""Bounds of a Jacobian by recursion over the layers of an unrolled network.

Between two points of a region each unit's output changes by a slope s within the range of its
function's derivative, times what its pre-activation changes by. So a row w of the logits changes by

    g·Δx + Σ h_i·Δe_i + Δe,    g_c = w_c + Σ_i M_ic h_i,    h_i = s_i g_i,

in which M holds the rows of all units (`unrolled_network.py`), g_c is the row's derivative by the
column c, an input or a unit's output, and e what the rows have lost, which is bounded, not known.
Columns are bounded from the last layer to the first. As a function of g_i, which lies in [a, b],
the least s_i g_i is concave and the largest one convex, so that chords enclose them; with these
lines h_i is led on to the layers after it, until nothing but constants is left (Zhang, Zhang and
Hsieh 2019, arXiv 1810.11783, section 3, in which slopes are led on where a sign is known, and h_i
is held to constants where it is not). After each layer what is left is bounded by intervals, too,
and the best counts: no bound is looser than Fast-Lip's on the same network.

Everything is float64, and sums lose γ of the number of their terms times that of absolute values.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.lipschitz.gradients import derivative
from evaluators.network.elementwise import Elementwise
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.rounding import UNDERFLOW, UNIT, down, gamma, up
from evaluators.propagation.intervals import Interval
from evaluators.unrolled.unrolled_network import Unrolled

AT_ONCE = 512
"""Columns whose derivatives are bounded together."""

SHARE = 8 * UNIT
"""More than a few operations lose of what they are done with."""


class Range(NamedTuple):
    """Of each unit's slope, `[units]`."""

    least: Tensor
    most: Tensor


class Chords(NamedTuple):
    """Lines below or above slope times g, of each unit: slope and shift, `[units]`."""

    slope: Tensor
    shift: Tensor

    @classmethod
    def below(cls, slopes: Range, a: Tensor, b: Tensor) -> "Chords":
        """Lines below s·g for all slopes s and all g in [a, b]."""
        least, most = slopes
        # The least product is most·g below zero, least·g above it: concave, lowest at the ends.
        at_a, at_b = torch.where(a < 0, most, least), torch.where(b < 0, most, least)
        mixed = (a < 0) & (b > 0)
        slope = torch.where(mixed, (at_b * b - at_a * a) / (b - a), at_a)
        slope = torch.minimum(torch.maximum(slope, least), most)
        ends = torch.minimum((at_a - slope) * a, (at_b - slope) * b)
        size = most * torch.maximum(a.abs(), b.abs())
        shift = torch.where(at_a == at_b, 0.0, ends - size * SHARE - UNDERFLOW)
        return cls(slope, shift)

    @classmethod
    def above(cls, slopes: Range, a: Tensor, b: Tensor) -> "Chords":
        """Lines above s·g."""
        slope, shift = cls.below(slopes, -b, -a)
        return cls(slope, -shift)


class JacobianBounds(NamedTuple):
    """Of one row.

    Attributes:
        inputs: the derivatives by the inputs, between any two points, `[inputs]` each.
        units: the largest |h|, `[units]`.
    """

    inputs: Interval
    units: Tensor


@dataclass(frozen=True, eq=False)
class Recursion:
    """The rows of all units, and where the layers are.

    Attributes:
        inputs: how many there are.
        weight: of the units, `[units, inputs + units]`.
        spans: the units of each layer, first to last.
        slopes: of all units.
    """

    inputs: int
    weight: Tensor
    spans: list[slice]
    slopes: Range

    @classmethod
    def of(cls, unrolled: Unrolled) -> "Recursion | None":
        """Read an unrolled network; None where a function's derivative is not known."""
        n, units = unrolled.inputs, unrolled.columns - unrolled.inputs
        weight = torch.zeros(units, n + units, dtype=torch.float64)
        spans, least, most = [], [torch.zeros(0).double()], [torch.zeros(0).double()]
        for layer in unrolled.layers:
            span = slice(layer.first - n, layer.first - n + len(layer))
            weight[span, : layer.first] = layer.rows.weight
            spans.append(span)
            found = _slopes(layer.function, Interval(layer.lower, layer.upper))
            if found is None:
                return None
            least.append(found.least)
            most.append(found.most)
        return cls(n, weight, spans, Range(torch.cat(least), torch.cat(most)))

    def __call__(self, row: Tensor, deadline: Deadline) -> JacobianBounds | None:
        """Bound the derivatives of a row, `[inputs + units]`; None where the time is up."""
        walk = _Walk(self, row)
        for layer in reversed(range(len(self.spans))):
            if deadline.passed:
                return None
            walk.learn(layer)
        return JacobianBounds(walk.derivatives(slice(0, self.inputs), 0), walk.largest)


def _slopes(function: Elementwise, within: Interval) -> Range | None:
    found = derivative(function, within)
    if found is None:
        return None
    ends = down(found.middle - found.radius).clamp(min=0), up(found.middle + found.radius)
    return Range(*ends)


class _Walk:
    """What is known of one row's derivatives, from the last layer up to one.

    Attributes:
        low, high, largest: of h, `[units]`.
        size: more than what g's terms may sum up to, `[units]`.
        below, above: the lines of each layer's units that are known.
    """

    def __init__(self, recursion: Recursion, row: Tensor) -> None:
        self.of, self.row = recursion, row
        units = len(recursion.weight)
        self.low, self.high, self.largest, self.size = torch.zeros(4, units).double()
        self.below: dict[int, Chords] = {}
        self.above: dict[int, Chords] = {}
        self.share = 4 * gamma(units + 64)

    def learn(self, layer: int) -> None:
        """Bound the derivatives by a layer's outputs, and what they give by its inputs."""
        span, n = self.of.spans[layer], self.of.inputs
        columns = slice(n + span.start, n + span.stop)
        a, b = self.derivatives(columns, layer + 1)
        slopes = Range(self.of.slopes.least[span], self.of.slopes.most[span])
        self.below[layer], self.above[layer] = (
            Chords.below(slopes, a, b),
            Chords.above(slopes, a, b),
        )
        ends = torch.stack([slope * end for slope in slopes for end in (a, b)])
        wider = ends.abs().amax(0) * SHARE + UNDERFLOW
        self.low[span], self.high[span] = ends.amin(0) - wider, ends.amax(0) + wider
        self.largest[span] = torch.maximum(self.low[span].abs(), self.high[span].abs())
        after = slice(span.stop, None)
        terms = self.of.weight[after, columns].abs().T @ self.largest[after]
        size = (self.row[columns].abs() + terms) * (1 + self.share) + UNDERFLOW
        self.size[span] = torch.maximum(size, torch.maximum(a.abs(), b.abs()))

    def derivatives(self, columns: slice, first: int) -> Interval:
        """Bound the derivatives by columns, from those by the units of the layers from `first`."""
        weight, row = self.of.weight, self.row
        start = self.of.spans[first].start if first < len(self.of.spans) else len(weight)
        parts = []
        for begin in range(columns.start, columns.stop, AT_ONCE):
            some = slice(begin, min(begin + AT_ONCE, columns.stop))
            rows = torch.zeros(some.stop - begin, len(weight), dtype=weight.dtype)
            rows[:, start:] = weight[start:, some].T
            own = row[some]
            found = self._least(torch.cat((rows, -rows)), torch.cat((own, -own)), first)
            parts.append(found.reshape(2, -1))
        low, high = torch.cat(parts, 1)
        return Interval(low, -high)

    def _least(self, rows: Tensor, constant: Tensor, first: int) -> Tensor:
        """Bound rows·h + constant from below, `[rows]`."""
        lost = torch.zeros_like(constant)
        best = self._by_intervals(rows, constant, lost)
        for layer in range(first, len(self.of.spans)):
            span = self.of.spans[layer]
            columns = slice(self.of.inputs + span.start, self.of.inputs + span.stop)
            after = slice(span.stop, None)
            own, below, above = rows[:, span], self.below[layer], self.above[layer]
            rising, falling = own.clamp(min=0), own.clamp(max=0)
            through = rising * below.slope + falling * above.slope
            shift = rising @ below.shift + falling @ above.shift
            constant = constant + shift + through @ self.row[columns]
            rows[:, after] += through @ self.of.weight[after, columns].T
            rows[:, span] = 0
            moved = own.abs() @ torch.maximum(below.shift.abs(), above.shift.abs())
            terms = through.abs() @ self.size[span] + moved + constant.abs()
            terms = terms + rows[:, after].abs() @ self.largest[after]
            lost = lost + terms * self.share + self._underflow
            best = torch.fmax(best, self._by_intervals(rows, constant, lost))
        return best

    def _by_intervals(self, rows: Tensor, constant: Tensor, lost: Tensor) -> Tensor:
        value = constant + rows.clamp(min=0) @ self.low + rows.clamp(max=0) @ self.high
        size = constant.abs() + rows.abs() @ self.largest
        found = down(value - (lost + size * self.share) * (1 + SHARE) - self._underflow)
        return found.nan_to_num(-torch.inf, -torch.inf, -torch.inf)

    @property
    def _underflow(self) -> float:
        """More than products that underflow lose, times what they are multiplied by."""
        return UNDERFLOW * (1 + float(self.largest.sum() + self.size.sum()))
