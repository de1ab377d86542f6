"""What is refused in a parsed ONNX model before any of its operators is looked at by itself."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod

import onnx
from onnx import TensorProto, helper, numpy_helper

from evaluators.onnx.heads import CONTROL_FLOW
from evaluators.onnx.operators import OPERATORS
from evaluators.onnx.operators.masks import is_weight
from evaluators.onnx.rules import Broken, ModelRule, quoted
from evaluators.onnx.schema import OPSETS, schema_problem

MAX_NODES = 20_000
MAX_TENSORS = 50_000
MAX_NAME = 1_000
MAX_TEXT = 10_000_000
"""Characters of all descriptions and metadata; exporters write a few kilobytes a node."""
IR_VERSIONS = range(3, 15)

RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform")
) | {"RandomUniformLike"}

_FLOAT_TYPES = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
_WHOLE_TYPES = [f"{sign}INT{width}" for sign in ("", "U") for width in (8, 16, 32, 64)]
_TYPES = (*_FLOAT_TYPES, *_WHOLE_TYPES, "BOOL")
_FLOATS = frozenset(int(getattr(TensorProto, name)) for name in _FLOAT_TYPES)
NUMERIC = frozenset(int(getattr(TensorProto, name)) for name in _TYPES)
"""The types of tensors that are read."""

_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def static_problems(model: onnx.ModelProto) -> list[Broken]:
    """List all that can be refused without looking at shapes, of what is not too much."""
    return [*_model_problems(model), *_graph_problems(model.graph)]


def size_problems(model: onnx.ModelProto) -> Iterable[Broken]:
    """Yield what there is too much of to be looked at one by one."""
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        yield ModelRule.NODES, f"{len(graph.node):,} nodes are too many (at most {MAX_NODES:,})"
    tensors = max(len(graph.initializer), len(graph.input), len(graph.value_info))
    if tensors > MAX_TENSORS:
        yield ModelRule.NODES, f"{tensors:,} tensors are too many (at most {MAX_TENSORS:,})"
        return
    text = len(graph.doc_string) + len(model.doc_string)
    texts = [*model.metadata_props, *graph.metadata_props]
    for node in graph.node:
        text += len(node.doc_string)
        texts += node.metadata_props
    text += sum(len(entry.key) + len(entry.value) for entry in texts)
    if text > MAX_TEXT:
        said = f"its descriptions and metadata have {text:,} characters (at most {MAX_TEXT:,})"
        yield ModelRule.TEXT, said
    names = list(_names(graph))
    if {*map(type, names)} - {str}:
        # protobuf hands over as bytes what is not UTF-8
        yield ModelRule.TEXT, "some names are not text; the file is damaged"
    elif (longest := max(map(len, names), default=0)) > MAX_NAME:
        yield ModelRule.TEXT, f"a name has {longest:,} characters (at most {MAX_NAME:,})"


def _names(graph: onnx.GraphProto) -> Iterable[str]:
    yield graph.name
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _model_problems(model: onnx.ModelProto) -> Iterable[Broken]:
    if model.ir_version not in IR_VERSIONS:
        known = f"{IR_VERSIONS[0]} to {IR_VERSIONS[-1]} are"
        yield ModelRule.IR, f"IR version {model.ir_version} is not supported ({known})"
    versions = [e.version for e in model.opset_import if e.domain in ("", "ai.onnx")]
    if len(set(versions)) > 1:
        yield ModelRule.OPSET, f"it names several opsets: {versions[:5]}"
    elif not versions or versions[0] not in OPSETS:
        found = versions[0] if versions else "None"
        known = f"{OPSETS[0]} to {OPSETS[-1]} are"
        yield ModelRule.OPSET, f"opset {found} is not supported ({known})"
    if model.functions:
        said = "model-local functions are not supported; `certboard export` puts what they do in"
        yield ModelRule.FUNCTIONS, said
    if model.training_info:
        yield ModelRule.TRAINING, "it has training information"


def _graph_problems(graph: onnx.GraphProto) -> Iterable[Broken]:
    if graph.sparse_initializer:
        yield ModelRule.SPARSE, "sparse initializers are not supported"
    if graph.quantization_annotation:
        yield ModelRule.QUANTIZATION, "annotations of quantization are not supported"
    external = [tensor for tensor in graph.initializer if _is_external(tensor)]
    if len(external) > 1:
        said = f"{len(external):,} initializers, such as {quoted(external[0].name)}, keep their"
        yield ModelRule.EXTERNAL_DATA, f"{said} data in another file; {_MERGE}"
    for tensor in graph.initializer:
        if len(external) <= 1 or not _is_external(tensor):
            yield from tensor_problems(tensor, f"initializer {quoted(tensor.name)}")
    for node in graph.node:
        yield from _node_problems(node)
    names = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in names]
    counts = f"it has {len(inputs)} inputs and {len(graph.output)} outputs; one each is needed"
    if len(inputs) != 1:
        yield ModelRule.INPUT, counts
    if len(graph.output) != 1:
        yield ModelRule.OUTPUT, counts
    for name in made_twice(graph):
        yield ModelRule.NAMES, f"the value {quoted(name)} is made more than once"


def made_twice(graph: onnx.GraphProto) -> list[str]:
    """List the values that do not have one maker."""
    made = [tensor.name for tensor in graph.initializer]
    made += [value.name for value in graph.input if value.name not in set(made)]
    made += [name for node in graph.node for name in node.output if name]
    return [name for name, count in Counter(made).items() if count > 1]


_MERGE = "export it with external_data=False, or merge both with `certboard export`"


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL or bool(tensor.external_data)


def holds_data(tensor: onnx.TensorProto) -> bool:
    """Tell whether a tensor has numbers in the file itself, in any of its fields."""
    return bool(tensor.raw_data) or any(len(getattr(tensor, name)) for name in _FIELDS)


def tensor_problems(tensor: onnx.TensorProto, title: str) -> Iterable[Broken]:
    """Say why a tensor cannot be read, before memory is spent on it."""
    if _is_external(tensor):
        yield ModelRule.EXTERNAL_DATA, f"{title} keeps its data in another file; {_MERGE}"
        return
    if tensor.data_type == TensorProto.STRING:
        yield ModelRule.TYPES, f"{title} holds strings"
        return
    if tensor.data_type not in NUMERIC:
        known = ", ".join(_TYPES).lower()
        said = f"{title} is of a type that is not read (number {tensor.data_type}; {known} are)"
        yield ModelRule.TYPES, said
        return
    entries = prod(tensor.dims)
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    lists = [held for name in _FIELDS if (held := getattr(tensor, name))]
    raw = len(tensor.raw_data)  # of a copy
    held = raw // kind.itemsize if raw else sum(map(len, lists))
    # One field that is there, be it empty: of two, readers take the one or the other.
    whole = raw % kind.itemsize == 0 and len(lists) + tensor.HasField("raw_data") <= 1
    narrow = all(0 <= size < 2**31 for size in tensor.dims)
    if entries != held or not whole or not narrow or tensor.HasField("segment"):
        yield ModelRule.SHAPE, f"{title} does not hold what its shape says"
    elif not _fits(tensor):
        yield ModelRule.TYPES, f"{title} holds numbers that its type does not have"
    elif tensor.data_type in _FLOATS and not is_weight(numpy_helper.to_array(tensor)):
        yield ModelRule.FINITE, f"{title} has weights that are not finite"


_RANGES = {
    TensorProto.BOOL: range(2),
    TensorProto.INT8: range(-(2**7), 2**7),
    TensorProto.UINT8: range(2**8),
    TensorProto.INT16: range(-(2**15), 2**15),
    TensorProto.UINT16: range(2**16),
    TensorProto.FLOAT16: range(2**16),
    TensorProto.BFLOAT16: range(2**16),
    TensorProto.UINT32: range(2**32),
}
"""What is kept in wider fields than its type, of which one reader takes some bits, another none."""


def _fits(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's numbers are of its type; a truth value is 0 or 1 in raw bytes, too."""
    if tensor.data_type not in _RANGES:
        return True
    allowed = _RANGES[TensorProto.DataType.ValueType(tensor.data_type)]
    kept = [value for field in (tensor.int32_data, tensor.uint64_data) for value in field]
    if tensor.data_type == TensorProto.BOOL:
        kept += set(tensor.raw_data)
    return all(value in allowed for value in kept)


