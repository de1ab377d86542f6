"""The canonical graph while it is being made from ONNX operators.

Nothing here imports onnx: an operator arrives as names, plain attributes and NumPy constants.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, Diagonal, Gather, Reshape
from evaluators.network.network import Input, Node, Operation, Sum
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.rules import ModelRule

MAX_ENTRIES = 2**23
"""Entries of the largest value of one row; ImageNet classifiers stay below half of it."""
MAX_TOTAL = 2**28
"""Entries of all values of one row together."""
MAX_WINDOWS = 2**25
"""Entries of one value laid out in windows, as convolutions do; VGG on ImageNet needs 2**24.8."""
MAX_KEPT = 2**28
"""Bytes of all affine maps together, beyond what their weights in the file account for."""


class OperatorError(Exception):
    """One operator is used in a way that the canonical graph does not cover."""

    def __init__(self, sentence: str, rule: ModelRule = ModelRule.USE) -> None:
        super().__init__(sentence)
        self.rule = rule


def require_size(entries: int, limit: int = MAX_ENTRIES, what: str = "entries") -> None:
    """Refuse what no classifier needs, before memory is spent on it."""
    if entries > limit:
        raise OperatorError(
            f"it makes {entries:.3g} {what}; at most {limit:.3g} are read", ModelRule.SIZE
        )


@dataclass(frozen=True)
class Operator:
    """One ONNX node: its kind, the names of its values, and its attributes."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int


@dataclass(frozen=True)
class Traced:
    """An operator of the file and the nodes that it became.

    Attributes:
        node: its position in the file's graph.
        first, last: positions of the nodes that it made, the last one excluded.
        inputs, outputs: positions of the nodes that compute its values, by their names in the file;
            constants are not among them.
        before: positions of operators that became nothing but with it.
    """

    node: int
    first: int
    last: int
    inputs: dict[str, int]
    outputs: dict[str, int]
    before: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Deferred:
    """Whole numbers that the network computes, which become nodes where an operator reads them.

    Attributes:
        of: which of those that are computed each of them is, in the whole shape at batch size 1.
        operators: positions in the file's graph of those that compute them.
        given: names of the values that these begin with.
        type: NumPy's name of theirs.
    """

    of: Tensor
    operators: tuple[int, ...]
    given: tuple[str, ...]
    type: str = "int64"

    @property
    def shape(self) -> Shape:
        """The whole shape."""
        return tuple(self.of.shape)


