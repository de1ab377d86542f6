"""The checker's network while a file is read: tensors, operators' inputs, and what is spent.

Whatever only moves entries (a reshape, a slice, a padding) moves an array of positions, by the
same NumPy operation for a tensor that depends on the input as for a constant; sums of products
become sparse matrices by index arithmetic, or weights and the places that share them. An operator
takes every input and attribute that it understands, and `Node.finish` refuses what is left over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used

from evaluators.recheck.claim import Step, affine
from evaluators.recheck.shared_weights import Array as Array
from evaluators.recheck.shared_weights import SharedWeights, ascend

Shape = tuple[int, ...]
FLOAT, WHOLE = ("float32",), ("int32", "int64")
MAX_ENTRIES = 2**26
"""Of all matrices, positions and constants that are made, together: about 1 GB."""


class UnreadError(Exception):
    """The file holds something that the checker does not read: what, without a full stop."""


def need(holds: Any, what: str) -> None:
    """Refuse the file unless this holds."""
    if not bool(holds):
        raise UnreadError(what)


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that depends on the input: entries of one step, moved.

    Attributes:
        step: whose entries they are.
        places: int64, of the tensor's shape at batch size 1: flat positions, -1 for a zero.
    """

    step: int
    places: Array

    @property
    def shape(self) -> Shape:
        """At batch size 1."""
        return self.places.shape


class Node:
    """One operator: each input (None where it is left out) and attribute can be taken once."""

    def __init__(
        self, kind: str, opset: int, inputs: list[Any], attributes: dict[str, Any], outputs: int
    ) -> None:
        self.kind, self.opset, self.outputs = kind, opset, outputs
        self.inputs, self._attributes = inputs, attributes
        self._left = {place for place, value in enumerate(inputs) if value is not None}

    def take(self, place: int) -> Any:
        """An input: a value, a constant, or None."""
        self._left.discard(place)
        return self.inputs[place] if place < len(self.inputs) else None

    def value(self, place: int = 0) -> Value:
        """An input that must depend on the network's."""
        found = self.take(place)
        need(isinstance(found, Value), f"input {place} that is no tensor of the network")
        assert isinstance(found, Value)
        return found

    def constant(self, place: int, kinds: Sequence[str] = FLOAT) -> Array:
        """An input that must be a constant of one of these types."""
        found = self.take(place)
        fits = isinstance(found, np.ndarray) and found.dtype.name in kinds
        need(fits, f"input {place} that is no constant of type {' or '.join(kinds)}")
        assert isinstance(found, np.ndarray)
        return found

    def attribute(self, name: str, kind: str, default: Any = None) -> Any:
        """An attribute of this ONNX type."""
        found, value = self._attributes.pop(name, (kind, default))
        need(found == kind, f"attribute {name} of type {found}")
        return value

    def flag(self, name: str, default: int = 0) -> bool:
        """An attribute that is 0 or 1."""
        value = self.attribute(name, "INT", default)
        need(value in (0, 1), f"attribute {name} of {value}")
        return bool(value)

    def numbers(self, name: str, place: int, since: int) -> list[int] | None:
        """Whole numbers that are an attribute in old opsets and an input `since` a newer one."""
        if self.opset < since:
            found = self.attribute(name, "INTS")
            return None if found is None else list(found)
        if self.take(place) is None:
            return None
        array = self.constant(place, WHOLE)
        need(array.ndim == 1, f"{name} of {array.ndim} dimensions")
        return [int(number) for number in array]

    def finish(self) -> None:
        """Refuse what nobody took."""
        need(not self._attributes, f"attribute {ascii(min(self._attributes, default=''))[:60]}")
        need(not self._left, f"input {min(self._left, default=0)}")


Result = Value | Array


