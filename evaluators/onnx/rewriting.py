"""What a runtime makes of a file, in sections from one value that the file names to the next.

onnxruntime replaces operators that stand together by one of its own, as those of a GELU or of a
layer normalisation. It knows them by their kinds; what it asks of them is not always all that
matters. So the graph that it really runs is compared, too, and of its own operators the formulas
(`fusions.py`).
"""

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from torch import Tensor

from evaluators.network.affine import AffineMap, Gather
from evaluators.network.network import Node
from evaluators.numerics.arrays import Array
from evaluators.onnx.formulas import same_operator
from evaluators.onnx.operators.builder import Builder
from evaluators.onnx.sections import FileSection

MOST_FOLLOWED = 2_000, 10
"""Operators of sections that begin further back: so many, and so many more for each of the file."""


NODES_EACH = 256
"""Nodes that an operator may be read as, before others are looked for that are computed alike."""


class _Made(NamedTuple):
    """How a value is made: by operators, and by nodes of the network.

    Attributes:
        places: of the operators in the graph.
        inputs: names of the values that they begin with.
        positions: of the nodes.
        copies: nodes that are not among them, being computed like a value of `inputs`, by position.
        enough: whether the nodes begin with nothing but `inputs`.
        unread: those of `inputs` that they do not begin with.
    """

    places: list[int]
    inputs: list[str]
    positions: list[int]
    copies: dict[int, int]
    enough: bool
    unread: set[str]


