"""Zonotopes: bounds of all nodes in one pass forward, which know what nodes have in common.

A node's entries are written as

    center + sum over j of generators_j · e_j + error,    e_j in [-1, 1],    |error| <= lost,

with one symbol e_j for each input and, from where it is made, for each unstable function: on [l, u]
its value is slope · z plus an interval, which becomes the new symbol (DeepZ, Singh et al. 2018,
"Fast and Effective Robustness Certification", theorem 3.1; of sigmoids theorem 3.2). One pass
forward bounds all entries, where a backward pass is needed for each; its bounds are those of
Fast-Lin's relaxation. `lost` holds all rounding, and grows as intervals do.

Of a ball of l2 or l1 around x, an input's entries are x + radius · e with ‖e‖ <= 1: the symbols of
inputs are bound by the norm, and reach as far as its dual norm of their generators says.
"""

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import Elementwise, LeakyReLU, Slopes, SShaped
from evaluators.numerics.rounding import UNDERFLOW, UNIT, gamma, up
from evaluators.propagation.concretization import dual_norm
from evaluators.propagation.intervals import Interval
from evaluators.question.norm import Norm

AT_ONCE = 2**15
"""Coefficients that an affine map is applied to at once: past the caches, twice as slow."""


@dataclass(frozen=True)
class BallSymbols:
    """The symbols of a ball's inputs: ‖e‖ <= 1, each between its ends of the pixel range.

    Attributes:
        norm: l2 or l1.
        lower, upper: ends of each symbol, `[inputs]`, within [-1, 1].
    """

    norm: Norm
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, x: Tensor, hull: Interval, radius: float, norm: Norm) -> "BallSymbols":
        """Those of the ball around x; an end where x cannot move is exactly zero."""
        ends = (((end - x) / radius).flatten() for end in hull)
        low, high = (torch.where(e == 0, e, e + e.sign() * (4 * UNIT)).clamp(-1, 1) for e in ends)
        return cls(norm, low, high)

    def least(self, generators: Tensor) -> Tensor:
        """Bound the least value of sums of generators `[inputs, *shape]` from below, unrounded.

        The better of two bounds, as in `concretization.py`: each symbol as low as it goes, and the
        dual norm of those generators that can lower the sum at all.
        """
        shape = (-1, *[1] * (generators.dim() - 1))
        low, high = self.lower.reshape(shape), self.upper.reshape(shape)
        box = torch.minimum(generators * low, generators * high).sum(0)
        stuck = ((low >= 0) & (generators > 0)) | ((high <= 0) & (generators < 0))
        ball = dual_norm(generators.masked_fill(stuck, 0.0).movedim(0, -1), self.norm)
        return torch.maximum(box, -ball)[None]


