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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.network.deployment import run_error
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import Network, Sum
from evaluators.numerics.errors import ContradictionError
from evaluators.numerics.rounding import UNDERFLOW, UNIT, gamma
from evaluators.propagation.intervals import Interval

Array = NDArray[np.float64]
Matrix = Any
"""A sparse `csr_array` or an `Array`; SciPy's sparse arrays carry no types."""

DENSE = 0.15
"""Share of nonzero entries from which a matrix is handled as a dense one."""


@dataclass(frozen=True)
class Rows:
    """Affine functions of `[inputs, units so far]`.

    Attributes:
        weight: float64 `[rows, columns]`.
        bias: `[rows]`.
        lost: `[rows]`: largest difference to the functions meant, anywhere in the region.
    """

    weight: Tensor
    bias: Tensor
    lost: Tensor

    def __len__(self) -> int:
        return len(self.bias)

    def select(self, rows: Tensor | slice) -> "Rows":
        """Some of the rows, by index, mask or slice."""
        return Rows(self.weight[rows], self.bias[rows], self.lost[rows])

    def times(self, sign: float) -> "Rows":
        """Plus or minus each row (exact)."""
        return Rows(self.weight * sign, self.bias * sign, self.lost)


@dataclass(frozen=True)
class Layer:
    """The units of one elementwise node.

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
        return self.rows.weight.float()

    @cached_property
    def support(self) -> Tensor:
        """Which columns each unit depends on, `[units, columns before]`."""
        return self.rows.weight != 0

    def sizes(self, magnitudes: Tensor) -> Tensor:
        """`[units]`: largest |W|m + |b| + lost, m the magnitudes of the columns before."""
        reach = self.rows.weight.abs() @ magnitudes[: self.first]
        return (reach + self.rows.bias.abs() + self.rows.lost) * (1 + 1e-6)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass
class Unrolled:
    """The system of one example.

    Attributes:
        network: in float64 on the CPU; its pooling is rewritten.
        bounds: of every node so far, `[1, *shape]`.
        layers: of every elementwise node so far that has units.
        deployed: whether all of it holds for the values of float32 runs, too.
    """

    network: Network
    bounds: list[Interval]
    layers: list[Layer] = field(default_factory=list)
    deployed: bool = False
    _sizes: dict[int, float] = field(default_factory=dict)
    _errors: dict[int, Array | None] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        """Number of input entries, which are the first columns."""
        return self.bounds[0].lower.numel()

    @property
    def columns(self) -> int:
        """Number of input entries and units so far."""
        return self.inputs + sum(len(layer) for layer in self.layers)

    def magnitudes(self) -> Tensor:
        """`[columns]`: largest absolute value of each input entry and unit's output."""
        parts = [self.bounds[0].magnitude.flatten()]
        for layer in self.layers:
            low, high = layer.function.bounds(layer.lower, layer.upper)
            parts.append(torch.maximum(low.abs(), high.abs()))
        return torch.cat(parts)

    def largest(self, position: int) -> float:
        """Largest absolute value of a node's entries."""
        return float(self.bounds[position].magnitude.max())

    def size(self, position: int) -> float:
        """Largest |W||z| + |b| of an affine node, z its input."""
        if position not in self._sizes:
            node = self.network.nodes[position]
            assert isinstance(node.operation, AffineMap)
            value = node.operation.absolute(self.bounds[node.parents[0]].magnitude)
            if node.operation.bias is not None:
                value = value + node.operation.bias.abs()
            self._sizes[position] = float(value.max()) * (1 + 1e-6)
        return self._sizes[position]

    def run_error(self, position: int) -> Array | None:
        """What a float32 run may do to a node's entries by itself, flat; None where nothing."""
        if not self.deployed:
            return None
        if position not in self._errors:
            node = self.network.nodes[position]
            error = run_error(node.operation, [self.bounds[p].magnitude for p in node.parents])
            spread = None if error is None else error.expand(1, *node.shape).flatten().numpy()
            self._errors[position] = spread
        return self._errors[position]

    def around(self, rows: Rows) -> "Neighbourhood":
        """What rows depend on: in convolutional networks a small part of the columns."""
        used = (rows.weight != 0).any(0)
        used[0] = True  # rows may be constant, but a region has an input
        for layer in reversed(self.layers):
            span = slice(layer.first, layer.first + len(layer))
            used[: layer.first] |= layer.support[used[span]].any(0)
        columns = used.nonzero()[:, 0]
        inputs = columns[columns < self.inputs]
        lower, upper = (bound.flatten()[None, inputs] for bound in self.bounds[0])
        part = Unrolled(self.network, [Interval(lower, upper)])
        for layer in self.layers:
            here = used[layer.first : layer.first + len(layer)].nonzero()[:, 0]
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
        units = columns[columns >= self.inputs] - self.inputs
        return Neighbourhood(part, inputs, units, replace(rows, weight=rows.weight[:, columns]))

    def express(self, position: int, rows: Matrix) -> Rows:
        """Linear functions of a node's entries, `[rows, entries]`, as functions of the columns."""
        walk = _Walk(self, rows.shape[0])
        walk.waiting[position] = rows
        for place in range(position, 0, -1):
            if place in walk.waiting:
                walk.step(place, walk.waiting.pop(place))
        if 0 in walk.waiting:
            walk.columns[:, : self.inputs] = _dense(walk.waiting.pop(0))
        return Rows(
            torch.from_numpy(walk.columns),
            torch.from_numpy(walk.bias),
            torch.from_numpy(walk.lost * (1 + 1e-6) + np.abs(walk.bias) * 4 * UNIT + 1e-200),
        )


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