_UNROUNDED = "Export the network before it is quantised: integer runs are not those of float32"
REMEDIES = {
    "DFT": "Write it as two products with the matrices of its cosines and sines",
    **dict.fromkeys(
        (
            *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger"),
            *("MatMulInteger", "QLinearConv", "QLinearMatMul"),
        ),
        _UNROUNDED,
    ),
}
"""What to do about operators that many files have and that are not read."""


DOMAINS = {
    "ai.onnx.ml": "`certify` and `export` translate scikit-learn's networks, scalers and linear"
    " classifiers, of classes 0, 1, 2 and so on",
    "com.microsoft": "Save the network before onnxruntime optimizes or quantises it",
}
"""What to do about operators of domains that many files have."""


def _node_problems(node: onnx.NodeProto) -> Iterable[Broken]:
    title = title_of(node)
    graphs = any(a.HasField("g") or a.graphs for a in node.attribute)
    if node.domain not in ("", "ai.onnx"):
        told = f"{title} is of the custom domain {quoted(node.domain)}"
        remedy = DOMAINS.get(node.domain)
        yield ModelRule.DOMAIN, told if remedy is None else f"{told}. {remedy}"
    elif graphs or node.op_type in CONTROL_FLOW:
        told = "export the network without control flow"
        if node.op_type == "If":
            told += "; where its condition is constant, `certboard export` puts the branch in"
        if node.op_type in ("Loop", "Scan"):
            told += " (a recurrent layer of Keras with unroll=True)"
        yield ModelRule.SUBGRAPH, f"{title} contains a subgraph; {told}"
        return
    elif node.op_type in RANDOM:
        yield ModelRule.RANDOM, f"{title} draws random numbers"
    elif node.op_type not in OPERATORS:
        remedy = REMEDIES.get(node.op_type)
        told = f"{title} is not supported"
        if not onnx.defs.has(node.op_type):
            told = f"{title} is no operator of ONNX: the exporter could not translate it"
        yield ModelRule.OPERATOR, told if remedy is None else f"{told}. {remedy}"
    repeated = Counter(attribute.name for attribute in node.attribute)
    for attribute in node.attribute:
        if repeated[attribute.name] > 1:
            said = f"{title} has the attribute {quoted(attribute.name)} more than once"
            yield ModelRule.ATTRIBUTES, said
            return
        for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
            yield from tensor_problems(tensor, title)
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            yield ModelRule.SPARSE, f"{title} has a sparse tensor"
        if not all(map(math.isfinite, (attribute.f, *attribute.floats))):
            yield ModelRule.FINITE, f"{title} has an attribute that is not finite"


