"""Elementwise functions: what a method may ask of a non-linearity.

A new function is one subclass here, and works in every method: its value, where its difference
to a line can be extreme (which makes any slope usable: the safe intercept follows), and the slopes
CROWN would choose. If it also says between which slopes a choice makes sense, methods that optimise
lines optimise its.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.numerics.rounding import UNDERFLOW, UNIT, down, up

Activation = Float[Tensor, "*shape"]
Ends = Float[Tensor, "..."]
"""Of intervals, of the slopes' shape or one that is expanded to it."""
Points = tuple[Tensor, ...]

TIE = 1e-6
"""Gaps that differ by no more than float32 does count as equal in a search."""


class Slopes(NamedTuple):
    """Slopes of a line below and a line above a function."""

    lower: Tensor
    upper: Tensor


class LineFamily(NamedTuple):
    """Lines to choose from: one parameter in [0, 1] for each entry gives the slopes of both.

    The slope of either line goes from its first to its last value in proportion to the parameter.

    Attributes:
        first, last: slopes at 0 and at 1.
        start: the parameter of CROWN's lines, as far as there is one.
    """

    first: Slopes
    last: Slopes
    start: Tensor

    def slopes(self, parameter: Tensor) -> Slopes:
        """Compute the slopes at a parameter `[..., *shape]`."""
        pairs = zip(self.first, self.last, strict=True)
        return Slopes(*(torch.lerp(*pair, parameter) for pair in pairs))

    @property
    def spreads(self) -> Slopes:
        """What a parameter's step of 1 changes in the slopes."""
        return Slopes(*(last - first for first, last in zip(self.first, self.last, strict=True)))


class Supports(NamedTuple):
    """The best lines of given slopes, up to rounding: their intercepts, and where they touch f."""

    intercepts: Slopes
    points: Slopes


