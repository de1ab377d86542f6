"""Sections of a file that are run alone: its operators, and what a runtime makes of several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, helper

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
        copies: nodes that have the value of another one, which is among the inputs, by position.
    """

    title: str
    operators: Sequence[onnx.NodeProto]
    positions: Sequence[int]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    copies: Mapping[int, int] = field(default_factory=dict)


def sections_of_file(known: Builder, graph: onnx.GraphProto) -> list[FileSection]:
    """Take each operator that computes something of the input, with those it stands for."""
    return [
        FileSection(
            title_of(graph.node[traced.node]),
            [graph.node[place] for place in (*traced.before, traced.node)],
            range(traced.first, traced.last),
            traced.inputs,
            traced.outputs,
        )
        for traced in known.trace
    ]


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
            # What an operator makes beside what it is copied for may be among what is given.
            copy.output[:] = [
                f"{own}{place}/{name}" if name in section.inputs else name and own + name
                for name in copy.output
            ]
        for name, position in section.inputs.items():
            number_of_type = TensorProto.BOOL if position in known.truths else TensorProto.FLOAT
            kind = helper.make_tensor_type_proto(number_of_type, known.whole_shape(name))
            graph.input.append(helper.make_value_info(own + name, kind))
        outputs += [own + name for name in section.outputs]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return data + bytes(added.SerializeToString())
