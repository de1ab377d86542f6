"""The checker's own reader of ONNX files: small, strict, and shared with no evaluator.

Guarantee: the steps that are read compute, in real arithmetic, what ONNX says of the file at batch
size 1, with exactly its weights; arithmetic between constants is done in their own type.
Trusted: the protobuf parser of the onnx package; NumPy, for moving entries; sparse matrices.

Everything is on a list of what is allowed: operators, their inputs and attributes, the fields of
every message. What is not there is refused, never ignored; only names and descriptions are.
"""

import hashlib
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.wire import too_much
from evaluators.recheck.claim import CheckedModel as CheckedModel
from evaluators.recheck.claim import Step
from evaluators.recheck.graph import MAX_ENTRIES, Array, Graph, Node, UnreadError, Value, need
from evaluators.recheck.operators import IDLE, OPERATORS

MAX_BYTES = 500 * 2**20
MAX_NODES = 20_000
IR_VERSIONS, OPSETS = range(3, 14), range(7, 26)

_ABOUT = {"name", "doc_string", "metadata_props"}
_FIELDS = {
    "ModelProto": _ABOUT
    | {"ir_version", "opset_import", "graph"}
    | {"producer_name", "producer_version", "domain", "model_version"},
    "GraphProto": _ABOUT | {"node", "initializer", "input", "output", "value_info"},
    "NodeProto": _ABOUT | {"input", "output", "op_type", "domain", "attribute"},
    "ValueInfoProto": _ABOUT | {"type"},
    "TypeProto": {"tensor_type", "denotation"},
    "Tensor": {"elem_type", "shape"},
}
"""The fields that may be set in a message."""

_KINDS: dict[int, tuple[str, str, Any]] = {
    TensorProto.FLOAT: ("<f4", "float_data", np.float32),
    TensorProto.FLOAT16: ("<f2", "", np.float16),  # else its bits are numbers of another field
    TensorProto.DOUBLE: ("<f8", "double_data", np.float64),
    TensorProto.INT32: ("<i4", "int32_data", np.int32),
    TensorProto.INT64: ("<i8", "int64_data", np.int64),
    TensorProto.BOOL: ("u1", "int32_data", np.bool_),
}
"""Of each type of tensors that is read: its raw bytes, the field of its numbers, NumPy's type."""

_ATTRIBUTES = {
    AttributeProto.INT: ("INT", "i"),
    AttributeProto.FLOAT: ("FLOAT", "f"),
    AttributeProto.STRING: ("STRING", "s"),
    AttributeProto.TENSOR: ("TENSOR", "t"),
    AttributeProto.INTS: ("INTS", "ints"),
    AttributeProto.FLOATS: ("FLOATS", "floats"),
}


def read_model(data: bytes) -> CheckedModel:
    """The network of a file's bytes, as the checker understands it.

    Raises:
        UnsupportedModelError: it holds something that the checker does not read.
    """
    try:
        return _model(data)
    except UnreadError as error:
        said = f"it has {error}, which the checker does not read."
        raise UnsupportedModelError(said) from error


def _model(data: bytes) -> CheckedModel:
    need(len(data) <= MAX_BYTES, f"{len(data):,} bytes")
    model = _parsed(data)
    _known(model)
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    need(model.ir_version in IR_VERSIONS, f"IR version {model.ir_version}")
    need(len(versions) == 1 and versions[0] in OPSETS, f"opset {versions[:3]}")
    graph = model.graph
    _known(graph)
    need(len(graph.node) <= MAX_NODES, f"{len(graph.node):,} nodes")
    values: dict[str, Value | Array] = {}
    for tensor in graph.initializer:
        _name(values, tensor.name, _tensor(tensor))
    sources = [value for value in graph.input if value.name not in values]
    need(len(sources) == len(graph.output) == 1, "several inputs or outputs, or none")
    shape = _input_shape(sources[0])
    made = Graph(shape)
    _name(values, sources[0].name, Value(0, np.arange(prod(shape)).reshape(shape)))
    output, nodes = _before_heads(graph)
    for node in nodes:
        _read(made, values, node, versions[0])
    for value in (*graph.input, *graph.output, *graph.value_info):
        _declared(value, values)
    last = values.get(output)
    need(isinstance(last, Value) and last.places.ndim == 2, "an output that is no row of logits")
    assert isinstance(last, Value)
    last = made.settle(last)
    steps = _live(made.steps, last.step)
    return CheckedModel(steps, shape[1:], last.shape[1], hashlib.sha256(data).hexdigest())