class Elementwise(ABC):
    """A continuous function applied to every entry.

    Attributes:
        monotone: whether it decreases nowhere; else it has `bounds` of its own.
        leak: f(x) / x below zero, of functions that are x above it; NaN of all others.
        run_error: bound on the absolute error of a float32 run, which libraries approximate as they
            like; infinite where nothing is known. (`deployment.py` has that of leaky ReLUs.)
    """

    monotone: ClassVar[bool] = True
    leak: float = math.nan
    run_error: ClassVar[float] = math.inf

    @property
    @abstractmethod
    def name(self) -> str:
        """Its ONNX operator."""

    @property
    @abstractmethod
    def roundings(self) -> int:
        """Bound, in units of `UNIT`, on the relative error of a computed float64 value."""

    @property
    def flushed(self) -> float:
        """Largest true value that may be computed as zero."""
        return 0.0

    @abstractmethod
    def __call__(self, x: Activation) -> Activation:
        """Compute the value at every entry."""

    @abstractmethod
    def valleys(self, slope: Activation) -> Points:
        """List the points where f(x) - slope·x can be least in an interval, and perhaps others.

        For a piecewise linear function kinks; for a smooth one where the derivative is the slope
        and increases. Entries may be NaN where there is no such point.
        """

    @abstractmethod
    def peaks(self, slope: Activation) -> Points:
        """List likewise where it can be largest."""

    @abstractmethod
    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Choose CROWN's slopes on [lower, upper] (Zhang et al. 2018, table 2)."""

    @abstractmethod
    def unstable(self, lower: Activation, upper: Activation) -> Tensor:
        """Mark where the function is no line on [lower, upper], so that tighter bounds help."""

    def family(self, lower: Activation, upper: Activation) -> LineFamily:
        """Give the lines on [lower, upper] that are worth a choice; here CROWN's alone.

        Of functions with a `leak` they are known: the slope below is any from it to 1.
        """
        slopes = self.slopes(lower, upper)
        return LineFamily(slopes, slopes, torch.ones_like(lower))

    def bounds(self, lower: Activation, upper: Activation) -> tuple[Activation, Activation]:
        """Bound the values on [lower, upper] from both sides, rounded outward."""
        below, above = self(lower), self(upper)
        if not self.roundings:
            return below, above
        error = self.roundings * UNIT
        return (
            down(below - up(below.abs() * error + self.flushed)),
            up(above + up(above.abs() * error + self.flushed)),
        )

    def run_deviation(self, lower: Activation, upper: Activation) -> Activation:  # noqa: ARG002
        """Bound what a float32 run may be off by, of inputs in [lower, upper]."""
        return torch.full_like(lower, self.run_error)

    def intercepts(self, slopes: Slopes, lower: Ends, upper: Ends) -> tuple[Activation, Activation]:
        """Compute safe intercepts of lines of these slopes, below and above f on [lower, upper].

        Rounded outward: slope·x + intercept is on the stated side of f(x) in real arithmetic.
        """
        return self._below(slopes.lower, lower, upper), self._above(slopes.upper, lower, upper)

    def _below(self, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        gaps = self._gaps(slope, self.valleys, lower, upper)
        return reduce(torch.minimum, [gap - error for gap, error in gaps])

    def _above(self, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        gaps = self._gaps(slope, self.peaks, lower, upper)
        return reduce(torch.maximum, [gap + error for gap, error in gaps])

    def supports(self, slopes: Slopes, lower: Ends, upper: Ends) -> Supports:
        """Find the best lines of these slopes for a search, not rounded to the safe side."""
        found = []
        for slope, inner, sign in zip(slopes, (self.valleys, self.peaks), (1, -1), strict=True):
            first, *others = _inside(inner(slope), lower, upper)
            point, gap = first.expand_as(slope), self(first) - slope * first
            for other in others:
                value = self(other) - slope * other
                # Of lines that touch twice, the first point: a tangent goes on from there.
                better = (value - gap) * sign < -TIE * (1 + gap.abs())
                point = torch.where(better, other, point)
                gap = torch.where(better, value, gap)
            found.append((gap, point))
        (below, low), (above, high) = found
        return Supports(Slopes(below, above), Slopes(low, high))

    def _gaps(
        self, slope: Tensor, inner: Callable[[Tensor], Points], lower: Tensor, upper: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """f(x) - slope·x and its error bound at all points where it may be extreme."""
        for point in _inside(inner(slope), lower, upper):
            value, line = self(point), slope * point
            # Rounding of the product, of the difference, and of the function itself; a stationary
            # point that is a few ulps off changes the gap only to second order.
            error = (value.abs() + line.abs()) * ((4 + self.roundings) * UNIT) + self.flushed
            yield value - line, up(error)


def _inside(points: Points, lower: Tensor, upper: Tensor) -> list[Tensor]:
    """Points moved into [lower, upper], and its ends."""
    moved = (torch.minimum(torch.maximum(point, lower), upper) for point in points)
    return [*(torch.where(torch.isnan(point), lower, point) for point in moved), lower, upper]


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """max(x, slope·x) with 0 <= slope < 1; the plain ReLU at slope 0."""

    leak: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.leak < 1:
            raise ValueError(f"A leak must lie in [0, 1), not {self.leak}.")

    @property
    def name(self) -> str:
        """ONNX operator."""
        return "LeakyRelu" if self.leak else "Relu"

    @property
    def roundings(self) -> int:
        """The ReLU is exact, a leak costs one product."""
        return 2 if self.leak else 0

    def __call__(self, x: Activation) -> Activation:
        """Compute max(x, leak·x)."""
        return x.clamp(min=0) + self.leak * x.clamp(max=0) if self.leak else x.clamp(min=0)

    def valleys(self, slope: Activation) -> Points:
        """List the kink."""
        return (torch.zeros_like(slope),)

    def peaks(self, slope: Activation) -> Points:  # noqa: ARG002
        """List none: it is convex."""
        return ()

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Take the chord above; below the side that loses the smaller area (adaptive CROWN)."""
        positive, negative = lower >= 0, upper <= 0
        width = torch.where(positive | negative, 1.0, upper - lower)
        chord = (upper - self.leak * lower) / width
        leak = torch.full_like(lower, self.leak)
        one = torch.ones_like(lower)
        above = torch.where(positive, one, torch.where(negative, leak, chord))
        below = torch.where(negative | (~positive & (upper <= -lower)), leak, one)
        return Slopes(below, above)

    def intercepts(self, slopes: Slopes, lower: Ends, upper: Ends) -> tuple[Activation, Activation]:
        """Return zero where the line passes through the kink and is known to be on its side."""
        above = self._above(slopes.upper, lower, upper)
        zero = torch.zeros_like(above)
        identical = ((lower >= 0) & (slopes.upper == 1)) | (
            (upper <= 0) & (slopes.upper == self.leak)
        )
        above = torch.where(identical, zero, above)
        supports = (slopes.lower >= self.leak) & (slopes.lower <= 1)
        if bool(supports.all()):
            return zero, above
        return torch.where(supports, zero, self._below(slopes.lower, lower, upper)), above

    def unstable(self, lower: Activation, upper: Activation) -> Tensor:
        """Mark where the interval straddles the kink."""
        return (lower < 0) & (upper > 0)


class SShaped(Elementwise):
    """Convex below zero, concave above, with values between two asymptotes.

    Runtimes compute them by rational approximations; a test compares onnxruntime's with `run_error`
    on a dense grid.
    """

    run_error: ClassVar[float] = 2.0**-19

    # Libraries stay within two units in the last place; twice that for safety.
    roundings = 8
    # exp overflows before its reciprocal leaves the range of floats.
    flushed = UNDERFLOW

    @abstractmethod
    def derivative(self, x: Activation) -> Activation:
        """Compute f'(x)."""

    bend: ClassVar[float] = math.nan
    """The point above zero where f'' is least, and at its mirror image greatest; NaN if unknown."""

    def second_derivative(self, x: Activation) -> Activation:
        """Compute f''(x), an odd function; NaN if it is unknown."""
        return torch.full_like(x, math.nan)

    @abstractmethod
    def inverse_derivative(self, slope: Activation) -> Activation:
        """Solve f'(x) = slope for x >= 0; NaN outside the derivative's range."""

    def valleys(self, slope: Activation) -> Points:
        """List where the derivative is the slope, on the convex side (f' is even)."""
        return (-self.inverse_derivative(slope),)

    def peaks(self, slope: Activation) -> Points:
        """List where the derivative is the slope, on the concave side."""
        return (self.inverse_derivative(slope),)

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Take the chord on the side where f bends towards it, else the tangent to the far end."""
        chord = self.chord(lower, upper)
        middle = self.derivative(lower / 2 + upper / 2)
        # From the far end the tangent, or the chord when the tangent point lies outside.
        from_lower = self._far_slope(lower, upper, chord)
        above = torch.where(upper <= 0, chord, torch.where(lower >= 0, middle, from_lower))
        # The line below on [l, u] mirrors the line above on [-u, -l], with the same slope.
        from_upper = self._far_slope(-upper, -lower, chord)
        below = torch.where(lower >= 0, chord, torch.where(upper <= 0, middle, from_upper))
        return Slopes(below, above)

    def family(self, lower: Activation, upper: Activation) -> LineFamily:
        """Give the tangents of f's convex hull on [lower, upper], between those at its two ends.

        Below, from the tangent at `lower` (or the chord, if f bends away from it there) to the
        tangent through (upper, f(upper)), or at `upper` itself where f is convex; above likewise,
        from the other end. No other line is better than all of these anywhere on [lower, upper].
        """
        below, above = self.slopes(lower, upper)
        chord = self.chord(lower, upper)
        at_lower, at_upper = self.derivative(lower), self.derivative(upper)
        first = Slopes(
            torch.where(lower >= 0, chord, torch.minimum(at_lower, chord)),
            torch.where(upper <= 0, chord, torch.minimum(at_upper, chord)),
        )
        last = Slopes(
            torch.where(upper <= 0, torch.maximum(at_upper, chord), below),
            torch.where(lower >= 0, torch.maximum(at_lower, chord), above),
        )
        # CROWN chooses the far end's tangent, and the middle's where f bends one way only.
        convex, concave = below - first.lower, above - first.upper
        share = torch.where(upper <= 0, convex / (last.lower - first.lower), 1.0)
        share = torch.where(lower >= 0, concave / (last.upper - first.upper), share)
        return LineFamily(first, last, share.nan_to_num(1.0, 1.0, 1.0).clamp(0, 1))

    def chord(self, lower: Activation, upper: Activation) -> Activation:
        """Compute the slope of the line through both ends; at a point it is the derivative."""
        width = upper - lower
        rise = self(upper) - self(lower)
        return torch.where(width > 0, rise / width.clamp(min=1e-300), self.derivative(lower))

    def _far_slope(self, start: Tensor, end: Tensor, chord: Tensor) -> Tensor:
        """Slope of the lowest line from (start, f(start)), start < 0, above f on [start, end]."""
        touch = self._touch(start, end)
        return torch.where(touch < end, torch.maximum(self.derivative(touch), chord), chord)

    def _touch(self, start: Tensor, end: Tensor) -> Tensor:
        """d in [0, end] whose tangent passes through (start, f(start)), start < 0; else end.

        f is a sigmoid shifted to be odd, which changes no slope.
        """
        low, high = torch.zeros_like(start), end.clamp(min=0)
        value = self(start)
        for _ in range(60):
            middle = (low + high) / 2
            # The tangent at d lies above f(start) once d is far enough.
            reached = self(middle) + self.derivative(middle) * (start - middle) >= value
            high = torch.where(reached, middle, high)
            low = torch.where(reached, low, middle)
        return high

    def unstable(self, lower: Activation, upper: Activation) -> Tensor:
        """Mark all but points."""
        return upper > lower


@dataclass(frozen=True)
class Sigmoid(SShaped):
    """1 / (1 + exp(-x))."""

    name = "Sigmoid"

    def __call__(self, x: Activation) -> Activation:
        """Compute the logistic function."""
        return torch.sigmoid(x)

    def derivative(self, x: Activation) -> Activation:
        """Compute σ(x) σ(-x)."""
        return torch.sigmoid(x) * torch.sigmoid(-x)

    bend: ClassVar[float] = math.log(2 + math.sqrt(3))

    def second_derivative(self, x: Activation) -> Activation:
        """Compute -σ'(x) tanh(x / 2)."""
        return -self.derivative(x) * torch.tanh(x / 2)

    def inverse_derivative(self, slope: Activation) -> Activation:
        """Solve σ(1 - σ) = slope: x = log(σ / (1 - σ)) with the larger root σ."""
        root = torch.sqrt(1 - 4 * slope)
        return torch.log((1 + root) * (1 + root) / (4 * slope))


@dataclass(frozen=True)
class Tanh(SShaped):
    """The hyperbolic tangent."""

    name = "Tanh"

    def __call__(self, x: Activation) -> Activation:
        """Compute tanh(x)."""
        return torch.tanh(x)

    def derivative(self, x: Activation) -> Activation:
        """Compute 1 - tanh², without cancellation."""
        return 4 * torch.sigmoid(2 * x) * torch.sigmoid(-2 * x)

    bend: ClassVar[float] = math.atanh(math.sqrt(1 / 3))

    def second_derivative(self, x: Activation) -> Activation:
        """Compute -2 tanh(x) tanh'(x)."""
        return -2 * torch.tanh(x) * self.derivative(x)

    def inverse_derivative(self, slope: Activation) -> Activation:
        """Solve 1 - tanh² = slope: x = artanh(√(1 - slope))."""
        root = torch.sqrt(1 - slope)
        return torch.log((1 + root) * (1 + root) / slope) / 2


def elementwise_functions() -> dict[str, type[Elementwise]]:
    """List the functions by their ONNX operators."""
    return {"Relu": LeakyReLU, "LeakyRelu": LeakyReLU, "Sigmoid": Sigmoid, "Tanh": Tanh}
