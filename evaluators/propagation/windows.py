"""Backward passes from single entries of convolutional layers, on windows instead of whole planes.

One entry of a convolution depends on a small window of each earlier plane; carrying only that
window through the backward pass does the same arithmetic as `_backward.py` on a tenth of the
memory. Where a window (see `_places.py`) reaches over the edge of a plane, there is nothing but
padding: there, coefficients are made zero as soon as they meet values.

The slack, for rounding here and in float32 runs, is that of `_backward.py`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.network.affine import Convolution, Diagonal
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Sum
from evaluators.numerics.rounding import UNDERFLOW, UNIT, float_above, gamma, up
from evaluators.propagation.concretization import dual_norm, settle
from evaluators.propagation.places import Pair, Place
from evaluators.propagation.relaxation import Lines
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.region import Ball


def window_lower_bounds(
    relaxed: Relaxed,
    start: int,
    plan: dict[int, Place],
    owner: Tensor,
    entry: Tensor,
    sign: float,
) -> Tensor:
    """Sound lower bounds of `sign` times single entries of a node, `[rows]`.

    Args:
        relaxed: bounds of all earlier nodes.
        start: the node.
        plan: what `places` found for it.
        owner: the batch position that each row is about, `[rows]`.
        entry: the flat entry of the node that each row is about, `[rows]`.
        sign: 1 for lower bounds of the entries, -1 for the negatives of upper bounds.
    """
    node = relaxed.network.nodes[start]
    channels, height, width = node.shape
    channel, place = entry // (height * width), entry % (height * width)
    # Rows of different channels at one place of one example see the same windows.
    spots, spot = torch.unique(owner * (height * width) + place, return_inverse=True)
    examples, place = spots // (height * width), spots % (height * width)
    units = torch.eye(channels, dtype=torch.float64, device=entry.device)[..., None, None]
    constant = units.new_zeros(len(entry))
    at = start
    if isinstance(node.operation, Convolution):
        # The first step is to look up weights: of a unit vector it is exact.
        at, units = node.parents[0], _spread(node.operation, units)
        if node.operation.bias is not None:
            constant = sign * node.operation.bias.expand(node.shape).reshape(-1)[entry]
    waiting = {at: _Waiting((sign * units)[channel], inside=at == start)}
    walk = _WindowWalk(
        relaxed, plan, spot, examples, place // width, place % width, waiting, constant
    )
    error = relaxed.run_error(start)
    if at != start and error is not None:
        walk.slack += error.flatten(1)[owner, entry]
    for position in range(at, 0, -1):
        if position in walk.waiting:
            walk.step(position, walk.waiting.pop(position))
    walk.concretize(walk.waiting.pop(0))
    return settle(walk.constant, walk.slack)


def _spread(convolution: Convolution, rows: Tensor) -> Tensor:
    """The adjoint of a convolution on windows, which grow by it."""
    pairs = zip(rows.shape[2:], convolution.stride, convolution.dilation, strict=True)
    kernel = convolution.weight.shape[2:]
    size = [(n - 1) * s + d * (k - 1) + 1 for (n, s, d), k in zip(pairs, kernel, strict=True)]
    return convolution.spread(rows, (0, 0), tuple(size))


class _Waiting(NamedTuple):
    """Windows `[rows, channels, height, width]` that wait at a node.

    Attributes:
        rows: the coefficients.
        known: a bound on their one-norms where it is known already.
        inside: whether there are none but zeros beyond the edge of the plane.
    """

    rows: Tensor
    known: Tensor | None = None
    inside: bool = False

    @property
    def norm(self) -> Tensor:
        """A bound on the one-norm of each row."""
        return _one_norm(self.rows) if self.known is None else self.known


@dataclass
class _WindowWalk:
    """The state of one pass; see `_backward._Walk`, which does the same on whole planes.

    Attributes:
        relaxed, plan: as for `window_lower_bounds`.
        spot: which of the spots below each row starts at, `[rows]`.
        examples, y, x: batch position and place of each spot.
    """

    relaxed: Relaxed
    plan: dict[int, Place]
    spot: Tensor
    examples: Tensor
    y: Tensor
    x: Tensor
    waiting: dict[int, _Waiting]
    constant: Tensor
    slack: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.slack = torch.zeros_like(self.constant)
        self.owner = self.examples[self.spot]

    def cut(self, position: int, plane: Tensor) -> Tensor:
        """Each row's window of `[batch or 1, *shape]` values of a node; zero beyond the edge."""
        place = self.plan[position]
        own = self.examples
        if len(plane) == 1:
            own = torch.zeros_like(own)
        else:  # Only the examples at hand are worth padding.
            first, last = int(own.min()), int(own.max())
            plane, own = plane[first : last + 1], own - first
        (above, below), (left, right) = self.overhang(position)
        padded = F.pad(plane, (left, right, above, below))
        views = padded.unfold(2, place.size[0], 1).unfold(3, place.size[1], 1)
        top = place.scale[0] * self.y + place.offset[0] + above
        start = place.scale[1] * self.x + place.offset[1] + left
        return views[own, :, top, start].index_select(0, self.spot)

    def overhang(self, position: int) -> list[Pair]:
        """How far any window reaches over the edges of a node's plane: before and after."""
        place, shape = self.plan[position], self.relaxed.network.nodes[position].shape[1:]
        pads = []
        for size, scale, offset, length, at in zip(
            shape, place.scale, place.offset, place.size, (self.y, self.x), strict=True
        ):
            last = scale * int(at.max()) + offset + length
            pads.append((max(0, -(scale * int(at.min()) + offset)), max(0, last - size)))
        return pads

    def add(self, value: Tensor, error: Tensor) -> None:
        """Add to the constant (one rounding) what is known up to `error`."""
        self.constant = self.constant + value
        self.slack += self.constant.abs() * (2 * UNIT) + error

    def step(self, position: int, current: _Waiting) -> None:
        """Replace rows at a node by rows at its parents."""
        node = self.relaxed.network.nodes[position]
        operation = node.operation
        error = self.relaxed.run_error(position)
        if error is not None:
            # Beyond the edge there is no value, and so no error.
            self.slack += (current.rows.abs() * self.cut(position, error)).sum((1, 2, 3))
        if isinstance(operation, Elementwise):
            self.deposit(node.parents[0], position, self.elementwise(position, current))
        elif isinstance(operation, Sum):
            for parent in node.parents:
                self.deposit(parent, position, current)
        else:
            assert isinstance(operation, Convolution | Diagonal)
            self.deposit(node.parents[0], position, self.affine(position, operation, current))

    def deposit(self, parent: int, position: int, arriving: _Waiting) -> None:
        """Bring rows that came from `position` to the parent's window and add them."""
        operation = self.relaxed.network.nodes[position].operation
        here = self.plan[position]
        there = here.before(operation) if isinstance(operation, Convolution) else here
        target = self.plan[parent]
        top, left = (a - b for a, b in zip(there.offset, target.offset, strict=True))
        below, right = (target.size[i] - there.size[i] - (top, left)[i] for i in (0, 1))
        if (top, left, below, right) != (0, 0, 0, 0):
            arriving = arriving._replace(rows=F.pad(arriving.rows, (left, right, top, below)))
        if parent in self.waiting:
            other = self.waiting[parent]
            rows = other.rows + arriving.rows
            norm = _one_norm(rows)
            self.slack += norm * self.largest(parent) * (2 * UNIT)
            arriving = _Waiting(rows, norm, other.inside and arriving.inside)
        self.waiting[parent] = arriving

    def largest(self, position: int) -> Tensor:
        """`[rows]`: largest absolute value of a node's entries."""
        return self.relaxed.largest(position)[self.owner]

    def inside(self, position: int, current: _Waiting) -> _Waiting:
        """Rows with zero where the window lies beyond the edge of the node's plane."""
        if current.inside or self.overhang(position) == [(0, 0), (0, 0)]:
            return current
        shape = self.relaxed.network.nodes[position].shape
        mask = self.cut(position, current.rows.new_ones(1, 1, *shape[1:]))
        return _Waiting(current.rows * mask, current.known, inside=True)

    def affine(
        self, position: int, operation: Convolution | Diagonal, current: _Waiting
    ) -> _Waiting:
        """A·(Wz + b) = (WᵀA)·z + A·b."""
        current = self.inside(position, current)
        rows = current.rows
        shape = self.relaxed.network.nodes[position].shape
        terms = operation.weight.shape[0] if isinstance(operation, Convolution) else 1
        error = gamma(max(operation.fan_out, terms) + 4) + gamma(rows[0].numel() + 4)
        size = self.relaxed.size(position)[self.owner]
        lost = current.norm * size * (2 * error)
        parent = self.relaxed.network.nodes[position].parents[0]
        self.slack += UNDERFLOW * self.largest(parent)
        bias = torch.zeros_like(self.constant)
        if operation.bias is not None:
            plane = operation.bias.expand(shape)
            if plane.stride()[1:] == (0, 0):
                window = plane[:, :1, :1].expand(-1, *rows.shape[2:])
                bias = rows.flatten(1) @ window.reshape(-1)
            else:
                bias = (rows * self.cut(position, plane[None])).sum((1, 2, 3))
        self.add(bias, lost)
        if isinstance(operation, Convolution):
            return _Waiting(_spread(operation, rows))
        if operation.scale is None:
            return current
        scale = operation.scale.expand(shape)[None]
        return _Waiting(rows * self.cut(position, scale), inside=True)

    def elementwise(self, position: int, current: _Waiting) -> _Waiting:
        """Positive coefficients take the line below, negative ones the line above."""
        lines = self.relaxed.lines(position)
        assert isinstance(lines, Lines)
        extent = self.relaxed.extent(position)
        rows, norm = current.rows, current.norm
        positive, negative = rows.clamp(min=0), rows.clamp(max=0)
        error = 2 * gamma(rows[0].numel() + 4)
        for part, intercept, height in (
            (positive, lines.lower_intercept, extent.lower_intercept),
            (negative, lines.upper_intercept, extent.upper_intercept),
        ):
            if bool((height != 0).any()):
                value = (part * self.cut(position, intercept)).sum((1, 2, 3))
                self.add(value, norm * height[self.owner] * error)
        positive.mul_(self.cut(position, lines.lower_slope))
        positive.addcmul_(negative, self.cut(position, lines.upper_slope))
        norm = norm * extent.slope[self.owner]
        size = self.relaxed.size(position)[self.owner]
        self.slack += (norm * (2 * UNIT) + UNDERFLOW) * size
        return _Waiting(positive, norm, inside=True)

    def concretize(self, current: _Waiting) -> None:
        """The least value over the region; see `_concretization.least_over_ball`."""
        rows = current.rows
        hull, region = self.relaxed.bounds[0], self.relaxed.region
        middle = (hull.lower + hull.upper) / 2
        radius = torch.maximum(up(hull.upper - middle), up(middle - hull.lower))
        near, far = self.cut(0, middle), self.cut(0, radius)
        absolute = rows.abs()
        norm = absolute.sum((1, 2, 3))
        value = near.mul_(rows).sum((1, 2, 3)) - far.mul_(absolute).sum((1, 2, 3))
        error = 2 * gamma(rows[0].numel() + 8)
        size = (middle.abs() + radius).flatten(1).amax(1)[self.owner]
        slack = norm * size * error
        if isinstance(region, Ball) and region.norm is not Norm.LINF:
            ball, ball_slack = self.over_ball(region, self.inside(0, current).rows, error)
            better = ball - ball_slack > value - slack
            value = torch.where(better, ball, value)
            slack = torch.where(better, ball_slack, slack)
        self.add(value, slack)

    def over_ball(self, region: Ball, rows: Tensor, error: float) -> tuple[Tensor, Tensor]:
        """`(value, slack)` by the dual norm of the coefficients that a perturbation can follow."""
        x = self.cut(0, self.relaxed.x)
        stuck = ((x <= region.low) & (rows > 0)) | ((x >= region.high) & (rows < 0))
        norm = dual_norm(rows.masked_fill(stuck, 0.0)[:, None], region.norm)[:, 0]
        radius = float_above(region.radius)
        size = self.relaxed.x.abs().flatten(1).amax(1)[self.owner] + radius
        value = (rows * x).sum((1, 2, 3)) - radius * norm
        return value, _one_norm(rows) * size * error


def _one_norm(rows: Tensor) -> Tensor:
    return rows.flatten(1).abs().sum(1)  # twice as fast as PyTorch's norm
