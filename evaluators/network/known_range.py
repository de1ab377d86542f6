"""The identity, of values that are known to lie in a range whatever an interval of theirs says.

A normalised row of n entries has none beyond sqrt(n - 1), and a mean of squares is never below
zero: bounds of the operations that compute them lose that.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from evaluators.network.elementwise import (
    Activation,
    Elementwise,
    Ends,
    LineFamily,
    Points,
    Slopes,
    Supports,
)

MOST_CUT = 0.25
"""The share of the range left by which an interval may reach beyond it, for the identity to be
taken: what lies before the value then still tells more than its range."""


@dataclass(frozen=True)
class KnownRange(Elementwise):
    """The identity, of values between two numbers; where a bound of them is infinite, of any.

    That they lie there, in real arithmetic and in float32 runs, is for who makes the node to prove:
    it holds wherever its argument is bounded at all.

    Attributes:
        least, most: the two numbers.
    """

    least: float
    most: float
    name = "KnownRange"
    roundings = 0
    run_error: ClassVar[float] = 0.0

    def __call__(self, x: Activation) -> Activation:
        """Return it."""
        return x

    def valleys(self, slope: Activation) -> Points:  # noqa: ARG002
        """List none: it is a line."""
        return ()

    def peaks(self, slope: Activation) -> Points:  # noqa: ARG002
        """List none: it is a line."""
        return ()

    def bounds(self, lower: Activation, upper: Activation) -> tuple[Activation, Activation]:
        """Cut an interval to the range."""
        bounded = lower.isfinite() & upper.isfinite()
        return (
            torch.where(bounded, lower.clamp(self.least, self.most), lower),
            torch.where(bounded, upper.clamp(self.least, self.most), upper),
        )

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Take the identity, or flat lines where an interval goes far beyond the range."""
        family = self.family(lower, upper)
        return family.slopes(family.start)

    def family(self, lower: Activation, upper: Activation) -> LineFamily:
        """Give all lines between the flat ones, where the range cuts, and the identity."""
        low, high = self.bounds(lower, upper)
        one, below, above = torch.ones_like(lower), low - lower, upper - high
        first = Slopes((below <= 0).to(lower.dtype), (above <= 0).to(lower.dtype))
        start = (below + above <= MOST_CUT * (high - low)).to(lower.dtype)
        return LineFamily(first, Slopes(one, one), start)

    def intercepts(self, slopes: Slopes, lower: Ends, upper: Ends) -> tuple[Activation, Activation]:
        """Compute safe intercepts of lines of these slopes, over the part within the range."""
        found = super().intercepts(slopes, *self.bounds(lower, upper))
        below, above = (
            torch.where(slope == 1, 0 * intercept, intercept)
            for slope, intercept in zip(slopes, found, strict=True)
        )
        return below, above

    def supports(self, slopes: Slopes, lower: Ends, upper: Ends) -> Supports:
        """Find the best lines of these slopes for a search, over the part within the range."""
        return super().supports(slopes, *self.bounds(lower, upper))

    def unstable(self, lower: Activation, upper: Activation) -> torch.Tensor:
        """Mark all but points."""
        return upper > lower
