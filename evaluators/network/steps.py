"""The step that comparisons take: 0 up to zero, 1 above it.

It is no continuous function. Of an interval that reaches zero both values are in its bounds, and
lines lie below 0 and above 1 there, so that it does not matter which of them a float32 run takes
whose own argument is a little off; nor whether it takes a subnormal number for zero.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from evaluators.network.deployment import FLUSHED
from evaluators.network.elementwise import Activation, Elementwise, Ends, Points, Slopes
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
        found = []
        for slope, sign in zip(slopes, (1.0, -1.0), strict=True):
            least = torch.full_like(slope, torch.inf)
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