class Graph:
    """The steps while they are made."""

    def __init__(self, shape: Shape) -> None:
        self.steps, self.spent = [Step(prod(shape), ())], 0

    def spend(self, entries: int) -> None:
        """Count entries before they are made."""
        self.spent += entries
        need(self.spent <= MAX_ENTRIES, f"more than {MAX_ENTRIES:,} entries of all its matrices")

    def add(self, step: Step, shape: Shape) -> Value:
        """Append a step whose entries have this shape."""
        need(step.size == prod(shape) > 0, f"result of shape {list(shape)}")
        self.spend(step.size)
        self.steps.append(step)
        return Value(len(self.steps) - 1, np.arange(step.size).reshape(shape))

    def settle(self, value: Value) -> Value:
        """The same tensor as the entries of a step of its own, in their order."""
        flat = value.places.reshape(-1)
        size = self.steps[value.step].size
        if flat.size == size and np.array_equal(flat, np.arange(size)):
            return value
        return self.linear(value, flat[:, None], np.ones(1), value.shape)

    def matrix(self, columns: Array, weights: Array, size: int) -> Any:
        """Rows of weights, `[rows, size]`: `[..., terms]` after both broadcast; -1 is no column."""
        columns, weights = np.broadcast_arrays(columns, weights.astype(np.float64))
        self.spend(columns.size)
        kept = (columns >= 0) & (weights != 0)
        rows = kept.reshape(-1, kept.shape[-1]).sum(1)
        ends = np.append(0, np.cumsum(rows))
        matrix = scipy.sparse.csr_matrix((weights[kept], columns[kept], ends), (len(rows), size))
        matrix.sort_indices()
        need(matrix.has_canonical_format, "an entry that is named twice")
        return matrix

    def linear(
        self,
        value: Value,
        columns: Array,
        weights: Array,
        shape: Shape,
        bias: Array | float = 0.0,
        roundings: int = 0,
    ) -> Value:
        """Sums of products: of entries of a value's step, and weights; a row for each result."""
        matrix = self.matrix(columns, weights, self.steps[value.step].size)
        shift = np.broadcast_to(bias, shape).reshape(-1)
        return self.add(affine((value.step,), matrix, shift, roundings), shape)

    def repeated(
        self, value: Value, columns: Array, weights: Array, shape: Shape, bias: Array | float = 0.0
    ) -> Value:
        """As `linear`, of weights `[groups, channels, terms]` that many places share.

        The columns are `[groups, places, terms]`, and a result's row is of (group, channel, place).
        """
        if not ascend(columns):
            return self.linear(value, columns[:, None], weights[:, :, None], shape, bias)
        self.spend(columns.size * weights.shape[1])
        size = self.steps[value.step].size
        shared = SharedWeights(columns, weights.astype(np.float64), size)
        shift = np.broadcast_to(bias, shape).reshape(-1)
        return self.add(affine((value.step,), shared, shift), shape)

    def scaled(self, value: Value, weights: Array | float, roundings: int = 0) -> Value:
        """Each entry times a weight of its own."""
        value = self.settle(value)
        factors = np.broadcast_to(np.asarray(weights, dtype=np.float64), value.shape)
        columns = value.places[..., None]
        return self.linear(value, columns, factors[..., None], value.shape, 0.0, roundings)

    def shifted(self, value: Value, bias: Array) -> Value:
        """Each entry plus a number of its own."""
        value = self.settle(value)
        columns = value.places[..., None]
        return self.linear(value, columns, np.ones(1), value.shape, bias.astype(np.float64))

    def total(self, values: list[Value], shape: Shape) -> Value:
        """The sum of tensors of one shape."""
        if len(values) == 1:
            return values[0]
        steps = tuple(self.settle(value).step for value in values)
        return self.add(affine(steps, scipy.sparse.identity(prod(shape), format="csr")), shape)

    def moved(self, value: Result, move: Callable[[Array], Array]) -> Result:
        """A tensor or constant whose entries are moved; at most as many as before."""
        places = value.places if isinstance(value, Value) else value
        self.spend(places.size)
        places = move(places)
        need(places.size, f"result of shape {list(places.shape)}")
        return Value(value.step, places) if isinstance(value, Value) else places

    def broadcast(self, value: Value, shape: Shape) -> Value:
        """A tensor repeated to a shape."""
        if value.shape == shape:
            return value
        self.spend(prod(shape))
        return Value(value.step, np.broadcast_to(value.places, shape))


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first."""
    need(-rank <= axis < rank, f"axis {axis} of {rank}")
    return axis % rank


def axes_of(axes: Sequence[int] | None, rank: int) -> list[int]:
    """Axes counted from the first, each named once."""
    need(axes, "a call without axes")
    found = [axis_of(axis, rank) for axis in axes or ()]
    need(len(set(found)) == len(found), "an axis that is named twice")
    return found


def reduced(node: Node, value: Value, since: int) -> tuple[list[int], bool]:
    """The axes that a reduction is over, an input `since` an opset, and whether they are kept."""
    axes = axes_of(node.numbers("axes", 1, since), value.places.ndim)
    if node.opset >= since:
        node.flag("noop_with_empty_axes")  # of no axes, which are refused
    return axes, node.flag("keepdims", 1)


def columns(value: Value, axes: list[int], keep: bool) -> tuple[Array, Shape]:
    """Places of all entries along some axes, `[..., count]`, and the shape that is left."""
    need(0 not in axes and axes, "the batch among its axes")
    others = [axis for axis in range(value.places.ndim) if axis not in axes]
    left = tuple(value.shape[axis] for axis in others)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    places = value.places.transpose(*others, *axes).reshape(*left, -1)
    return places, kept if keep else left
