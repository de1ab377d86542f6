"""A network around one example as a block-triangular system of its unstable neurons.

Inside a region most ReLUs are on one side of their kink for every input, and act as affine maps.
What remains of the network are its *units*, the entries of elementwise functions that are
unstable. Each unit's pre-activation is written out as an affine function of the inputs and of the
units of earlier layers,

    z_k = W_k [x, a_1, ..., a_(k-1)] + b_k + e,    |e| <= lost_k,    a_k = f(z_k),

whatever lies between them (convolutions, residual sums, normalisation): a handful of dense
matrices, usually a few per cent of the network's neurons, in which thousands of linear bounds are
a few matrix products. `lost` bounds what rounding did to the coefficients, times the largest
values that they multiply in the region, so that what is proved about the system is proved about
the network; and, where that is asked, what float32 runs lose between the units.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import Product
from evaluators.numerics.errors import ContradictionError
from evaluators.numerics.single import for_search
from evaluators.propagation.backward import Walk
from evaluators.propagation.bounded import Bounded, Replacement, Side
from evaluators.propagation.intervals import Interval
from evaluators.propagation.product_planes import ProductPlanes, middle_plane
from evaluators.propagation.rounding_charge import padded
from evaluators.unrolled.sparse_rows import Matrix, SparseRows, dense

NARROW = 3
"""Inputs for each output of a first matrix from which on the search multiplies by it but once."""


def nonzero(matrix: Tensor) -> NDArray[np.bool_]:
    """Which entries of a matrix on the CPU are not zero: NumPy takes a tenth of PyTorch's time."""
    found: NDArray[np.bool_] = matrix.numpy() != 0
    return found


@dataclass(frozen=True)
class Rows:
    """Affine functions of `[inputs, units so far]`.

    Attributes:
        weight: float64 `[rows, columns]`.
        bias: `[rows]`.
        lost: `[rows]`: largest difference to the functions meant, anywhere in the region.
        front: coefficients of the first matrix's outputs, whose product with it the inputs' are,
            float32 `[rows, outputs]`: for the search. None where that saves nothing.
    """

    weight: Tensor
    bias: Tensor
    lost: Tensor
    front: Tensor | None = None

    def __len__(self) -> int:
        return len(self.bias)

    def select(self, rows: Tensor | slice) -> "Rows":
        """Some of the rows, by index, mask or slice."""
        front = None if self.front is None else self.front[rows]
        return Rows(self.weight[rows], self.bias[rows], self.lost[rows], front)

    def join(self, *others: "Rows") -> "Rows":
        """These rows, then others."""
        parts = (self, *others)
        fronts = [part.front for part in parts if part.front is not None]
        return Rows(
            torch.cat([part.weight for part in parts]),
            torch.cat([part.bias for part in parts]),
            torch.cat([part.lost for part in parts]),
            torch.cat(fronts) if len(fronts) == len(parts) else None,
        )

    def times(self, sign: float) -> "Rows":
        """Plus or minus each row (exact)."""
        front = None if self.front is None else self.front * sign
        return Rows(self.weight * sign, self.bias * sign, self.lost, front)


@dataclass(frozen=True)
class Layer:
    """The units of one elementwise node, or of one side of a product (`product_units.py`).

    Attributes:
        position: of the node in the network.
        function: the node's.
        entries: flat entries of the node that are units, increasing.
        rows: their pre-activations.
        lower, upper: bounds of their pre-activations, `[units]`.
    """

    position: int
    function: Elementwise
    entries: Tensor
    rows: Rows
    lower: Tensor
    upper: Tensor

    @property
    def first(self) -> int:
        """Column of the layer's first unit; the number of columns before it."""
        return self.rows.weight.shape[1]

    @cached_property
    def weight32(self) -> Tensor:
        """The rows' weights in float32, for the search."""
        return for_search(self.rows.weight)

    @cached_property
    def support(self) -> NDArray[np.bool_]:
        """Which columns each unit depends on, `[units, columns before]`."""
        return nonzero(self.rows.weight)

    def sizes(self, magnitudes: Tensor) -> Tensor:
        """`[units]`: largest |W|m + |b| + lost, m the magnitudes of the columns before."""
        reach = self.rows.weight.abs() @ magnitudes[: self.first]
        return (reach + self.rows.bias.abs() + self.rows.lost) * (1 + 1e-6)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass
