"""Smooth functions, increasing or not: bounds of pieces that bend one way each.

On a piece where f is convex any tangent is below it, f(x) >= f(p) + f'(p)(x - p), whatever p is. So
of a line of slope s the gap f(x) - s·x is at least

    f(p) - s·p - max((s - f'(p))·(right - p), (f'(p) - s)·(p - left), 0)

between the ends of the piece and of the interval; with p where f'(p) is nearly s the maximum is
nearly zero. Where f is concave the gap is least at an end. Above, the same of -f. So no slope and
no tangent point has to be right, only f and f', which are charged `ROUND` relative to 1 + |f|; that
the ends of pieces are floats moves f' by far less.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import torch
from torch import Tensor

from evaluators.network.deployment import FLUSHED
from evaluators.network.elementwise import Activation, Elementwise, Ends, Points, Slopes
from evaluators.network.smooth_functions import FUNCTIONS, POLES, RUN, RUNS, Piece, Pieces
from evaluators.numerics.rounding import UNIT, down, up

ROUND = 2.0**-46
"""Error of a computed f(x) or f'(x), relative to 1 + its size: over a hundred units, of formulas of
a few operations that do not cancel."""
LARGEST = 2.0**83
"""Results from which a float32 run may overflow."""
GATED = 16.0
"""From this size on a float32 gate, such as Φ(x) in x·Φ(x), is 0 below and 1 above: of what it is
of, which a Swish multiplies x by."""
STEPS = 18
"""Of the search for a tangent of a given slope."""
SAMPLES = (0.0, 0.3, 0.6, 0.85)
"""Where a line's slope is looked for, from either end to the middle."""


