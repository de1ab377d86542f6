"""Backward propagation of linear bounds through the canonical graph.

A row is a linear function of one node's entries; walking towards the input, each node replaces it
by a function of its parents that is nowhere larger, until it can be concretised. Rows come in
groups `[groups, rows, *shape]`, all rows of a group belonging to one example.

Rounding: a row's computed coefficients differ from the ones that would be exact; the difference,
times the largest magnitude of the values it multiplies, is added up in a slack (a bound on
everything lost on the way), which the final value is lowered by. With ‖A‖₁ the sum of a row's
absolute coefficients and M the largest of (|W||z| + |b|), an affine step loses at most
γ·‖A‖₁·M, an elementwise one 2u·‖A'‖₁·max|z| + γ·‖A‖₁·max|intercept|.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluators.affine import AffineMap
from evaluators.deterministic._concretization import (
    Rows,
    Values,
    dot,
    least_over_ball,
    least_over_box,
    one_norm,
    settle,
)
from evaluators.deterministic._intervals import Interval
from evaluators.deterministic._relaxation import Lines, Relaxation, Winner, winners
from evaluators.elementwise import Elementwise
from evaluators.network import Input, MaxPool, Network, Sum
from evaluators.problem import Ball
from evaluators.rounding import UNDERFLOW, UNIT, gamma


@dataclass
class Relaxed:
    """A network around a batch of examples: bounds of every node, and lines made from them.

    Attributes:
        network: in float64.
        x: float64 examples `[batch, *shape]`.
        region: the perturbations.
        bounds: of each node so far, `[batch, *shape]`.
        relaxation: which lines stand for elementwise functions.
    """

    network: Network
    x: Tensor
    region: Ball
    bounds: list[Interval]
    relaxation: Relaxation
    _lines: dict[int, Lines | Winner] = field(default_factory=dict)
    _sizes: dict[int, Tensor] = field(default_factory=dict)

    def lines(self, position: int) -> Lines | Winner:
        """The linear bounds of a non-linear node, made once its input's bounds are final."""
        if position not in self._lines:
            node = self.network.nodes[position]
            parent = self.bounds[node.parents[0]]
            if isinstance(node.operation, MaxPool):
                self._lines[position] = winners(node.operation, parent)
            else:
                assert isinstance(node.operation, Elementwise)
                self._lines[position] = self.relaxation(node.operation, parent)
        return self._lines[position]

    def size(self, position: int) -> Tensor:
        """`[batch]`: largest absolute value any sum at this node can pass through on the way.

        For an affine node the largest |W||z| + |b|, for others the largest |z|, z its inputs.
        """
        if position not in self._sizes:
            node = self.network.nodes[position]
            value = self.bounds[node.parents[0]].magnitude
            if isinstance(node.operation, AffineMap):
                value = node.operation.absolute(value)
                if node.operation.bias is not None:
                    value = value + node.operation.bias.abs()
            elif isinstance(node.operation, Sum):
                value = torch.stack(
                    [self.bounds[p].magnitude.flatten(1).amax(1) for p in node.parents]
                )
                value = value.amax(0)[:, None]
            self._sizes[position] = value.flatten(1).amax(1) * (1 + 1e-6)
        return self._sizes[position]


def lower_bounds(
    relaxed: Relaxed,
    start: int,
    rows: Rows,
    examples: Tensor,
    stop: Callable[[int], bool] = lambda _: False,
) -> Values:
    """Sound lower bounds of linear functions of one node over each example's region.

    Args:
        relaxed: bounds of all nodes before `start` that are not `start` itself.
        start: position of the node whose entries `rows` multiplies.
        rows: `[groups, rows, *shape of start]`, exact.
        examples: the batch position that each group is about, `[groups]`.
        stop: at which nodes to concretise with their interval instead of going on.

    Returns:
        `[groups, rows]`; NaN or -inf where nothing finite can be said.
    """
    walk = _Walk(relaxed, examples, {start: rows}, rows.new_zeros(rows.shape[:2]))
    for position in range(start, 0, -1):
        if position not in walk.rows:
            continue
        current = walk.rows.pop(position)
        if stop(position) and position != start:
            walk.concretize(position, current)
        else:
            walk.step(position, current)
    if 0 in walk.rows:
        walk.concretize(0, walk.rows.pop(0))
    return settle(walk.constant, walk.slack)