class _Walk:
    """Rows on their way back to the inputs; what is lost is counted as in `_backward.py`."""

    def __init__(self, unrolled: Unrolled, rows: int) -> None:
        self.unrolled = unrolled
        self.waiting: dict[int, Matrix] = {}
        self.columns = np.zeros((rows, unrolled.columns))
        self.bias = np.zeros(rows)
        self.lost = np.zeros(rows)

    def step(self, position: int, rows: Matrix) -> None:
        """Replace rows at a node by rows at its parents and at units."""
        node = self.unrolled.network.nodes[position]
        operation = node.operation
        error = self.unrolled.run_error(position)
        if error is not None:
            self.lost += abs(rows) @ error
        if isinstance(operation, Sum):
            for parent in node.parents:
                self.deposit(parent, rows)
        elif isinstance(operation, AffineMap):
            self.deposit(node.parents[0], self.affine(position, operation, rows))
        else:
            assert isinstance(operation, Elementwise)
            self.deposit(node.parents[0], self.elementwise(position, operation, rows))

    def deposit(self, parent: int, rows: Matrix) -> None:
        """Add rows to those already waiting at a node."""
        if parent in self.waiting:
            rows = _sum(self.waiting[parent], rows)
            self.lost += _one_norm(rows) * self.unrolled.largest(parent) * (2 * UNIT)
        self.waiting[parent] = rows

    def affine(self, position: int, operation: AffineMap, rows: Matrix) -> Matrix:
        """A·(Wz + b) = (AW)·z + A·b."""
        terms = gamma(operation.fan_out + 4) + gamma(rows.shape[1] + 4)
        self.lost += _one_norm(rows) * self.unrolled.size(position) * (2 * terms)
        self.lost += UNDERFLOW * self.unrolled.largest(
            self.unrolled.network.nodes[position].parents[0]
        )
        if operation.bias is not None:
            bias = operation.bias.expand(operation.output_shape).reshape(-1).numpy()
            self.bias += rows @ bias
            self.lost += np.abs(self.bias) * (2 * UNIT)
        return _product(rows, operation)

    def elementwise(self, position: int, operation: Elementwise, rows: Matrix) -> Matrix:
        """Units leave the walk here; decided entries are lines."""
        unrolled = self.unrolled
        node = unrolled.network.nodes[position]
        interval = unrolled.bounds[node.parents[0]]
        unstable = operation.unstable(*interval).flatten().numpy()
        missing = int(unstable.sum())
        for layer in unrolled.layers:
            if layer.position == position:
                entries = layer.entries.numpy()
                last = layer.first + len(layer)
                self.columns[:, layer.first : last] = _dense(rows[:, entries])
                missing -= len(layer)
        if missing:
            raise ContradictionError(f"Unstable entries of node '{node.name}' are no units.")
        if not isinstance(operation, LeakyReLU):
            return self.points(operation, interval, rows, unstable)
        positive = (interval.lower >= 0).flatten().numpy()
        slope = np.where(unstable, 0.0, np.where(positive, 1.0, operation.leak))
        if operation.leak:
            size = unrolled.largest(node.parents[0])
            self.lost += (_one_norm(rows) * (2 * UNIT) + UNDERFLOW) * size
        return _scaled(rows, slope)

    def points(
        self, operation: Elementwise, interval: Interval, rows: Matrix, unstable: NDArray[np.bool_]
    ) -> Matrix:
        """Entries of a smooth function whose input is known exactly are constants."""
        low, high = (value.flatten().numpy() for value in operation.bounds(*interval))
        middle = np.where(unstable, 0.0, low / 2 + high / 2)
        spread = np.where(unstable, 0.0, high - low)
        self.bias += rows @ middle
        error = 2 * gamma(rows.shape[1] + 4)
        self.lost += abs(rows) @ (np.abs(middle) * error + spread) + np.abs(self.bias) * 2 * UNIT
        return _scaled(rows, np.zeros(len(middle)))


def _product(rows: Matrix, operation: AffineMap) -> Matrix:
    """rows @ W; dense once it is no longer sparse."""
    if not issparse(rows):
        # A map's own adjoint uses all cores, products of sparse with dense matrices one.
        image = operation.adjoint(torch.from_numpy(rows).reshape(-1, *operation.output_shape))
        return image.flatten(1).numpy()
    result = csr_array(rows @ operation.matrix)
    full = result.shape[0] * result.shape[1]
    return result.toarray() if result.nnz > DENSE * full else result


def _scaled(rows: Matrix, slope: Array) -> Matrix:
    """Every column times its slope; columns that vanish are dropped from sparse rows."""
    if not issparse(rows):
        return rows * slope
    result = csr_array(rows.multiply(slope))
    result.eliminate_zeros()
    return result


def _sum(a: Matrix, b: Matrix) -> Matrix:
    return a + b if issparse(a) and issparse(b) else _dense(a) + _dense(b)


def _dense(rows: Matrix) -> Array:
    dense: Array = rows.toarray() if issparse(rows) else rows
    return dense


def _one_norm(rows: Matrix) -> Array:
    return np.asarray(abs(rows).sum(axis=1)).reshape(-1)
