"""Backward propagation of linear bounds through the canonical graph.

A row is a linear function of one node's entries; walking towards the input, each node replaces it
by a function of its parents that is nowhere larger, until it can be concretised. Rows come in
groups `[groups, rows, *shape]`, all rows of a group belonging to one example.

Rounding: a row's computed coefficients differ from the ones that would be exact; the difference,
times the largest magnitude of the values it multiplies, is added up in a slack (a bound on
everything lost on the way), which the final value is lowered by. With ‖A‖₁ the sum of a row's
absolute coefficients and M the largest of (|W||z| + |b|), an affine step loses at most
γ·‖A‖₁·M, an elementwise one 2u·‖A'‖₁·max|z| + γ·‖A‖₁·max|intercept|, where ‖A'‖₁ is at most ‖A‖₁
times the steepest slope. Norms are themselves computed, to a relative error of far less than the
share by which `settle` inflates the slack.

Where the bounds are to hold for float32 runs, too, a row also loses at each node the sum of its
absolute coefficients times that node's `Relaxed.run_error`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, Dense, Diagonal
from evaluators.network.network import Input, MaxPool, Network, Sum
from evaluators.numerics.rounding import UNDERFLOW, UNIT, gamma
from evaluators.propagation.concretization import (
    Rows,
    Values,
    dot,
    least_over_ball,
    least_over_box,
    one_norm,
    settle,
)
from evaluators.propagation.intervals import Interval
from evaluators.propagation.relaxation import Lines, Planes
from evaluators.propagation.relaxed import Relaxed


def lower_bounds(
    relaxed: Relaxed,
    start: int,
    rows: Rows,
    examples: Tensor,
    stop: Callable[[int], bool] = lambda _: False,
    constant: Values | None = None,
) -> Values:
    """Sound lower bounds of linear functions of one node over each example's region.

    Args:
        relaxed: bounds of all nodes before `start` that are not `start` itself.
        start: position of the node whose entries `rows` multiplies.
        rows: `[groups, rows, *shape of start]`, exact.
        examples: the batch position that each group is about, `[groups]`.
        stop: at which nodes to concretise with their interval instead of going on.
        constant: what is added to each function, `[groups, rows]`, exact; zero if not given.

    Returns:
        `[groups, rows]`; NaN or -inf where nothing finite can be said.
    """
    constant = rows.new_zeros(rows.shape[:2]) if constant is None else constant
    walk = _Walk(relaxed, examples, {start: _Waiting(rows)}, constant)
    walk.go(start, stop)
    if 0 in walk.waiting:
        walk.concretize(0, walk.waiting.pop(0))
    return settle(walk.constant, walk.slack)


def at_the_input(relaxed: Relaxed, start: int, rows: Rows, examples: Tensor) -> Tensor:
    """The coefficients `[groups, rows, *shape]` of the planes below functions of one node.

    Args:
        relaxed, start, rows, examples: as of `lower_bounds`.
    """
    walk = _Walk(relaxed, examples, {start: _Waiting(rows)}, rows.new_zeros(rows.shape[:2]))
    walk.go(start, lambda _: False)
    if 0 in walk.waiting:
        return walk.waiting[0].rows
    return rows.new_zeros(*rows.shape[:2], *relaxed.network.input_shape)


def unit_rows(network: Network, position: int, index: Tensor) -> tuple[int, Rows, Values]:
    """The functions that are single entries of a node: `(start, rows, constant)`.

    They start at the node, or at its parent where the first step is to look up rows of a matrix.

    Args:
        network: the network.
        position: the node.
        index: flat entries, `[groups, rows]`.
    """
    node = network.nodes[position]
    operation = node.operation
    if isinstance(operation, Dense) and len(node.shape) == 1:
        weight = operation.weight[index]
        if operation.bias is None:
            return node.parents[0], weight, weight.new_zeros(index.shape)
        return node.parents[0], weight, operation.bias.expand(node.shape)[index]
    units = torch.zeros(*index.shape, prod(node.shape), dtype=torch.float64, device=index.device)
    units.scatter_(2, index[..., None], 1.0)
    return position, units.reshape(*index.shape, *node.shape), units.new_zeros(index.shape)


class _Waiting(NamedTuple):
    """Rows that wait at a node, and a bound on their one-norms where it is known already."""

    rows: Tensor
    known: Tensor | None = None

    @property
    def norm(self) -> Tensor:
        """A bound on the one-norm of each row."""
        return one_norm(self.rows) if self.known is None else self.known


@dataclass
class _Walk:
    """The state of one backward pass: rows waiting at nodes, the constant, and the slack."""

    relaxed: Relaxed
    examples: Tensor
    waiting: dict[int, _Waiting]
    constant: Tensor
    slack: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.slack = torch.zeros_like(self.constant)

    def go(self, start: int, stop: Callable[[int], bool]) -> None:
        """Walk from a node to the input, and concretise where it is to stop before."""
        for position in range(start, 0, -1):
            if position not in self.waiting:
                continue
            current = self.waiting.pop(position)
            if stop(position) and position != start:
                self.concretize(position, current)
            else:
                self.step(position, current)

    def step(self, position: int, current: _Waiting) -> None:
        """Replace rows at a node by rows at its parents."""
        node = self.relaxed.network.nodes[position]
        operation = node.operation
        error = self.relaxed.run_error(position)
        if error is not None:
            self.slack += dot(current.rows.abs(), error[self.examples])
        if isinstance(operation, Sum):
            for parent in node.parents:
                self.deposit(parent, current)
        elif isinstance(operation, AffineMap):
            self.deposit(node.parents[0], self.affine(position, operation, current))
        elif isinstance(operation, MaxPool):
            self.deposit(node.parents[0], self.pool(position, current))
        else:
            assert not isinstance(operation, Input)
            self.deposit(node.parents[0], self.elementwise(position, current))

    def add(self, value: Tensor) -> None:
        """Add to the constant (one rounding)."""
        self.constant = self.constant + value
        self.slack += self.constant.abs() * (2 * UNIT)

    def deposit(self, parent: int, arriving: _Waiting) -> None:
        """Add rows to those already waiting at a node (one rounding where branches meet)."""
        if parent not in self.waiting:
            self.waiting[parent] = arriving
            return
        total = self.waiting[parent].rows + arriving.rows
        norm = one_norm(total)
        self.slack += norm * self.largest(parent) * (2 * UNIT)
        self.waiting[parent] = _Waiting(total, norm)

    def largest(self, position: int) -> Tensor:
        """`[groups, 1]`: largest absolute value of a node's entries."""
        return self.relaxed.largest(position)[self.examples, None]

    def affine(self, position: int, operation: AffineMap, current: _Waiting) -> _Waiting:
        """A·(Wz + b) = (WᵀA)·z + A·b."""
        rows, exact = current.rows, operation.fan_out == 0
        if operation.bias is not None or not exact:
            error = gamma(operation.fan_out + 4) + gamma(rows[0, 0].numel() + 4)
            size = self.relaxed.size(position)[self.examples]
            self.slack += current.norm * size[:, None] * (2 * error)
        if operation.bias is not None:
            bias = operation.bias.expand(operation.output_shape).reshape(-1)
            self.add(rows.flatten(2) @ bias)
        if not exact:
            # Coefficients that underflow multiply values that may be huge.
            parent = self.relaxed.network.nodes[position].parents[0]
            self.slack += UNDERFLOW * self.largest(parent)
        flat = rows.reshape(-1, *operation.output_shape)
        moved = operation.adjoint(flat).reshape(*rows.shape[:2], *operation.input_shape)
        if isinstance(operation, Diagonal):
            return _Waiting(moved, current.norm * operation.largest)
        return _Waiting(moved, current.known if exact else None)

    def elementwise(self, position: int, current: _Waiting) -> _Waiting:
        """Positive coefficients take the line below, negative ones the line above."""
        lines = self.relaxed.lines(position)
        assert isinstance(lines, Lines)
        extent = self.relaxed.extent(position)
        rows, norm = current.rows, current.norm
        positive, negative = rows.clamp(min=0), rows.clamp(max=0)
        error = 2 * gamma(rows[0, 0].numel() + 4)
        for part, intercept, height in (
            (positive, lines.lower_intercept, extent.lower_intercept),
            (negative, lines.upper_intercept, extent.upper_intercept),
        ):
            if bool((height != 0).any()):
                self.add(dot(part, intercept[self.examples]))
                self.slack += norm * height[self.examples, None] * error
        positive.mul_(lines.lower_slope[self.examples, None])
        positive.addcmul_(negative, lines.upper_slope[self.examples, None])
        norm = norm * extent.slope[self.examples, None]
        size = self.relaxed.size(position)[self.examples]
        self.slack += (norm * (2 * UNIT) + UNDERFLOW) * size[:, None]
        return _Waiting(positive, norm)

    def pool(self, position: int, current: _Waiting) -> _Waiting:
        """Positive coefficients take the plane below, negative ones the plane above.

        A coefficient is shared among the inputs of its window by weights of at most one.
        """
        planes = self.relaxed.lines(position)
        assert isinstance(planes, Planes)
        place, below, floor, above, ceiling = (field[self.examples] for field in planes)
        rows, flat = current.rows, current.rows.flatten(2)
        positive, negative = flat.clamp(min=0), flat.clamp(max=0)
        self.add(dot(positive, floor))
        self.add(dot(negative, ceiling))
        moved = positive[..., None] * below[:, None] + negative[..., None] * above[:, None]
        parent = self.relaxed.network.nodes[position].parents[0]
        shape = self.relaxed.network.nodes[parent].shape
        result = rows.new_zeros(*rows.shape[:2], *shape)
        spots = place.flatten(1)[:, None].expand(-1, rows.shape[1], -1)
        result.flatten(2).scatter_add_(2, spots, moved.flatten(2))
        intercept = torch.maximum(floor.abs(), ceiling.abs()).amax(1)
        size = torch.maximum(self.relaxed.size(position)[self.examples], intercept)
        error = 2 * gamma(flat.shape[2] + 4) * place.shape[2]
        self.slack += (current.norm * error + UNDERFLOW) * size[:, None]
        return _Waiting(result)

    def concretize(self, position: int, current: _Waiting) -> None:
        """Take the least value over the node's interval, or over the region at the input."""
        bounds = self.relaxed.bounds[position]
        box = Interval(bounds.lower[self.examples], bounds.upper[self.examples])
        if position == 0:
            x = self.relaxed.x[self.examples]
            value, slack = least_over_ball(current.rows, x, self.relaxed.region, box)
        else:
            value, slack = least_over_box(current.rows, box)
        self.add(value)
        self.slack += slack
