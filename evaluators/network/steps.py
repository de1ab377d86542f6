"""The step that comparisons take, 0 up to zero and 1 above it, and those to whole numbers.

They are no continuous functions. Of an interval that reaches a step both values are in its bounds,
and lines lie below the one and above the other there, so that it does not matter which of them a
float32 run takes whose own argument is a little off; nor whether it takes a subnormal number for
zero.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from evaluators.network.deployment import FLUSHED
from evaluators.network.elementwise import Activation, Elementwise, Ends, Points, Slopes, Supports
from evaluators.numerics.rounding import UNIT, down, up

STEEPEST = 1e6
"""Of the lines that are tried; those that are steeper gain nothing."""


@dataclass(frozen=True)
class Step(Elementwise):
    """1 where its argument is above zero, else 0."""

    name = "Step"
    roundings = 0
    run_error: ClassVar[float] = 0.0

    def __call__(self, x: Activation) -> Activation:
        """Compare with zero; the gradient is zero, and there is one."""
        return (x > 0).to(x.dtype) + x.clamp(0.0, 0.0)

    def valleys(self, slope: Activation) -> Points:
        """List where it leaves 0."""
        return (torch.zeros_like(slope),)

    def peaks(self, slope: Activation) -> Points:
        """List where it reaches 1."""
        return (torch.zeros_like(slope),)

    def bounds(self, lower: Activation, upper: Activation) -> tuple[Activation, Activation]:
        """Bound the values on [lower, upper], both near zero."""
        one, zero = torch.ones_like(lower), torch.zeros_like(lower)
        return (
            torch.where(lower > FLUSHED, one, zero),
            torch.where(upper < -FLUSHED, zero, one),
        )

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Take a flat line, or that from the step to the end where the function lies longer."""
        unstable = self.unstable(lower, upper)
        left, right = (end.clamp(min=1 / STEEPEST).reciprocal() for end in (-lower, upper))
        zero = torch.zeros_like(lower)
        return Slopes(
            torch.where(unstable & (upper > -lower), right, zero),
            torch.where(unstable & (upper < -lower), left, zero),
        )

    def intercepts(self, slopes: Slopes, lower: Ends, upper: Ends) -> tuple[Activation, Activation]:
        """Compute safe intercepts of lines of these slopes, of both values near zero."""
        still, moved = lower <= FLUSHED, upper >= -FLUSHED
        at_most, at_least = upper.clamp(max=FLUSHED), lower.clamp(min=-FLUSHED)
        unknown = lower.isnan() | upper.isnan()
        found = []
        for slope, sign in zip(slopes, (1.0, -1.0), strict=True):
            least = torch.full_like(slope, torch.inf).masked_fill(unknown, torch.nan)
            for value, ends, taken in (
                (0.0, (lower, at_most), still), (1.0, (at_least, upper), moved),
            ):  # fmt: skip
                for end in ends:
                    line = slope * end
                    gap = sign * (value - line)
                    gap = down(gap - up((value + line.abs()) * (4 * UNIT)))
                    gap = torch.where(taken, gap, torch.inf)
                    least = torch.minimum(least, gap)
            found.append(sign * least)
        below, above = found
        return below, above

    def unstable(self, lower: Activation, upper: Activation) -> torch.Tensor:
        """Mark where both values are possible."""
        return (lower <= FLUSHED) & (upper >= -FLUSHED)


@dataclass(frozen=True)
class Rounding(Elementwise):
    """The whole number below, above, or nearest: Floor, Ceil, and Round (of halves to even).

    Every run computes it exactly, of its own argument; where that and the one of real arithmetic
    lie on two sides of a step, both are in the interval that is asked about.

    Attributes:
        kind: its ONNX operator.
    """

    kind: str
    roundings = 0
    run_error: ClassVar[float] = 0.0

    @property
    def name(self) -> str:
        """ONNX operator."""
        return self.kind

    def __call__(self, x: Activation) -> Activation:
        """Compute the whole number; the gradient is zero, and there is one."""
        functions = {"Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round}
        return functions[self.kind](x)

    def _vertices(self, lower: Ends, upper: Ends) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Points (x, f(x)), between which all others on [lower, upper] lie; both sides of steps.

        The whole number k is taken from k + begin to k + begin + 1. A difference to a line grows
        or falls with k, so that it is extreme in the first two or the last two of them.
        """
        begin = {"Floor": 0.0, "Ceil": -1.0, "Round": -0.5}[self.kind]
        first, last = self.bounds(lower, upper)
        found = []
        for value in (first, torch.minimum(first + 1, last), torch.maximum(last - 1, first), last):
            # Near zero a subnormal number may be taken for it.
            ends = (value + begin - FLUSHED, value + begin + 1 + FLUSHED)
            found += [(torch.minimum(torch.maximum(end, lower), upper), value) for end in ends]
        return found

    def valleys(self, slope: Activation) -> Points:  # noqa: ARG002
        """List none: they depend on the interval (`_vertices`)."""
        return ()

    def peaks(self, slope: Activation) -> Points:  # noqa: ARG002
        """List none, likewise."""
        return ()

    def bounds(self, lower: Activation, upper: Activation) -> tuple[Activation, Activation]:
        """Bound the values on [lower, upper]; a run may take a subnormal number for zero."""
        zero = torch.zeros_like(lower)
        lower = torch.where((lower > 0) & (lower <= FLUSHED), zero, lower)
        upper = torch.where((upper < 0) & (upper >= -FLUSHED), zero, upper)
        return self(lower), self(upper)

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Take the diagonal's slope over several steps; of one step lines as `Step` does."""
        first, last = self.bounds(lower, upper)
        step = first + {"Floor": 1.0, "Ceil": 0.0, "Round": 0.5}[self.kind]
        one = Step().slopes(lower - step, upper - step)
        flat, many = first == last, last > first + 1
        found = (torch.where(many, torch.ones_like(side), side) for side in one)
        return Slopes(*(torch.where(flat, torch.zeros_like(side), side) for side in found))

    def intercepts(self, slopes: Slopes, lower: Ends, upper: Ends) -> tuple[Activation, Activation]:
        """Compute safe intercepts of lines of these slopes, of both values at each step."""
        found = []
        for slope, sign in zip(slopes, (1.0, -1.0), strict=True):
            least = torch.full_like(slope, torch.inf)
            for point, value in self._vertices(lower, upper):
                line = slope * point
                gap = sign * (value - line)
                gap = down(gap - up((value.abs() + line.abs()) * (4 * UNIT)))
                least = torch.minimum(least, gap)
            found.append(sign * least)
        below, above = found
        return below, above

    def supports(self, slopes: Slopes, lower: Ends, upper: Ends) -> Supports:
        """Find the best lines of these slopes for a search, not rounded to the safe side."""
        gaps, points = [], []
        for slope, sign in zip(slopes, (1.0, -1.0), strict=True):
            places, values = zip(*self._vertices(lower, upper), strict=True)
            ends = torch.stack([place.expand_as(slope) for place in places])
            gap = torch.stack([value.expand_as(slope) for value in values]) - slope * ends
            best = (gap * sign).argmin(0, keepdim=True)
            gaps.append(gap.gather(0, best)[0])
            points.append(ends.gather(0, best)[0])
        return Supports(Slopes(*gaps), Slopes(*points))

    def unstable(self, lower: Activation, upper: Activation) -> torch.Tensor:
        """Mark where several values are possible."""
        first, last = self.bounds(lower, upper)
        return first != last