def _before_heads(graph: onnx.GraphProto) -> tuple[str, list[onnx.NodeProto]]:
    """The logits' name, and the nodes but those behind it that keep the order of any row's entries.

    A Softmax does so along the second of two dimensions, which the logits have.
    """
    name, nodes = graph.output[0].name, list(graph.node)
    while nodes and list(nodes[-1].output) == [name] and nodes[-1].domain in ("", "ai.onnx"):
        head = nodes[-1]
        plain = head.op_type in ("Identity", "Sigmoid") and not head.attribute
        if head.op_type in ("Softmax", "LogSoftmax"):
            axes = [_attribute(attribute) for attribute in head.attribute]
            plain = axes in ([], [("axis", ("INT", 1))], [("axis", ("INT", -1))])
        if not plain or len(head.input) != 1:
            break
        _known(head)
        name, nodes = head.input[0], nodes[:-1]
    return name, nodes


def _parsed(data: bytes) -> onnx.ModelProto:
    try:
        problem, model = too_much(data), onnx.ModelProto()
        if problem is None:
            model.ParseFromString(data)
    except Exception as error:  # protobuf's own errors are of several kinds
        raise UnreadError("bytes that are no ONNX model") from error
    need(problem is None, str(problem))
    size = model.ByteSize()
    model.DiscardUnknownFields()
    need(model.ByteSize() == size, "a field that ONNX does not define")
    return model


def _known(message: Any) -> None:
    """Refuse a message with a field that is not on the list."""
    name = message.DESCRIPTOR.name
    for field, _ in message.ListFields():
        need(field.name in _FIELDS[name], f"the field {field.name} in a {name}")


def _name(values: dict[str, Value | Array], name: str, value: Value | Array) -> None:
    need(name and name not in values, f"a value {ascii(name)[:60]} that is made more than once")
    if isinstance(value, Value):
        need(value.places.ndim > 1 and value.shape[0] == 1, "a tensor without a batch dimension")
    values[name] = value


def _tensor(tensor: TensorProto) -> Array:
    """The numbers of a tensor, which lie in exactly one field; a list of none is in none."""
    title = f"a tensor {ascii(tensor.name)[:60]}"
    need(tensor.data_type in _KINDS, f"{title} of type {tensor.data_type}")
    raw, field, kind = _KINDS[tensor.data_type]
    fields = {found.name for found, _ in tensor.ListFields()} - _ABOUT - {"dims", "data_type"}
    count = prod(tensor.dims)
    if list(tensor.dims) == [0] and fields <= {"raw_data"} and not tensor.raw_data:
        return np.zeros(0, kind)
    need(len(fields) == 1 and fields <= {"raw_data", field}, f"{title} with {sorted(fields)}")
    need(min(tensor.dims, default=1) > 0 and count <= MAX_ENTRIES, f"{title} of no size")
    is_raw = fields == {"raw_data"}
    held = tensor.raw_data if is_raw else getattr(tensor, field)
    fits = len(held) == count * (np.dtype(raw).itemsize if is_raw else 1)
    need(fits, f"{title} that does not hold what its shape says")
    numbers = np.frombuffer(held, raw) if is_raw else np.array(held)
    array = numbers.astype(kind, copy=False)
    same = np.isfinite(array).all() and (kind != np.bool_ or set(numbers.tolist()) <= {0, 1})
    need(same, f"{title} with numbers that are not finite")
    return array.reshape(tuple(tensor.dims))


def _input_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """At batch size 1: float32, a batch dimension that is free or 1, and fixed sizes."""
    kind = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
    fixed = len(sizes) > 1 and min(sizes[1:]) > 0 and sizes[0] in (0, 1)
    need(kind.elem_type == TensorProto.FLOAT and fixed, f"an input of shape {sizes[:6]}")
    need(prod(sizes[1:]) <= MAX_ENTRIES, "an input that is too large")
    return (1, *sizes[1:])