@dataclass(frozen=True)
class Smooth(Elementwise):
    """One of `FUNCTIONS`, with its numbers.

    Attributes:
        kind: its ONNX operator.
        numbers: those of its attributes.
    """

    kind: str
    numbers: tuple[float | str, ...] = ()
    monotone = False
    roundings = 256

    @property
    def name(self) -> str:
        """ONNX operator."""
        return self.kind

    @cached_property
    def pieces(self) -> Pieces:
        """Its pieces from left to right; there is nothing before the first."""
        return _pieces(self.kind, self.numbers)

    def _spans(self) -> list[tuple[Piece, float]]:
        ends = [piece.start for piece in self.pieces[1:]] + [math.inf]
        return list(zip(self.pieces, ends, strict=True))

    def _chosen(self, x: Tensor, slope: bool) -> Tensor:
        result = torch.full_like(x, math.nan)
        for piece, end in self._spans():
            inner = x.clamp(piece.start, end)  # elsewhere a gradient could be NaN
            part = piece.slope(inner) if slope else piece.value(inner)
            result = torch.where(x >= piece.start, part, result)
        return result

    def __call__(self, x: Activation) -> Activation:
        """Compute f; NaN outside its domain."""
        return self._chosen(x, slope=False)

    def derivative(self, x: Activation) -> Activation:
        """Compute f', at a kink that of the right side."""
        return self._chosen(x, slope=True)

    def valleys(self, slope: Activation) -> Points:
        """List where the derivative is the slope, on each convex piece."""
        return self._touches(slope, 1)

    def peaks(self, slope: Activation) -> Points:
        """List likewise on each concave piece."""
        return self._touches(slope, -1)

    def _touches(self, slope: Tensor, sign: int) -> Points:
        spans = [(p, max(p.start, -64.0), min(end, 64.0)) for p, end in self._spans()]
        return tuple(
            _tangent(piece, slope, torch.full_like(slope, left), torch.full_like(slope, right))
            for piece, left, right in spans
            if piece.bend == sign
        )

    def unstable(self, lower: Activation, upper: Activation) -> Tensor:
        """Mark all but points."""
        return upper > lower

    def bounds(self, lower: Activation, upper: Activation) -> tuple[Activation, Activation]:
        """Bound the values on [lower, upper] from both sides, rounded outward."""
        flat = torch.zeros_like(lower)
        return self.intercepts(Slopes(flat, flat), lower, upper)

    def intercepts(self, slopes: Slopes, lower: Ends, upper: Ends) -> tuple[Activation, Activation]:
        """Compute safe intercepts of lines of these slopes; NaN where f is not defined."""
        low = self._least(slopes.lower, lower, upper, 1)
        return low, -self._least(-slopes.upper, lower, upper, -1)

    def _least(self, slope: Tensor, lower: Tensor, upper: Tensor, sign: int) -> Tensor:
        """Bound sign·f(x) - slope·x on [lower, upper] from below."""
        best = torch.full_like(slope, math.inf)
        for piece, end in self._spans():
            left, right = lower.clamp(min=piece.start), upper.clamp(max=end)
            inside = left <= right
            if not bool(inside.any()):
                continue
            if piece.bend == sign:
                gap = self._tangent_gap(piece, slope, left, right, sign)
            else:
                gap = torch.minimum(*(_gap(piece, slope, end, sign) for end in (left, right)))
            best = torch.where(inside, torch.where(gap < best, gap, best + 0 * gap), best)
        defined = (lower >= self.pieces[0].start) & (upper >= lower) & (upper < math.inf)
        for pole in POLES.get(self.kind, _none)(*self.numbers):
            defined &= (lower > pole) | (upper < pole)
        return torch.where(defined & (best < math.inf), best, math.nan)

    def _tangent_gap(
        self, piece: Piece, slope: Tensor, left: Tensor, right: Tensor, sign: int
    ) -> Tensor:
        point = _tangent(piece, sign * slope, left, right)
        found = sign * piece.slope(point)
        away = torch.maximum((slope - found) * (right - point), (found - slope) * (point - left))
        error = (right - left) * (ROUND * (1 + found.abs() + slope.abs()))
        lost = (away.clamp(min=0) + error) * (1 + 16 * UNIT)
        lost = torch.where(right > left, lost, 0.0)
        return down(_gap(piece, slope, point, sign) - lost)

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        """Take the supporting lines of f's convex hull in the middle, as far as samples show it."""
        middle = lower / 2 + upper / 2
        steps = [(upper - lower) * (share / 2) for share in SAMPLES]
        left, right = [lower + step for step in steps], [upper - step for step in steps]
        values = [[self(point) for point in side] for side in (left, right)]
        here, flat = self(middle), self.derivative(middle)
        found = []
        for sign in (1, -1):
            lowest, slope = sign * here - ROUND * (1 + here.abs()), flat
            for x, fx in zip(left, values[0], strict=True):
                for y, fy in zip(right, values[1], strict=True):
                    chord = (fy - fx) / (y - x).clamp(min=1e-300)
                    height = sign * (fx + chord * (middle - x))
                    slope = torch.where(height < lowest, chord, slope)
                    lowest = torch.minimum(lowest, height)
            found.append(slope)
        return Slopes(*found)

    def run_deviation(self, lower: Activation, upper: Activation) -> Activation:
        """Bound what a float32 run may be off by, of inputs in [lower, upper]."""
        reached = reduce(torch.maximum, map(torch.abs, self.bounds(lower, upper)))
        absolute, relative, gated = RUNS.get(self.kind, (RUN, RUN, False))
        if self.kind == "Selu":  # a run multiplies exp(x) - 1 by both, of which 8 are charged
            absolute *= max(1.0, math.prod(map(abs, map(float, self.numbers))) / 8)
        error = absolute + relative * reached
        if gated:
            far = GATED / min(1.0, abs(float(self.numbers[0]))) if self.kind == "Swish" else GATED
            error = error + RUN * torch.maximum(lower.abs(), upper.abs()).clamp(max=far)
        if self.kind == "Pow" and 0 < (exponent := float(self.numbers[0])) < 1:
            # A subnormal number may be taken for zero, whose root is far from its own.
            root = (2 * FLUSHED) ** exponent
            error = error + torch.where(lower < 2 * FLUSHED, root, 0.0)
        sure = reached < LARGEST
        for pole in POLES.get(self.kind, _none)(*self.numbers):
            # Subnormal numbers may be taken for zero.
            sure &= (lower > pole + 2.0**-125) | (upper < pole - 2.0**-125)
        return torch.where(sure, error * (1 + 1e-9), math.inf)


def _gap(piece: Piece, slope: Tensor, x: Tensor, sign: int) -> Tensor:
    value, line = sign * piece.value(x), slope * x
    return down(value - line - up((1 + value.abs()) * ROUND + line.abs() * (8 * UNIT)))


def _tangent(piece: Piece, slope: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """About where the piece's derivative is the slope, between two points."""
    # Of two infinite ends a search would come to no number.
    low, high = left.clamp(-1e200, 1e200), right.clamp(-1e200, 1e200)
    wanted = piece.bend * slope
    below, above = (piece.bend * piece.slope(end) - wanted for end in (low, high))
    inner = (below < 0) & (above > 0)
    point = torch.where(below >= 0, low, high)
    for step in range(STEPS):
        share = below / (below - above) if step % 3 else torch.full_like(low, 0.5)
        trial = low + (high - low) * share.clamp(0.01, 0.99).nan_to_num(0.5)
        found = piece.bend * piece.slope(trial) - wanted
        right_of = found >= 0
        high, above = torch.where(right_of, trial, high), torch.where(right_of, found, above)
        low, below = torch.where(right_of, low, trial), torch.where(right_of, below, found)
    nearer = torch.where(above < -below, high, low)
    return torch.where(inner, nearer, point)


@lru_cache(maxsize=256)
def _pieces(kind: str, numbers: tuple[float | str, ...]) -> Pieces:
    return FUNCTIONS[kind](*numbers)


def _none(*_: float | str) -> tuple[float, ...]:
    return ()
