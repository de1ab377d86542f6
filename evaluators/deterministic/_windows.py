"""Backward passes from single entries of convolutional layers, on windows instead of whole planes.

One entry of a convolution depends on a small window of each earlier plane; carrying only that
window through the backward pass does the same arithmetic as `_backward.py` on a tenth of the
memory. A window of the row that starts at entry (y, x) of the start node begins, in an earlier
plane, at `scale·(y, x) + offset`; it may reach over the plane's edge, where there is nothing but
padding: there, coefficients are made zero as soon as they meet values.

The rounding slack is that of `_backward.py`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.affine import Convolution, Diagonal
from evaluators.deterministic._backward import Relaxed
from evaluators.deterministic._concretization import dual_norm, settle
from evaluators.deterministic._relaxation import Lines
from evaluators.elementwise import Elementwise
from evaluators.network import Network, Operation, Sum
from evaluators.problem import Norm
from evaluators.rounding import UNDERFLOW, UNIT, float_above, gamma, up

Pair = tuple[int, int]


class Place(NamedTuple):
    """Where the windows of all rows lie in one plane."""

    scale: Pair
    offset: Pair
    size: Pair

    def before(self, convolution: Convolution) -> "Place":
        """The place in the input plane of a convolution."""
        triples = zip(
            self.scale,
            self.offset,
            self.size,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.weight.shape[2:],
            strict=True,
        )
        moved = [
            (scale * s, offset * s - pad, (size - 1) * s + d * (kernel - 1) + 1)
            for scale, offset, size, s, pad, d, kernel in triples
        ]
        (a, b), (c, d), (e, f) = zip(*moved, strict=True)
        return Place((a, b), (c, d), (e, f))

    def union(self, other: "Place") -> "Place":
        """The smallest place that covers both; they have the same scale."""
        start = [min(a, b) for a, b in zip(self.offset, other.offset, strict=True)]
        ends = [max(p.offset[i] + p.size[i] for p in (self, other)) for i in (0, 1)]
        return Place(self.scale, (start[0], start[1]), (ends[0] - start[0], ends[1] - start[1]))


def places(network: Network, start: int) -> dict[int, Place] | None:
    """The windows in every plane between a node and the input; None where they do not pay.

    They pay when every operation on the way is local and the windows are well below the planes.
    """
    found = {start: Place((1, 1), (0, 0), (1, 1))}
    window = plane = 0
    for position in range(start, 0, -1):
        if position not in found:
            continue
        node = network.nodes[position]
        here = found[position]
        if len(node.shape) != 3 or not _is_local(node.operation):
            return None
        local = node.operation
        there = here.before(local) if isinstance(local, Convolution) else here
        for parent in node.parents:
            if parent in found and found[parent].scale != there.scale:
                return None
            found[parent] = found[parent].union(there) if parent in found else there
            channels, height, width = network.nodes[parent].shape
            window += channels * found[parent].size[0] * found[parent].size[1]
            plane += channels * height * width
    return found if 2 * window < plane else None


def _is_local(operation: Operation) -> bool:
    if isinstance(operation, Convolution):
        return len(operation.stride) == 2
    return isinstance(operation, Diagonal | Elementwise | Sum)


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
    channels, height, width = relaxed.network.nodes[start].shape
    rows = relaxed.x.new_zeros(len(entry), channels, 1, 1)
    rows[torch.arange(len(entry), device=rows.device), entry // (height * width)] = sign
    y, x = entry // width % height, entry % width
    walk = _WindowWalk(relaxed, plan, owner, y, x, {start: rows}, rows.new_zeros(len(entry)))
    for position in range(start, 0, -1):
        if position in walk.rows:
            walk.step(position, walk.rows.pop(position))
    walk.concretize(walk.rows.pop(0))
    return settle(walk.constant, walk.slack)


@dataclass
class _WindowWalk:
    """The state of one pass; see `_backward._Walk`, which does the same on whole planes."""

    relaxed: Relaxed
    plan: dict[int, Place]
    owner: Tensor
    y: Tensor
    x: Tensor
    rows: dict[int, Tensor]
    constant: Tensor
    slack: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.slack = torch.zeros_like(self.constant)

    def cut(self, position: int, plane: Tensor) -> Tensor:
        """Each row's window of `[batch, *shape]` values of a node; zero beyond the edge."""
        place, shape = self.plan[position], plane.shape[2:]
        pads = []
        for size, scale, offset, length, at in zip(
            shape, place.scale, place.offset, place.size, (self.y, self.x), strict=True
        ):
            last = scale * int(at.max()) + offset + length
            pads.append((max(0, -offset), max(0, last - size)))
        padded = F.pad(plane, (*pads[1], *pads[0]))
        views = padded.unfold(2, place.size[0], 1).unfold(3, place.size[1], 1)
        top = place.scale[0] * self.y + place.offset[0] + pads[0][0]
        left = place.scale[1] * self.x + place.offset[1] + pads[1][0]
        return views[self.owner, :, top, left]

    def add(self, value: Tensor, error: Tensor) -> None:
        """Add to the constant (one rounding) what is known up to `error`."""
        self.constant = self.constant + value
        self.slack += self.constant.abs() * (2 * UNIT) + error

    def step(self, position: int, rows: Tensor) -> None:
        """Replace rows at a node by rows at its parents."""
        node = self.relaxed.network.nodes[position]
        operation = node.operation
        if isinstance(operation, Elementwise):
            self.deposit(node.parents[0], position, self.elementwise(position, rows))
        elif isinstance(operation, Sum):
            for parent in node.parents:
                self.deposit(parent, position, rows)
        else:
            assert isinstance(operation, Convolution | Diagonal)
            self.deposit(node.parents[0], position, self.affine(position, operation, rows))

    def deposit(self, parent: int, position: int, rows: Tensor) -> None:
        """Bring rows that came from `position` to the parent's window and add them."""
        operation = self.relaxed.network.nodes[position].operation
        here = self.plan[position]
        there = here.before(operation) if isinstance(operation, Convolution) else here
        target = self.plan[parent]
        top, left = (a - b for a, b in zip(there.offset, target.offset, strict=True))
        below, right = (target.size[i] - there.size[i] - (top, left)[i] for i in (0, 1))
        if (top, left, below, right) != (0, 0, 0, 0):
            rows = F.pad(rows, (left, right, top, below))
        if parent in self.rows:
            rows = self.rows[parent] + rows
            self.slack += _one_norm(rows) * self.largest(parent) * (2 * UNIT)
        self.rows[parent] = rows

    def largest(self, position: int) -> Tensor:
        """`[rows]`: largest absolute value of a node's entries."""
        magnitude = self.relaxed.bounds[position].magnitude
        return magnitude.flatten(1).amax(1)[self.owner]

    def inside(self, position: int, rows: Tensor) -> Tensor:
        """Rows with zero where the window lies beyond the edge of the node's plane."""
        shape = self.relaxed.network.nodes[position].shape
        whole = rows.new_ones(1, 1, *shape[1:])
        place = self.plan[position]
        if place.size == (1, 1):
            return rows
        owner, self.owner = self.owner, torch.zeros_like(self.owner)
        mask = self.cut(position, whole)
        self.owner = owner
        return rows * mask

    def affine(self, position: int, operation: Convolution | Diagonal, rows: Tensor) -> Tensor:
        """A·(Wz + b) = (WᵀA)·z + A·b."""
        rows = self.inside(position, rows)
        terms = operation.weight.shape[0] if isinstance(operation, Convolution) else 1
        error = gamma(max(operation.fan_out, terms) + 4) + gamma(rows[0].numel() + 4)
        size = self.relaxed.size(position)[self.owner]
        lost = _one_norm(rows) * size * (2 * error)
        parent = self.relaxed.network.nodes[position].parents[0]
        self.slack += UNDERFLOW * self.largest(parent)
        bias = torch.zeros_like(self.constant)
        if operation.bias is not None:
            shape = self.relaxed.network.nodes[position].shape
            plane = operation.bias.expand(shape)
            if plane.stride()[1:] == (0, 0):
                bias = (rows.sum((2, 3)) * plane[:, 0, 0]).sum(1)
            else:
                plane = plane.expand(len(self.relaxed.x), *shape)
                bias = (rows * self.cut(position, plane)).sum((1, 2, 3))
        self.add(bias, lost)
        if isinstance(operation, Convolution):
            return F.conv_transpose2d(
                rows,
                operation.weight,
                None,
                operation.stride,
                0,
                0,
                operation.groups,
                operation.dilation,
            )
        if operation.scale is None:
            return rows
        shape = self.relaxed.network.nodes[position].shape
        scale = operation.scale.expand(shape).expand(len(self.relaxed.x), *shape)
        return rows * self.cut(position, scale)

    def elementwise(self, position: int, rows: Tensor) -> Tensor:
        """Positive coefficients take the line below, negative ones the line above."""
        lines = self.relaxed.lines(position)
        assert isinstance(lines, Lines)
        positive, negative = rows.clamp(min=0), rows.clamp(max=0)
        norm = _one_norm(rows)
        error = 2 * gamma(rows[0].numel() + 4)
        for part, intercept in (
            (positive, lines.lower_intercept),
            (negative, lines.upper_intercept),
        ):
            if bool((intercept != 0).any()):
                largest = intercept.abs().flatten(1).amax(1)[self.owner]
                value = (part * self.cut(position, intercept)).sum((1, 2, 3))
                self.add(value, norm * largest * error)
        lower = self.cut(position, lines.lower_slope)
        upper = self.cut(position, lines.upper_slope)
        result = positive.mul_(lower).add_(negative.mul_(upper))
        size = self.relaxed.size(position)[self.owner]
        self.slack += (_one_norm(result) * (2 * UNIT) + UNDERFLOW) * size
        return result

    def concretize(self, rows: Tensor) -> None:
        """The least value over the region; see `_concretization.least_over_ball`."""
        hull, region = self.relaxed.bounds[0], self.relaxed.region
        middle = (hull.lower + hull.upper) / 2
        radius = torch.maximum(up(hull.upper - middle), up(middle - hull.lower))
        near, far = self.cut(0, middle), self.cut(0, radius)
        value = (rows * near).sum((1, 2, 3)) - (rows.abs() * far).sum((1, 2, 3))
        error = 2 * gamma(rows[0].numel() + 8)
        size = (middle.abs() + radius).flatten(1).amax(1)[self.owner]
        slack = _one_norm(rows) * size * error
        if region.norm is not Norm.LINF:
            ball, ball_slack = self.over_ball(self.inside(0, rows), error)
            better = ball - ball_slack > value - slack
            value = torch.where(better, ball, value)
            slack = torch.where(better, ball_slack, slack)
        self.add(value, slack)

    def over_ball(self, rows: Tensor, error: float) -> tuple[Tensor, Tensor]:
        """`(value, slack)` by the dual norm of the coefficients that a perturbation can follow."""
        region = self.relaxed.region
        x = self.cut(0, self.relaxed.x)
        stuck = ((x <= region.low) & (rows > 0)) | ((x >= region.high) & (rows < 0))
        norm = dual_norm(rows.masked_fill(stuck, 0.0)[:, None], region.norm)[:, 0]
        radius = float_above(region.radius)
        size = self.relaxed.x.abs().flatten(1).amax(1)[self.owner] + radius
        value = (rows * x).sum((1, 2, 3)) - radius * norm
        return value, _one_norm(rows) * size * error


def _one_norm(rows: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(rows.flatten(1), 1, dim=1)
    return norm