def _read(graph: Graph, values: dict[str, Value | Array], node: Any, opset: int) -> None:
    """One operator; all values that it reads are known already."""
    title = f"operator {ascii(node.domain + node.op_type)[1:-1][:40]}"
    _known(node)
    need(node.domain in ("", "ai.onnx") and node.op_type in OPERATORS, title)
    title = f"{title} (node {ascii(node.name or ''.join(node.output[:1]))[:60]})"
    need(all(name in values for name in node.input if name), f"{title} before its inputs")
    need(node.output and all(node.output), f"{title} without outputs")
    inputs = [values[name] if name else None for name in node.input]
    some = all(getattr(one, "size", 1) for one in inputs)  # but for what a Resize leaves out
    need(some or node.op_type == "Resize", f"{title} with an input of no size")
    try:
        attributes = dict(map(_attribute, node.attribute))
        need(len(attributes) == len(node.attribute), "an attribute twice")
        call = Node(node.op_type, opset, inputs, attributes, len(node.output))
        found = OPERATORS[node.op_type](graph, call)
        call.finish()
        results = found if isinstance(found, list) else [found]
        # Further outputs have no value here: whoever reads one is refused.
        more = len(node.output) - len(results)
        need(0 <= more <= (node.op_type in IDLE), f"{len(node.output)} outputs")
        for name, result in zip(node.output, results, strict=False):
            _name(values, name, result)
    except UnreadError as error:
        raise UnreadError(f"{title} with {error}") from error
    except Exception as error:  # a stranger's file may break any rule of an operator
        said = " ".join(str(error).split())[:120]
        raise UnreadError(f"{title} whose shapes do not fit ({said})") from error


def _attribute(attribute: AttributeProto) -> tuple[str, tuple[str, Any]]:
    """Name, type and value, which must be the only one that it has."""
    name = attribute.name
    need(attribute.type in _ATTRIBUTES, f"attribute {ascii(name)[:60]} of type {attribute.type}")
    kind, field = _ATTRIBUTES[attribute.type]
    fields = {found.name for found, _ in attribute.ListFields()}
    allowed = {"name", "type", "doc_string", field}
    need(fields <= allowed, f"attribute {ascii(name)[:60]} of several values")
    value = getattr(attribute, field)
    if kind == "TENSOR":
        return name, (kind, _tensor(value))
    if kind == "STRING":
        return name, (kind, value.decode("ascii"))
    if kind in ("FLOAT", "FLOATS"):
        need(np.isfinite(value).all(), f"attribute {ascii(name)[:60]} that is not finite")
    return name, (kind, list(value) if kind in ("INTS", "FLOATS") else value)


def _declared(value: onnx.ValueInfoProto, values: dict[str, Value | Array]) -> None:
    """That what a file says of a tensor's type and shape is so; a free size says nothing."""
    title = f"a tensor {ascii(value.name)[:60]} that is not of the type and shape it says"
    _known(value)
    _known(value.type)
    _known(value.type.tensor_type)
    kind, found = value.type.tensor_type, values.get(value.name)
    if found is None or not value.HasField("type"):
        return
    real = np.float32 if isinstance(found, Value) else found.dtype
    need(_KINDS.get(kind.elem_type, (0, 0, None))[2] == real, title)
    if kind.HasField("shape"):
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        need(len(sizes) == len(found.shape), title)
        pairs = zip(sizes, found.shape, strict=True)
        need(all(size is None or size == own for size, own in pairs), title)


def _live(steps: list[Step], last: int) -> tuple[Step, ...]:
    """The steps that the last one depends on; every ReLU must be among them, and the input."""
    live = {last}
    for place in range(last, -1, -1):
        if place in live:
            live.update(steps[place].parents)
    dead = [at for at, step in enumerate(steps) if step.leak is not None and at not in live]
    need(0 in live, "an output that does not depend on its input")
    need(not dead, "a ReLU that its output does not depend on")
    number = {old: new for new, old in enumerate(sorted(live))}
    parents = {old: tuple(number[parent] for parent in steps[old].parents) for old in number}
    return tuple(replace(steps[old], parents=parents[old]) for old in number)
