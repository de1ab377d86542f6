"""A network around a batch of examples whose non-linear nodes are bounded by lines and planes."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluators.network.elementwise import Elementwise, LeakyReLU, Slopes
from evaluators.network.network import MaxPool
from evaluators.propagation.bounded import Bounded, Replacement, Side
from evaluators.propagation.coupling import Coupling, NodeBall, least_together
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.relaxation import Lines, PoolPlanes, Relaxation
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Region


@dataclass
class Relaxed(Bounded):
    """A network around a batch of examples: bounds of every node, and lines made from them.

    Attributes:
        x: float64 examples `[batch, *shape]`.
        region: the perturbations.
        relaxation: which linear bounds stand for non-linear operations.
        balls: that nodes' values lie in, by position, where they are known.
    """

    x: Tensor
    region: Region
    relaxation: Relaxation
    balls: Mapping[int, NodeBall] = field(default_factory=dict, kw_only=True)
    _couplings: dict[int, Coupling] = field(default_factory=dict, init=False)
    _lines: dict[int, Lines | PoolPlanes] = field(default_factory=dict, init=False)

    @property
    def front(self) -> int:
        """The matrix that alone reads an input which moves in a box; 0 where there is none.

        There a walk may end: entries of the input, which are many as a rule, need no coefficients.
        """
        if isinstance(self.region, Ball) and self.region.norm is not Norm.LINF:
            return 0
        position = self.network.first_matrix
        return position if len(self.network.nodes[position].shape) == 1 else 0

    def lines(self, position: int) -> Lines | PoolPlanes:
        """The linear bounds of a non-linear node, made once its input's bounds are final."""
        if position not in self._lines:
            node = self.network.nodes[position]
            parent = self.bounds[node.parents[0]]
            if isinstance(node.operation, MaxPool):
                self._lines[position] = self.relaxation.planes(node.operation, parent)
            else:
                assert isinstance(node.operation, Elementwise)
                self._lines[position] = self.relaxation.lines(node.operation, parent)
        return self._lines[position]

    def with_slopes_below(self, slopes: Mapping[int, float]) -> "Relaxed":
        """The same bounds with other lines below some (leaky) ReLUs, each of one slope.

        The intercepts follow from the slope and the bounds, so that any slope is sound.

        Args:
            slopes: by the positions of the nodes.
        """
        other = copy(self)
        other._lines, other._replacements = dict(self._lines), dict(self._replacements)
        for position, slope in slopes.items():
            node, lines = self.network.nodes[position], self.lines(position)
            assert isinstance(node.operation, LeakyReLU)
            assert isinstance(lines, Lines)
            chosen = Slopes(torch.full_like(lines.lower_slope, slope), lines.upper_slope)
            floor, ceiling = node.operation.intercepts(chosen, *self.bounds[node.parents[0]])
            other._lines[position] = Lines(chosen.lower, floor, chosen.upper, ceiling)
            other._replacements.pop(position, None)
        return other

    def replace(self, position: int) -> Replacement:
        """The lines below and above."""
        lines = self.lines(position)
        assert isinstance(lines, Lines)
        below, floor, above, ceiling = (part.abs().flatten(1).amax(1) for part in lines)
        sides = (
            Side(lines.lower_slope, lines.lower_intercept, floor),
            Side(lines.upper_slope, lines.upper_intercept, ceiling),
        )
        return Replacement(sides, torch.maximum(below, above))

    def pool_planes(self, position: int) -> PoolPlanes:
        """The planes below and above the windows of max-pooling."""
        planes = self.lines(position)
        assert isinstance(planes, PoolPlanes)
        return planes

    def together(
        self, carrier: object, rows: object, position: int
    ) -> tuple[Tensor, Tensor] | None:
        """What is known of a (leaky) ReLU's inputs by their ball."""
        node = self.network.nodes[position]
        (parent, *_), function = node.parents, node.operation
        if parent not in self.balls or not isinstance(function, LeakyReLU):
            return None
        if not isinstance(carrier, DenseRows):  # Of a window's few entries a ball says little.
            return None
        assert isinstance(rows, Tensor)
        if parent not in self._couplings:
            self._couplings[parent] = Coupling.of(self.balls[parent], self.bounds[parent])
        sides, _ = self.replacement(position)
        below, above = (carrier.at(side.slope, position) for side in sides)
        slopes = torch.where(rows >= 0, below, above)
        coupling = self._couplings[parent]
        return least_together(carrier, rows, slopes, function.leak, coupling, position)
