"""Sections of a file that are run alone: its operators, and what a runtime makes of several.

onnxruntime replaces operators that stand together by one of its own, as those of a GELU or of a
layer normalisation. It knows them by their kinds; what it asks of them is not always all that
matters: a normalisation is known though it subtracts its entries from their mean, or raises to
another power than 2, and numbers count as those of a GELU up to 1e-5. So the graph that it really
runs is compared, too, from one value that the file names to the next.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from evaluators.network.affine import Gather
from evaluators.numerics.arrays import Array
from evaluators.onnx.checks import title_of
from evaluators.onnx.operators.builder import Builder


@dataclass(frozen=True)
class FileSection:
    """Operators that are run alone, and the nodes of the network that they are.

    Attributes:
        title: for messages.
        operators: in the order in which they are run.
        positions: of the nodes, likewise.
        inputs, outputs: positions of its values' nodes by their names in the file; constants are
            not among them.
    """

    title: str
    operators: Sequence[onnx.NodeProto]
    positions: Sequence[int]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


def sections_of_file(known: Builder, graph: onnx.GraphProto) -> list[FileSection]:
    """Take each operator that computes something of the input."""
    return [
        FileSection(
            title_of(graph.node[traced.node]),
            [graph.node[traced.node]],
            range(traced.first, traced.last),
            traced.inputs,
            traced.outputs,
        )
        for traced in known.trace
    ]


def sections_rewritten(
    known: Builder, graph: onnx.GraphProto, made: onnx.GraphProto, opset: int
) -> Iterator[FileSection]:
    """Take what was made of other operators than it: up to values that the file names, too.

    Args:
        known: the network.
        graph: as the file has it.
        made: what a runtime made of it; it keeps a value's name, or uses a new one.
        opset: of both.
    """
    written = {tuple(node.output): node for node in graph.node}
    given = _constants(known, made)
    makers = {name: place for place, node in enumerate(made.node) for name in node.output if name}
    for node in made.node:
        names = [name for name in node.output if known.values.get(name) is not None]
        if not names or _is_written(node, written.get(tuple(node.output)), given, opset):
            continue
        for name in names:
            places, positions, inputs = _made(name, known, made, makers)
            yield FileSection(
                f"what onnxruntime makes of {name!r} ({made.node[max(places)].op_type})",
                [made.node[place] for place in places],
                positions,
                {source: known.values[source] for source in inputs},
                {name: known.values[name]},
            )


def _made(
    name: str, known: Builder, made: onnx.GraphProto, makers: Mapping[str, int]
) -> tuple[list[int], list[int], list[str]]:
    """The operators that make a value, the nodes that do, and the names of what both begin with.

    Of two values that are computed alike a runtime keeps one. Where the nodes do not read what the
    operators do, both are followed further back, at most to the input.
    """
    through, source = set[str](), known.nodes[0].name
    while True:
        places, inputs = _behind(name, known, made, makers, through)
        given = {known.values[one] for one in inputs}
        positions, reached = _between(known, known.values[name], given)
        unread = {one for one in inputs if known.values[one] not in reached}
        further = unread or (set(inputs) if not reached <= given else set())
        if not further - {source}:
            return places, positions, inputs
        through |= further - {source}


def _constants(known: Builder, made: onnx.GraphProto) -> dict[str, bool]:
    """Whether each constant of a graph is the file's."""
    return {
        tensor.name: _same(known.constants.get(tensor.name), tensor) for tensor in made.initializer
    }


def _same(ours: Array | None, tensor: TensorProto) -> bool:
    if ours is None or tuple(tensor.dims) != ours.shape:
        return False
    theirs = numpy_helper.to_array(tensor)
    return theirs.dtype == ours.dtype and bool(np.array_equal(theirs, ours))


def _is_written(
    node: onnx.NodeProto, other: onnx.NodeProto | None, given: Mapping[str, bool], opset: int
) -> bool:
    """Whether an operator is one of the file's, which is compared as such."""
    if other is None or (node.op_type, list(node.input)) != (other.op_type, list(other.input)):
        return False
    if node.domain not in ("", "ai.onnx") or not all(given.get(name, True) for name in node.input):
        return False
    theirs, ours = (
        {one.name: helper.get_attribute_value(one) for one in each.attribute}
        for each in (node, other)
    )
    schema = defs.get_schema(node.op_type, opset, "")
    for name in theirs.keys() - ours.keys():
        default = schema.attributes[name].default_value
        ours[name] = helper.get_attribute_value(default) if default.name else None
    return theirs.keys() == ours.keys() and all(
        np.array_equal(_plain(theirs[name]), _plain(ours[name])) for name in theirs
    )


def _plain(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _behind(
    name: str,
    known: Builder,
    made: onnx.GraphProto,
    makers: Mapping[str, int],
    through: Collection[str],
) -> tuple[list[int], list[str]]:
    """The operators that make a value, back to values that the network has, but for some of them.

    Returns:
        Their places in the graph, and the names of those values.
    """
    places, inputs = {makers[name]}, set[str]()
    left = list(made.node[makers[name]].input)
    while left:
        one = left.pop()
        here = one in known.values and one in makers and one not in through
        if one == known.nodes[0].name or here:
            inputs.add(one)
        elif one in makers and makers[one] not in places:
            places.add(makers[one])
            left += made.node[makers[one]].input
    return sorted(places), sorted(inputs)


def _between(known: Builder, last: int, given: set[int]) -> tuple[list[int], set[int]]:
    """The nodes that a node's value is computed by, back to those of these or to the input.

    Returns:
        Their positions, and those that they begin with.
    """
    found, reached, left = set[int](), set[int](), [last]
    while left:
        position = left.pop()
        operation = known.nodes[position].operation
        if position in given or not position:
            reached.add(position)
        elif position not in found:
            found.add(position)
            constant = isinstance(operation, Gather) and bool((operation.index < 0).all())
            left += () if constant else known.nodes[position].parents
    return sorted(found), reached


def cut_apart(
    data: bytes, known: Builder, sections: Sequence[FileSection], prefix: str, shown: Iterable[str]
) -> bytes:
    """The file, and each of these sections once more with inputs and results of its own.

    Protocol buffers define that messages written one behind the other are read as one, lists joined
    and parts merged: what is added stands behind the file's own bytes, and no weight is copied.

    Args:
        data: the file, with these names in it.
        known: the network.
        sections: of the file.
        prefix: of the new names, behind which the section's number stands.
        shown: names that become outputs, of what is not one yet.
    """
    added = onnx.ModelProto()
    graph, outputs = added.graph, list(shown)
    for number, section in enumerate(sections):
        own = f"{prefix}/{number}/"
        made = {name for operator in section.operators for name in operator.output if name}
        for place, operator in enumerate(section.operators):
            copy = graph.node.add()
            copy.CopyFrom(operator)
            copy.name = f"{own}{place}"
            renamed = made.union(section.inputs)
            copy.input[:] = [own + name if name in renamed else name for name in copy.input]
            copy.output[:] = [own + name if name else name for name in copy.output]
        for name, position in section.inputs.items():
            number_of_type = TensorProto.BOOL if position in known.truths else TensorProto.FLOAT
            kind = helper.make_tensor_type_proto(number_of_type, known.whole_shape(name))
            graph.input.append(helper.make_value_info(own + name, kind))
        outputs += [own + name for name in section.outputs]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return data + bytes(added.SerializeToString())
