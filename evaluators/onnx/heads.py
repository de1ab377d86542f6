"""What stands behind a classifier's logits, or beside them, and changes no class.

Softmax, LogSoftmax and Sigmoid grow with each logit and keep the order of all, and so does what
divides all by their norm: the class is that of the logits before them. A network is read, compared
and verified up to there, and says so. What is claimed is claimed of these logits: the float32
probabilities behind them may still tie, where they saturate. Further outputs, and operators that
are not read where the logits do not depend on them, are left out.
"""

from collections.abc import Iterable, Iterator

import onnx
from onnx import TensorProto, helper

from evaluators.onnx.operators import OPERATORS

CONTROL_FLOW = frozenset(("If", "Loop", "Scan", "SequenceMap"))
HEADS = frozenset(("LogSoftmax", "LpNormalization", "Sigmoid", "Softmax"))


def without_heads(model: onnx.ModelProto, *, free: bool) -> tuple[onnx.ModelProto, list[str]]:
    """Keep what the logits depend on: the model itself where that is all of it.

    Args:
        model: each of its values is made once.
        free: whether its outputs are wanted as they are, not their order alone.

    Returns:
        The model, and a sentence about each thing that was left out.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output if name}
    output, notes = graph.output[0], list[str]()
    if not free and len(graph.output) > 1:
        output = next(filter(_is_float, graph.output), output)
        others = ", ".join(repr(each.name)[:40] for each in graph.output if each != output)
        notes.append(f"The outputs {others} are left out: the class is that of {output.name!r}.")
    name = output.name
    while not free and (head := makers.get(_computed(makers, name))) and _keeps_order(head):
        notes.append(
            f"The final {head.op_type} keeps the order of the classes and is left out:"
            " what is said is said of the logits before it, not of float32 probabilities,"
            " which may tie."
        )
        name = head.input[0]
    nodes = list(_kept(graph, makers, name))
    if (name, len(nodes)) == (graph.output[0].name, len(graph.node)) and len(graph.output) == 1:
        return model, notes
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    for field in (rest.graph.node, rest.graph.output):
        del field[:]
    rest.graph.node.extend(nodes)
    if name != output.name:
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    rest.graph.output.append(output)
    return rest, notes


def _kept(
    graph: onnx.GraphProto, makers: dict[str, onnx.NodeProto], name: str
) -> Iterator[onnx.NodeProto]:
    """What a value depends on, and what no output does as far as it is read."""
    needed, read = _ancestors(makers, name), OPERATORS.keys() | CONTROL_FLOW
    beside = _ancestors(makers, *(value.name for value in graph.output)) - needed
    for node in graph.node:
        made = set(node.output)
        plain = node.domain in ("", "ai.onnx") and not any(a.HasField("g") for a in node.attribute)
        unread = plain and node.op_type not in read
        if made & needed or not (made & beside or unread or beside & set(node.input)):
            yield node
        else:
            beside |= made


def deployed(data: bytes) -> bytes:
    """The file that computes a classifier's logits: the bytes themselves, but for heads."""
    model = onnx.load_model_from_string(data)
    rest, _ = without_heads(model, free=False)
    return data if rest is model else bytes(rest.SerializeToString())


def _is_float(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type.elem_type
    return not value.HasField("type") or kind in (TensorProto.FLOAT, TensorProto.DOUBLE)


def _computed(makers: dict[str, onnx.NodeProto], name: str) -> str:
    """The value of which this is another name."""
    while (node := makers.get(name)) and node.op_type == "Identity" and len(node.input) == 1:
        name = node.input[0]
    return name


def _keeps_order(node: onnx.NodeProto) -> bool:
    """Of each row `[batch, classes]`."""
    if node.op_type not in HEADS or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Sigmoid":
        return not node.attribute and len(node.input) == len(node.output) == 1
    axes = [(one.name, one.i) for one in node.attribute if one.name != "p"]
    plain = axes in ([], [("axis", -1)], [("axis", 1)])
    return plain and len(node.input) == len(node.output) == 1


def _ancestors(makers: dict[str, onnx.NodeProto], *names: str) -> set[str]:
    """The values that these depend on, and these."""
    found, waiting = set[str](), list[str](names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _inputs(makers.get(name))
    return found


def _inputs(node: onnx.NodeProto | None) -> Iterable[str]:
    return () if node is None else (name for name in node.input if name)