@dataclass(frozen=True)
class Zonotope:
    """The entries of a node, float64.

    Attributes:
        center: `[1, *shape]`.
        generators: `[symbols so far, *shape]`.
        reach: at least what the symbols add or take, `[1, *shape]`: the sum of the generators'
            absolute values, of a ball's symbols the dual norm of theirs.
        lost: `[1, *shape]`: largest distance to the values meant.
        ball: what the first symbols are bound by; None where each is free.
    """

    center: Tensor
    generators: Tensor
    reach: Tensor
    lost: Tensor
    ball: BallSymbols | None = None

    @property
    def interval(self) -> Interval:
        """Bounds of the entries."""
        spreads = [self.reach, self.reach]
        if self.ball is not None:
            first, free = self.generators[: self.bound], self.generators[self.bound :]
            error = 1 + 4 * gamma(len(self.generators) + 8)
            apart = free.abs().sum(0, keepdim=True)
            both = (apart - self.ball.least(sign * first) for sign in (1, -1))
            spreads = [torch.minimum(each * error, self.reach) for each in both]
        low, high = ((spread + self.lost) * (1 + 4 * UNIT) for spread in spreads)
        low = low + (self.center.abs() + low) * (4 * UNIT) + UNDERFLOW
        high = high + (self.center.abs() + high) * (4 * UNIT) + UNDERFLOW
        return Interval(self.center - low, self.center + high)

    @property
    def bound(self) -> int:
        """Number of symbols that are not free."""
        return 0 if self.ball is None else len(self.ball.lower)

    @classmethod
    def of_box(cls, box: Interval) -> "Zonotope":
        """A box `[1, *shape]`: one symbol an entry."""
        center = box.lower / 2 + box.upper / 2
        radius = up(torch.maximum(box.upper - center, center - box.lower))
        generators = torch.diag(radius.flatten()).reshape(-1, *center.shape[1:])
        return cls(center, generators, radius, torch.zeros_like(center))

    @classmethod
    def of_ball(cls, x: Tensor, hull: Interval, radius: float, norm: Norm) -> "Zonotope":
        """All points of the hull within `radius` of x `[1, *shape]`."""
        generators = torch.diag(torch.full_like(x.flatten(), radius)).reshape(-1, *x.shape[1:])
        reach, symbols = torch.full_like(x, radius), BallSymbols.of(x, hull, radius, norm)
        return cls(x, generators, reach, torch.zeros_like(x), symbols)

    def affine(self, operation: AffineMap) -> "Zonotope":
        """Its image; `|W|(|center| + reach)` bounds what rounding does to all products."""
        center, count = operation(self.center), len(self.generators)
        generators = center.new_empty(count, *center.shape[1:])
        reach, rows = torch.zeros_like(center), max(1, AT_ONCE // prod(operation.output_shape))
        for first in range(0, count, rows):
            part = operation.linear(self.generators[first : first + rows])
            generators[first : first + rows] = part
            # Not in place: a view is the generators of the node before, which others may read.
            reach += part[max(0, self.bound - first) :].abs().sum(0, keepdim=True)
        reach = self._rounded(reach, generators)
        error = 2 * gamma(operation.fan_in + 4)
        size = self.lost + (self.center.abs() + self.reach) * error
        lost = operation.absolute(size * (1 + 4 * UNIT)) * (1 + error)
        lost = lost + center.abs() * (8 * UNIT) + UNDERFLOW * (count + 2)
        return replace(self, center=center, generators=generators, reach=reach, lost=lost)

    def _rounded(self, free: Tensor, generators: Tensor) -> Tensor:
        """What generators add or take, rounded up; `free` is the sum of those that are not bound.

        Rounding moves each generator by a share of the sum of absolute products that it is. By the
        triangle inequality the dual norm of all these is at most that share of |W| times the dual
        norm of the generators before, so that `reach` stands for the sum in either case.
        """
        if self.ball is not None:
            first = generators[: self.bound].movedim(0, -1)
            free = free + dual_norm(first, self.ball.norm)[None]
        return free * (1 + 2 * gamma(len(generators) + 8))

    def plus(self, other: "Zonotope") -> "Zonotope":
        """The sum of two nodes' entries; they share their symbols."""
        few, many = sorted((self, other), key=lambda part: len(part.generators))
        generators = many.generators.clone()
        generators[: len(few.generators)] += few.generators
        center = self.center + other.center
        reach = self._rounded(generators[many.bound :].abs().sum(0, keepdim=True), generators)
        lost = self.lost + other.lost
        rounded = (center.abs() + reach + lost) * (4 * UNIT)
        return replace(many, center=center, generators=generators, reach=reach, lost=lost + rounded)

    def bent(self, function: Elementwise, within: Interval, symbols: int) -> "Zonotope":
        """The function's values; new symbols come after the first `symbols`.

        Args:
            function: of every entry.
            within: bounds of these entries.
            symbols: number of all symbols so far, which other nodes may have more of than this.
        """
        unstable = function.unstable(*within)
        if isinstance(function, LeakyReLU):
            slope, middle, half = _bent_relu(function, within, unstable)
        else:
            slope, middle, half = _bent_curve(function, within)
        center = slope * self.center + middle
        size = slope * (self.center.abs() + self.reach) + middle.abs() + half
        lost = (slope * self.lost + size * (4 * UNIT)) * (1 + 8 * UNIT)
        lost = lost + UNDERFLOW * (len(self.generators) + 2) + torch.where(unstable, 0.0, half)
        half = torch.where(unstable, half, 0.0)
        reach = (slope * self.reach + half) * (1 + 8 * UNIT)
        entries = unstable.flatten().nonzero()[:, 0]
        count = len(self.generators)
        generators = slope.new_zeros(symbols + len(entries), *center.shape[1:])
        torch.mul(self.generators, slope, out=generators[:count])
        rows = torch.arange(symbols, len(generators))
        generators.flatten(1)[rows, entries] = half.flatten()[entries]
        return replace(self, center=center, generators=generators, reach=reach, lost=lost)


def _bent_relu(
    function: LeakyReLU, within: Interval, unstable: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, middle and half width of the band around max(z, leak·z)."""
    lower, upper = within
    width = torch.where(unstable, upper - lower, 1.0)
    slope = ((upper - function.leak * lower) / width).clamp(function.leak, 1.0)
    # Of two numbers `where` would make a float32 tensor.
    decided = torch.where(lower >= 0, 1.0, torch.full_like(lower, function.leak))
    slope = torch.where(unstable, slope, decided)
    # On [l, u] the function less slope·z is convex: least at 0, where it is 0, and greatest
    # at an end. Half of that is the distance of a line in the middle.
    top = torch.maximum((slope - function.leak) * -lower, (1 - slope) * upper)
    half = torch.where(unstable, top * (0.5 + 8 * UNIT) + UNDERFLOW, 0.0)
    return slope, half, half


def _bent_curve(function: Elementwise, within: Interval) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, middle and half width of the band around a non-decreasing function.

    The slope is the less steep one of the tangents at both ends; any slope gives a band.
    """
    if isinstance(function, SShaped):
        slope = torch.minimum(*(function.derivative(end) for end in within))
    else:
        slope = torch.minimum(*function.slopes(*within)).clamp(min=0)
    low, high = function.intercepts(Slopes(slope, slope), *within)
    middle = low / 2 + high / 2
    half = torch.maximum(high - middle, middle - low) * (1 + 8 * UNIT) + UNDERFLOW
    return slope, middle, half
