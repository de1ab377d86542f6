"""A network around a batch of examples, as far as it is bounded: what backward passes read."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.network.deployment import run_error
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import MaxPool, Network, Sum
from evaluators.propagation.intervals import Interval
from evaluators.propagation.relaxation import Lines, Planes, Relaxation
from evaluators.question.region import Region


class Extent(NamedTuple):
    """The largest magnitudes among an elementwise node's lines, `[batch]` each."""

    slope: Tensor
    lower_intercept: Tensor
    upper_intercept: Tensor


@dataclass
class Relaxed:
    """A network around a batch of examples: bounds of every node, and lines made from them.

    Attributes:
        network: in float64.
        x: float64 examples `[batch, *shape]`.
        region: the perturbations.
        bounds: of each node so far, `[batch, *shape]`.
        relaxation: which linear bounds stand for non-linear operations.
        deployed: whether the bounds hold for the values of float32 runs, too.
    """

    network: Network
    x: Tensor
    region: Region
    bounds: list[Interval]
    relaxation: Relaxation
    deployed: bool = False
    _lines: dict[int, Lines | Planes] = field(default_factory=dict)
    _extents: dict[int, Extent] = field(default_factory=dict)
    _largest: dict[int, Tensor] = field(default_factory=dict)
    _sizes: dict[int, Tensor] = field(default_factory=dict)
    _errors: dict[int, Tensor | None] = field(default_factory=dict)

    def lines(self, position: int) -> Lines | Planes:
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

    def extent(self, position: int) -> Extent:
        """How large the lines of an elementwise node are."""
        if position not in self._extents:
            lines = self.lines(position)
            assert isinstance(lines, Lines)
            below, floor, above, ceiling = (part.abs().flatten(1).amax(1) for part in lines)
            self._extents[position] = Extent(torch.maximum(below, above), floor, ceiling)
        return self._extents[position]

    def largest(self, position: int) -> Tensor:
        """`[batch]`: largest absolute value of a node's entries, once its bounds are final."""
        if position not in self._largest:
            self._largest[position] = self.bounds[position].magnitude.flatten(1).amax(1)
        return self._largest[position]

    def run_error(self, position: int) -> Tensor | None:
        """`[batch, *shape]`: what a float32 run may do to a node's entries by itself.

        None where it is nothing, or where only real arithmetic is asked about.
        """
        if not self.deployed:
            return None
        if position not in self._errors:
            node = self.network.nodes[position]
            error = run_error(node.operation, [self.bounds[p].magnitude for p in node.parents])
            shape = (len(self.x), *node.shape)
            self._errors[position] = None if error is None else error.expand(shape)
        return self._errors[position]

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