@dataclass
class Builder:
    """The canonical graph while it is being made.

    Attributes:
        nodes: the nodes so far.
        values: position of the node that computes each ONNX value.
        constants: values known without running the network.
        spent: entries of all values and intermediate layouts so far.
        weights: entries of all tensors in the file.
        kept: bytes of all affine maps so far.
        folded, folds: entries of all constants worked out so far, and how many they are.
        bare: positions of values that have no batch dimension (`unbatched.py`).
        scalars: those of them that have no dimension at all, and one entry.
        alone: whether the file is run on one input at a time, so that a batch has size 1.
        moved: positions of values whose batch dimension was put elsewhere, though that has size 1.
        settled: positions of which it was decided whether they have one.
        truths: positions of values that are truths in the file, 0 or 1 here.
        never: positions of those of them that are false wherever anything is bounded.
        hidden: of values with entries that a mask hides, what it has there, else 0 (`masks.py`).
        lowered: of values that a softmax reads, the constants that a mask added.
        deferred: whole numbers that no node computes yet, by name (`choices.py`).
        number: of the operator that is being read, in the file's graph.
        lifted: constants that are computed by nodes instead, since an operator needs a value.
        trace: what each operator of the file became, in its order.
        folded_names: the constants that were worked out.
        needed: names that some operator reads, or that are an output.
    """

    nodes: list[Node]
    values: dict[str, int] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    spent: int = 0
    weights: int = 0
    kept: int = 0
    folded: int = 0
    folds: int = 0
    bare: set[int] = field(default_factory=set)
    scalars: set[int] = field(default_factory=set)
    alone: bool = False
    moved: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    truths: set[int] = field(default_factory=set)
    never: set[int] = field(default_factory=set)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    lowered: dict[int, Tensor] = field(default_factory=dict)
    deferred: dict[str, Deferred] = field(default_factory=dict)
    number: int = 0
    lifted: dict[str, Array] = field(default_factory=dict)
    trace: list[Traced] = field(default_factory=list)
    folded_names: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls, name: str, shape: Shape) -> "Builder":
        """Begin a graph with nothing but its input."""
        return cls([Node(name, Input(), (), shape)], {name: 0})

    def shape(self, name: str) -> Shape:
        """Return a value's shape without its batch dimension."""
        return self.nodes[self.values[name]].shape

    def is_bare(self, name: str) -> bool:
        """Tell whether a value has no batch dimension."""
        return self.values[name] in self.bare

    def whole_shape(self, name: str) -> Shape:
        """Return a value's shape in the file, at batch size 1."""
        if self.values[name] in self.scalars:
            return ()
        return self.shape(name) if self.is_bare(name) else (1, *self.shape(name))

    def spend(self, entries: int) -> None:
        """Count entries that are about to be made."""
        require_size(entries)
        self.spent += entries
        require_size(self.spent, MAX_TOTAL)

    def positions(self, shape: Shape) -> Tensor:
        """Lay flat positions out in a shape."""
        self.spend(prod(shape))
        return flat_positions(shape)

    def add(self, operation: Operation, parents: Sequence[int], shape: Shape, name: str) -> int:
        """Append a node and return its position."""
        if any(size < 1 for size in shape):
            raise OperatorError(f"its result has shape {shape}")
        self.spend(prod(shape))
        self.nodes.append(Node(name, operation, tuple(parents), shape))
        return len(self.nodes) - 1

    def affine(self, operation: AffineMap, parent: int, name: str) -> int:
        """Append an affine map; a row without dimensions, a batch alone, is one bare entry."""
        alone = operation.output_shape == ()
        if alone:
            operation = replace(operation, output_shape=(1,))
        # One weight may be used by many layers, and each holds it in its own layout.
        self.kept += held_bytes(operation)
        require_size(self.kept, MAX_KEPT + 16 * self.weights, "bytes")
        position = self.add(operation, [parent], operation.output_shape, name)
        if alone:
            self.bare.add(position)
            self.settled.add(position)
        return position

    def diagonal(
        self,
        parent: int,
        name: str,
        shift: Tensor | None = None,
        scale: Tensor | None = None,
        roundings: int = 0,
    ) -> int:
        """Append a scaling and a shift of each entry; see `Diagonal`."""
        shape = self.nodes[parent].shape
        return self.affine(Diagonal(shape, shape, shift, scale, roundings), parent, name)

    def rearranged(self, operator: Operator, positions: Tensor) -> int:
        """Append the map that picks these flat positions of an operator's first input."""
        source, shape = self.source(operator)
        return self.affine(rearrange(shape, positions), source, operator.name)

    def total(self, parts: Sequence[int], name: str) -> int:
        """Append the sum of nodes of one shape, unless there is but one."""
        shape = self.nodes[parts[0]].shape
        return self.add(Sum(), parts, shape, name) if len(parts) > 1 else parts[0]

    def hide(self, position: int, levels: Tensor | None, name: str) -> int:
        """Return a node of its own for a value whose entries are hidden at these levels."""
        if levels is None:
            return position
        shape = self.nodes[position].shape
        position = self.affine(Reshape(shape, shape, None), position, name)
        self.hidden[position] = levels.expand(shape)
        return position

    def lift(self, name: str) -> None:
        """Make a constant a value, which nodes may compute with: none of it is of the input."""
        array = self.constants.pop(name)
        self.lifted[name] = array
        batched = array.ndim > 1 and array.shape[0] == 1
        row = (array.shape[1:] if batched else array.shape) or (1,)
        self.spend(array.size)
        none = torch.full((array.size,), -1)
        nothing = Gather(self.nodes[0].shape, row, tensor(array).reshape(row), none)
        self.values[name] = self.affine(nothing, 0, f"constant {len(self.lifted)}")
        if not array.ndim:
            self.scalars.add(self.values[name])
        if not batched:
            self.bare.add(self.values[name])

    def dependent(self) -> set[int]:
        """Return the nodes that are reached from the input, and the input."""
        constant, reached = {self.values[name] for name in self.lifted}, {0}
        for place, node in enumerate(self.nodes):
            if place not in constant and reached.intersection(node.parents):
                reached.add(place)
        return reached

    def constant(self, operator: Operator, index: int, what: str) -> Array:
        """Read an input that must be a constant."""
        name = operator.inputs[index]
        if name not in self.constants:
            raise OperatorError(f"its {what} is not a constant")
        return self.constants[name]

    def optional(self, operator: Operator, index: int) -> Array | None:
        """Read a constant input that may be left out."""
        if index >= len(operator.inputs) or not operator.inputs[index]:
            return None
        return self.constant(operator, index, f"input {index}")

    def source(self, operator: Operator, index: int = 0) -> tuple[int, Shape]:
        """Return position and shape of an input that the network computes."""
        name = operator.inputs[index]
        if name not in self.values:
            raise OperatorError(f"its input {index} is a constant")
        return self.values[name], self.shape(name)

    def integers(self, operator: Operator, attribute: str, index: int) -> list[int] | None:
        """Read integers that are an attribute in old opsets and an input in new ones."""
        given = operator.attributes.get(attribute)
        if given is not None:
            return [int(value) for value in given]
        array = self.optional(operator, index)
        return None if array is None else [int(value) for value in array.reshape(-1)]