@dataclass
class _Walk:
    """The state of one backward pass: rows waiting at nodes, the constant, and the slack."""

    relaxed: Relaxed
    examples: Tensor
    rows: dict[int, Tensor]
    constant: Tensor
    slack: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.slack = torch.zeros_like(self.constant)

    def step(self, position: int, rows: Tensor) -> None:
        """Replace rows at a node by rows at its parents."""
        node = self.relaxed.network.nodes[position]
        operation = node.operation
        if isinstance(operation, Sum):
            for parent in node.parents:
                self.deposit(parent, rows)
        elif isinstance(operation, AffineMap):
            self.deposit(node.parents[0], self.affine(position, operation, rows))
        elif isinstance(operation, MaxPool):
            self.deposit(node.parents[0], self.pool(position, rows))
        else:
            assert not isinstance(operation, Input)
            self.deposit(node.parents[0], self.elementwise(position, rows))

    def add(self, value: Tensor) -> None:
        """Add to the constant (one rounding)."""
        self.constant = self.constant + value
        self.slack += self.constant.abs() * (2 * UNIT)

    def deposit(self, parent: int, rows: Tensor) -> None:
        """Add rows to those already waiting at a node (one rounding where branches meet)."""
        if parent not in self.rows:
            self.rows[parent] = rows
            return
        total = self.rows[parent] + rows
        self.slack += one_norm(total) * self.largest(parent) * (2 * UNIT)
        self.rows[parent] = total

    def largest(self, position: int) -> Tensor:
        """`[groups, 1]`: largest absolute value of a node's entries."""
        magnitude = self.relaxed.bounds[position].magnitude
        return magnitude.flatten(1).amax(1)[self.examples, None]

    def affine(self, position: int, operation: AffineMap, rows: Tensor) -> Tensor:
        """A·(Wz + b) = (WᵀA)·z + A·b."""
        exact = operation.fan_out == 0
        if operation.bias is not None or not exact:
            error = gamma(operation.fan_out + 4) + gamma(rows[0, 0].numel() + 4)
            size = self.relaxed.size(position)[self.examples]
            self.slack += one_norm(rows) * size[:, None] * (2 * error)
        if operation.bias is not None:
            bias = operation.bias.expand(operation.output_shape).reshape(-1)
            self.add(rows.flatten(2) @ bias)
        if not exact:
            # Coefficients that underflow multiply values that may be huge.
            parent = self.relaxed.network.nodes[position].parents[0]
            self.slack += UNDERFLOW * self.largest(parent)
        flat = rows.reshape(-1, *operation.output_shape)
        return operation.adjoint(flat).reshape(*rows.shape[:2], *operation.input_shape)

    def elementwise(self, position: int, rows: Tensor) -> Tensor:
        """Positive coefficients take the line below, negative ones the line above."""
        lines = self.relaxed.lines(position)
        assert isinstance(lines, Lines)
        lower_slope, lower_intercept, upper_slope, upper_intercept = (
            field[self.examples] for field in lines
        )
        positive = rows.clamp(min=0)
        negative = rows.clamp(max=0)
        self.add(dot(positive, lower_intercept))
        self.add(dot(negative, upper_intercept))
        intercept = torch.maximum(lower_intercept.abs(), upper_intercept.abs()).flatten(1).amax(1)
        error = 2 * gamma(rows[0, 0].numel() + 4)
        self.slack += one_norm(rows) * intercept[:, None] * error
        result = positive.mul_(lower_slope[:, None]).add_(negative.mul_(upper_slope[:, None]))
        size = self.relaxed.size(position)[self.examples]
        self.slack += (one_norm(result) * (2 * UNIT) + UNDERFLOW) * size[:, None]
        return result

    def pool(self, position: int, rows: Tensor) -> Tensor:
        """Positive coefficients, and those of dominated windows, go to the window's winner."""
        winner = self.relaxed.lines(position)
        assert isinstance(winner, Winner)
        place, dominates, ceiling = (field[self.examples] for field in winner)
        flat = rows.flatten(2)
        moved = torch.where((flat > 0) | dominates[:, None], flat, 0.0)
        self.add(dot(flat - moved, ceiling))
        parent = self.relaxed.network.nodes[position].parents[0]
        shape = self.relaxed.network.nodes[parent].shape
        result = rows.new_zeros(*rows.shape[:2], *shape)
        spots = place[:, None].expand(-1, rows.shape[1], -1)
        result.flatten(2).scatter_add_(2, spots, moved)
        error = 2 * gamma(flat.shape[2] + 4)
        size = torch.maximum(self.relaxed.size(position)[self.examples], ceiling.abs().amax(1))
        self.slack += one_norm(rows) * size[:, None] * error
        return result

    def concretize(self, position: int, rows: Tensor) -> None:
        """Take the least value over the node's interval, or over the region at the input."""
        bounds = self.relaxed.bounds[position]
        box = Interval(bounds.lower[self.examples], bounds.upper[self.examples])
        if position == 0:
            x = self.relaxed.x[self.examples]
            value, slack = least_over_ball(rows, x, self.relaxed.region, box)
        else:
            value, slack = least_over_box(rows, box)
        self.add(value)
        self.slack += slack