class GraphRewriting:
    """What a runtime made of a graph.

    Arguments:
        known: the network.
        graph: as the file has it.
        made: what was made of it; it keeps a value's name, or uses a new one.
        opset: of both.
    """

    def __init__(
        self, known: Builder, graph: onnx.GraphProto, made: onnx.GraphProto, opset: int
    ) -> None:
        self._known, self._graph, self._made, self._opset = known, graph, made, opset
        self._source = known.nodes[0].name
        self._makers = {
            name: place for place, node in enumerate(made.node) for name in node.output if name
        }
        few, each = MOST_FOLLOWED
        self._left = few + each * len(graph.node)

    def sections(self) -> Iterator[FileSection]:
        """Take what was made of other operators than it.

        Raises:
            ValueError: values that are computed alike would have to be followed too far.
        """
        known, made = self._known, self._made
        written = {tuple(node.output): node for node in self._graph.node}
        given = {
            tensor.name: _same(known.constants.get(tensor.name), tensor)
            for tensor in made.initializer
        }
        for node in made.node:
            names = [name for name in node.output if name in known.values]
            before = self._deferred_before(node)
            as_in_file = all(
                (other := written.get(tuple(one.output))) is not None
                and all(given.get(name, True) for name in one.input)
                and self._is_written(one, other)
                for one in (node, *before)
            )
            if not names or as_in_file:
                continue
            for name in names:
                found = self._follow(name)
                yield FileSection(
                    f"what onnxruntime makes of {name!r} ({node.op_type})",
                    [made.node[place] for place in found.places],
                    found.positions,
                    {source: known.values[source] for source in found.inputs},
                    {name: known.values[name]},
                    found.copies,
                )

    def _deferred_before(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The operators of whole numbers that one reads which are compared with it alone."""
        found, left = dict[int, onnx.NodeProto](), list(node.input)
        while left:
            name = left.pop()
            if name in self._known.deferred and (place := self._makers.get(name)) is not None:
                left += () if place in found else self._made.node[place].input
                found[place] = self._made.node[place]
        return list(found.values())

    def _is_written(self, node: onnx.NodeProto, other: onnx.NodeProto) -> bool:
        """Whether an operator is that one of the file, which is compared as such."""
        return list(node.input) == list(other.input) and same_operator(node, other, self._opset)

    def _follow(self, name: str) -> _Made:
        """Where a value's operators and its nodes begin with the same values.

        Of two values that are computed alike a runtime keeps one. Where that does not explain that
        the nodes read others than the operators, both are followed further back, at most to the
        input.
        """
        found = self._back(name, set())
        through = set[str]()
        while further := (found.unread or (() if found.enough else found.inputs)):
            if not set(further) - {self._source}:
                break
            through |= set(further) - {self._source}
            found = self._back(name, through)
            self._left -= len(found.places)
            if self._left < 0:
                raise ValueError("it computes many values alike, of which onnxruntime keeps one")
        return found

    def _back(self, name: str, through: Collection[str]) -> _Made:
        """How a value is made of values that the network has, but for those to go through."""
        known, makers, nodes = self._known, self._makers, self._made.node
        places, inputs = {makers[name]}, set[str]()
        left = list(nodes[makers[name]].input)
        while left:
            one = left.pop()
            here = one in known.values and one in makers and one not in through
            if one == self._source or here:
                inputs.add(one)
            elif one in makers and makers[one] not in places:
                places.add(makers[one])
                left += nodes[makers[one]].input
        given = {known.values[one] for one in inputs}
        # Where nothing is computed alike, few nodes make what few operators do.
        most = NODES_EACH * (len(places) + 4)
        positions, reached = self._between(known.values[name], given, most=most)
        copies = dict[int, int]()
        if not reached <= given or given - reached:
            same = {self._alike[position]: position for position in sorted(given, reverse=True)}
            positions, reached = self._between(known.values[name], given, same)
            copies = {at: same[self._alike[at]] for at in reached - given if at}
            reached = {copies.get(position, position) for position in reached}
        unread = {one for one in inputs if known.values[one] not in reached}
        return _Made(sorted(places), sorted(inputs), positions, copies, reached <= given, unread)

    def _between(
        self, last: int, given: set[int], same: Collection[int] = (), most: int = 2**31
    ) -> tuple[list[int], set[int]]:
        """The nodes that a node's value is computed by, back to those of these or to the input.

        Returns:
            Their positions, and those that they begin with; the input, where they are too many.
        """
        found, reached, left, nodes = set[int](), set[int](), [last], self._known.nodes
        while left:
            if len(found) > most:
                return [], {0}
            position = left.pop()
            operation = nodes[position].operation
            begins = same and position != last and self._alike[position] in same
            if position in given or not position or begins:
                reached.add(position)
            elif position not in found:
                found.add(position)
                constant = isinstance(operation, Gather) and bool((operation.index < 0).all())
                left += () if constant else nodes[position].parents
        return sorted(found), reached

    @cached_property
    def _alike(self) -> list[int]:
        """Of each node the first that computes the same of the same."""
        first, found = dict[Hashable, int](), list[int]()
        for position, node in enumerate(self._known.nodes):
            parents = tuple(found[parent] for parent in node.parents)
            found.append(first.setdefault((node.shape, parents, _content(node)), position))
        return found


def _same(ours: Array | None, tensor: TensorProto) -> bool:
    if ours is None or tuple(tensor.dims) != ours.shape:
        return False
    theirs = numpy_helper.to_array(tensor)
    return theirs.dtype == ours.dtype and bool(np.array_equal(theirs, ours))


def _content(node: Node | AffineMap) -> Hashable:
    """What a node's operation is, to be compared with others'."""
    operation: Any = node.operation if isinstance(node, Node) else node
    if not is_dataclass(operation):
        return id(operation)
    parts: list[Hashable] = [type(operation).__name__]
    for field in fields(operation):
        value = getattr(operation, field.name)
        if isinstance(value, Tensor):
            data = value.detach().contiguous().numpy().tobytes()
            value = (tuple(value.shape), sha256(data).digest())
        parts.append(_content(value) if isinstance(value, AffineMap) else value)
    return tuple(parts)


def sections_rewritten(
    known: Builder, graph: onnx.GraphProto, made: onnx.GraphProto, opset: int
) -> Sequence[FileSection]:
    """List the sections of what a runtime made of a graph; see `GraphRewriting`."""
    return list(GraphRewriting(known, graph, made, opset).sections())