def usage_problems(model: onnx.ModelProto, opset: int) -> list[Broken]:
    """List the nodes whose use is not the one that ONNX defines."""
    return [
        (ModelRule.ATTRIBUTES, f"{title_of(node)} {problem}")
        for node in model.graph.node
        if (problem := schema_problem(node, opset, OPERATORS[node.op_type].versions)) is not None
    ]


def contradictions(
    graph: onnx.GraphProto, known: Mapping[str, tuple[int, tuple[int, ...]]]
) -> Iterable[Broken]:
    """Yield each type or shape that a file declares and its value does not have.

    A runtime believes them: onnxruntime works a Shape out from what is declared of a value with a
    free batch dimension, before it has run anything. Of values that nothing reads it works nothing
    out, and torch's exporter declares the unread sequence of an LSTM as one of its states.

    Args:
        graph: of the file.
        known: ONNX's number of each value's type, and its whole shape at batch size 1.
    """
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in (*graph.input, *graph.output)}
    for value in (*graph.input, *graph.value_info):
        if value.name not in known or value.name not in read or not value.HasField("type"):
            continue
        kind, shape = known[value.name]
        declared, title = value.type.tensor_type, f"the value {quoted(value.name)}"
        if value.type.WhichOneof("value") != "tensor_type" or declared.elem_type != kind:
            yield ModelRule.TYPES, f"{title} is declared as another type than it has"
        elif declared.HasField("shape") and not _declares(declared.shape, shape):
            shown = [d.dim_param or d.dim_value for d in declared.shape.dim][:8]
            yield ModelRule.SHAPE, f"{title} is declared as {shown}, but has shape {list(shape)}"


def _declares(declared: onnx.TensorShapeProto, shape: tuple[int, ...]) -> bool:
    """Whether a declaration says this shape; sizes may be free, or -1, which is the same."""
    sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in declared.dim]
    return len(sizes) == len(shape) and all(
        said in (-1, size) for said, size in zip(sizes, shape, strict=True)
    )


def title_of(node: onnx.NodeProto) -> str:
    """Name an operator in a message."""
    return f"operator {node.op_type} (node {quoted(name_of(node))})"


def name_of(node: onnx.NodeProto) -> str:
    """Return a node's name, or its result's."""
    return node.name or next(iter(node.output), "without a name")
