"""A network around a batch of examples whose non-linear nodes are bounded by lines and planes."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluators.network.elementwise import Elementwise
from evaluators.network.network import MaxPool
from evaluators.propagation.bounded import Bounded, Replacement, Side
from evaluators.propagation.relaxation import Lines, PoolPlanes, Relaxation
from evaluators.question.region import Region


@dataclass
class Relaxed(Bounded):
    """A network around a batch of examples: bounds of every node, and lines made from them.

    Attributes:
        x: float64 examples `[batch, *shape]`.
        region: the perturbations.
        relaxation: which linear bounds stand for non-linear operations.
    """

    x: Tensor
    region: Region
    relaxation: Relaxation
    _lines: dict[int, Lines | PoolPlanes] = field(default_factory=dict, init=False)

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