def held_bytes(operation: object) -> int:
    """Count the bytes of an affine map's tensors."""
    total = 0
    for value in vars(operation).values():
        if isinstance(value, Tensor):
            total += value.untyped_storage().nbytes()
        elif isinstance(value, AffineMap):
            total += held_bytes(value)
    return total


def tensor(array: Array) -> Tensor:
    """Convert a weight to float64, exactly."""
    return torch.from_numpy(np.array(array, dtype=np.float64))


def axes_of(axes: Sequence[int], rank: int) -> list[int]:
    """Count a whole value's axes from its first; refuse those that come twice."""
    for axis in axes:
        if not -rank <= axis < rank:
            raise OperatorError(f"its axis {axis} is not one of {rank} dimensions")
    counted = [axis + rank if axis < 0 else axis for axis in axes]
    if len(set(counted)) < len(counted):
        raise OperatorError(f"its axes {list(axes)} name a dimension twice")
    return counted


def row_axes(axes: Sequence[int], rank: int) -> list[int]:
    """Turn ONNX axes, which count the batch dimension as 0, into a row's; refuse repeated ones."""
    counted = axes_of(axes, rank + 1)
    if 0 in counted:
        raise OperatorError("it works on the batch dimension")
    return [axis - 1 for axis in counted]


def rearrange(shape: Shape, positions: Tensor) -> AffineMap:
    """Make the map that picks flat positions, -1 for zero; a view where order is kept."""
    index = positions.reshape(-1)
    target = tuple(positions.shape)
    if index.numel() == prod(shape) and torch.equal(index, torch.arange(prod(shape))):
        return Reshape(shape, target, None)
    return Gather(shape, target, None, index)


def flat_positions(shape: Shape) -> Tensor:
    """Lay flat positions out in a shape."""
    return torch.arange(prod(shape)).reshape(shape)


def pad_positions(positions: Tensor, pads: Sequence[tuple[int, int]]) -> Tensor:
    """Pad positions with -1 (or cut them off where a pad is negative)."""
    pairs = list(zip(positions.shape, pads, strict=True))
    sizes = [size + begin + end for size, (begin, end) in pairs]
    # What is cut off first must leave something to be padded.
    left = [size + min(begin, 0) + min(end, 0) for size, (begin, end) in pairs]
    if min([*sizes, *left], default=1) < 1:
        raise OperatorError(f"padding by {list(pads)} leaves a shape of {sizes}")
    require_size(prod(sizes))
    flat = [amount for pair in reversed(pads) for amount in pair]
    return torch.nn.functional.pad(positions, flat, value=-1)
