"""Zeros that are added to a value: guards of what its meaning depends on, and marks of what a run
may be off by beyond the roundings of its operations."""

import math
from dataclasses import dataclass

import torch

from evaluators.network.deployment import LARGEST, ROOM
from evaluators.network.elementwise import Activation, Elementwise, Ends, Points, Slopes

LEFT = 2.0**-300
"""What may be left of what a guard takes for zero: more than exp(-256)."""


class Zero(Elementwise):
    """Zero, of what is finite."""

    roundings = 0

    def __call__(self, x: Activation) -> Activation:
        """Compute nothing, of what is finite."""
        return x * 0

    def valleys(self, slope: Activation) -> Points:  # noqa: ARG002
        """List none: it is a line."""
        return ()

    def peaks(self, slope: Activation) -> Points:  # noqa: ARG002
        """List none: it is a line."""
        return ()

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Take the line that it is."""
        return Slopes(lower * 0, upper * 0)

    def unstable(self, lower: Activation, upper: Activation) -> torch.Tensor:  # noqa: ARG002
        """Mark none."""
        return torch.zeros_like(lower, dtype=torch.bool)


@dataclass(frozen=True)
class Within(Zero):
    """Zero, up to `LEFT`, between two numbers; of all else it is not defined.

    Added to a value it asserts that another lies between them: where that is not sure there is no
    bound, and so nothing is proved.

    Attributes:
        least, most: the two numbers.
        real: whether the assertion is about float32 runs alone: in real arithmetic it is zero
            everywhere, but not bounded there either.
    """

    least: float
    most: float
    real: bool = False
    name = "Within"
    monotone = False
    flushed = LEFT

    def __call__(self, x: Activation) -> Activation:
        """Compute zero where it is defined, NaN elsewhere."""
        return x * 0 if self.real else torch.where(self._sure(x, x), x * 0, math.nan)

    def _sure(self, lower: Ends, upper: Ends) -> torch.Tensor:
        return (lower >= self.least) & (lower <= upper) & (upper <= self.most)

    def bounds(self, lower: Activation, upper: Activation) -> tuple[Activation, Activation]:
        """Bound it by `LEFT`; NaN where the argument may leave the interval."""
        left = torch.full_like(lower, LEFT).where(self._sure(lower, upper), math.nan)
        return -left, left

    def intercepts(self, slopes: Slopes, lower: Ends, upper: Ends) -> tuple[Activation, Activation]:
        """Compute safe intercepts; NaN where the argument may leave the interval."""
        sure = self._sure(lower, upper)
        below, above = super().intercepts(slopes, lower, upper)
        return torch.where(sure, below, math.nan), torch.where(sure, above, math.nan)

    def run_deviation(self, lower: Activation, upper: Activation) -> Activation:
        """Bound what a run may have there; infinite where the argument may leave the interval."""
        return torch.full_like(lower, LEFT).where(self._sure(lower, upper), math.inf)


@dataclass(frozen=True)
class Unsure(Zero):
    """Zero; but a run may be off by a share of the argument, as where it misses a place."""

    share: float
    name = "Unsure"

    def run_deviation(self, lower: Activation, upper: Activation) -> Activation:
        """Bound what a run may be off by."""
        error = self.share * torch.maximum(lower.abs(), upper.abs()) * ROOM + 2.0**-120
        return torch.where(error < LARGEST, error, math.inf)


@dataclass(frozen=True)
class CancelledSquares(Zero):
    """Zero; but a run that takes x² off, of a mean x, for a variance is off by share·x².

    onnxruntime's LayerNormalization computes E[x²] - E[x]², which loses what both have in common.
    """

    share: float
    name = "CancelledSquares"

    def run_deviation(self, lower: Activation, upper: Activation) -> Activation:
        """Bound what the subtraction may be off by."""
        reached = torch.maximum(lower.abs(), upper.abs())
        error = self.share * reached * reached * ROOM + 2.0**-120
        return torch.where(error < LARGEST, error, math.inf)