class Unrolled(Bounded):
    """The system of one example.

    Its network is in float64 on the CPU, with pooling rewritten; its bounds are `[1, *shape]`.

    Attributes:
        layers: of every elementwise node so far that has units.
    """

    layers: list[Layer] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """Number of input entries, which are the first columns."""
        return self.bounds[0].lower.numel()

    @property
    def columns(self) -> int:
        """Number of input entries and units so far."""
        return self.inputs + sum(len(layer) for layer in self.layers)

    @cached_property
    def front(self) -> int:
        """The first matrix, if it has far fewer outputs than inputs, for others to come; else 0."""
        operations = [node.operation for node in self.network.nodes]
        first = operations[position := self.network.first_matrix]
        deep = sum(isinstance(operation, Elementwise) for operation in operations) > 1
        if any(isinstance(operation, Product) for operation in operations) or not deep:
            return 0
        narrow = isinstance(first, Dense) and NARROW * len(first.weight) <= first.weight.shape[1]
        return position if narrow and len(self.network.nodes[position].shape) == 1 else 0

    def magnitudes(self) -> Tensor:
        """`[columns]`: largest absolute value of each input entry and unit's output."""
        parts = [self.bounds[0].magnitude.flatten()]
        for layer in self.layers:
            low, high = layer.function.bounds(layer.lower, layer.upper)
            parts.append(torch.maximum(low.abs(), high.abs()))
        return torch.cat(parts)

    def units(self, position: int) -> Tensor | None:
        """The entries of a node that are units; None where there are none."""
        layers = [layer for layer in self.layers if layer.position == position]
        return layers[0].entries if layers else None

    def replace(self, position: int) -> Replacement:
        """What the entries that are no units are equal to: a line, or a constant up to an error.

        Raises:
            ContradictionError: unstable entries are no units, and would be forgotten.
        """
        node = self.network.nodes[position]
        assert isinstance(node.operation, Elementwise)
        lower, upper = self.bounds[node.parents[0]]
        unstable, units = node.operation.unstable(lower, upper), self.units(position)
        if int(unstable.sum()) != (0 if units is None else len(units)):
            raise ContradictionError(f"Unstable entries of node '{node.name}' are no units.")
        zero = torch.zeros_like(lower)
        if not isinstance(node.operation, LeakyReLU):
            low, high = node.operation.bounds(lower, upper)
            middle = torch.where(unstable, zero, low / 2 + high / 2)
            height = middle.abs().flatten(1).amax(1)
            return Replacement((Side(zero, middle, height),), torch.zeros_like(height))
        leak = node.operation.leak
        slope = torch.where(unstable, zero, torch.where(lower >= 0, zero + 1, zero + leak))
        height = zero.new_zeros(1)
        return Replacement((Side(slope, zero, height),), height + 1 if leak else None)

    def product_planes(self, position: int) -> ProductPlanes:
        """What a product is equal to, but for its units."""
        first, second = (self.center(p).middle for p in self.network.nodes[position].parents)
        return middle_plane(first, second)

    def deviation(self, position: int) -> Tensor | None:
        """A float32 run's error, and how far entries that are constants may be from them."""
        operation = self.network.nodes[position].operation
        if isinstance(operation, Product):
            return self.run_error(position)
        error = super().deviation(position)
        if not isinstance(operation, Elementwise) or isinstance(operation, LeakyReLU):
            return error
        lower, upper = self.bounds[self.network.nodes[position].parents[0]]
        low, high = operation.bounds(lower, upper)
        spread = torch.where(operation.unstable(lower, upper), 0.0, high - low)
        return spread if error is None else error + spread

    def around(self, rows: Rows) -> "Neighbourhood":
        """What rows depend on: in convolutional networks a small part of the columns."""
        used: NDArray[np.bool_] = np.any(nonzero(rows.weight), axis=0)
        used[0] = True  # rows may be constant, but a region has an input
        for layer in reversed(self.layers):
            span = slice(layer.first, layer.first + len(layer))
            used[: layer.first] |= np.any(layer.support[used[span]], axis=0)
        columns = torch.from_numpy(used.nonzero()[0])
        inputs = columns[columns < self.inputs]
        units = columns[columns >= self.inputs] - self.inputs
        lower, upper = (bound.flatten()[None, inputs] for bound in self.bounds[0])
        part = Unrolled(self.network, [Interval(lower, upper)])
        if len(columns) == self.columns:  # as in dense networks: nothing has to be copied
            return Neighbourhood(replace(part, layers=[*self.layers]), inputs, units, rows)
        for layer in self.layers:
            here = torch.from_numpy(used[layer.first : layer.first + len(layer)].nonzero()[0])
            if not len(here):
                continue
            before = columns[columns < layer.first]
            # In one step: whole rows would be large.
            weight = layer.rows.weight[here[:, None], before]
            chosen = Rows(weight, layer.rows.bias[here], layer.rows.lost[here])
            part.layers.append(
                replace(
                    layer,
                    entries=layer.entries[here],
                    rows=chosen,
                    lower=layer.lower[here],
                    upper=layer.upper[here],
                )
            )
        return Neighbourhood(part, inputs, units, replace(rows, weight=rows.weight[:, columns]))

    def express(self, position: int, rows: Matrix) -> Rows:
        """Linear functions of a node's entries, `[rows, entries]`, as functions of the columns."""
        walk = Walk(self, SparseRows(), torch.zeros(rows.shape[0], dtype=torch.float64))
        walk.go(position, rows, lambda at: at == self.front)
        front = self._front_rows(walk)
        walk.go_on(self.front)
        columns = torch.zeros(rows.shape[0], self.columns, dtype=torch.float64)
        for layer in self.layers:  # a product has two, with the same coefficients
            if layer.position in walk.kept:
                span = slice(layer.first, layer.first + len(layer))
                columns[:, span] = walk.kept[layer.position]
        if 0 in walk.waiting:
            columns[:, : self.inputs] = torch.from_numpy(dense(walk.waiting[0].rows))
        return Rows(columns, walk.constant, padded(walk.constant, walk.slack), front)

    def _front_rows(self, walk: Walk[Matrix]) -> Tensor | None:
        """The coefficients that have come to the front, as of `Rows`."""
        if not self.front:
            return None
        if self.front in walk.waiting:
            return for_search(torch.from_numpy(dense(walk.waiting[self.front].rows)))
        return torch.zeros(len(walk.constant), *self.network.nodes[self.front].shape)


@dataclass(frozen=True)
class Neighbourhood:
    """Rows, and the part of an unrolled network that they depend on.

    Attributes:
        unrolled: with these inputs and units alone, `[1, inputs]`; it bounds rows, and that is all.
        inputs, units: their places among all.
        rows: over the part's columns.
    """

    unrolled: Unrolled
    inputs: Tensor
    units: Tensor
    rows: Rows
