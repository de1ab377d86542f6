"""What an ONNX file says, as far as it can be told before it is translated: untrusted input."""

from collections.abc import Iterable
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from evaluators._operators import TRANSLATIONS
from evaluators._operators.builder import MAX_ENTRIES, Array
from evaluators.errors import UnsupportedModelError

MAX_BYTES = 500 * 2**20
MAX_NODES = 20_000
OPSETS = range(7, 26)

FOLDABLE = frozenset(
    ("Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Gather", "Identity")
) | frozenset(
    ("Mul", "Neg", "Reshape", "Shape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze")
)
"""Operators that may be evaluated when all their inputs are constants."""


def read_bytes(path: Path) -> bytes:
    """The file's bytes, if there are not too many.

    Raises:
        UnsupportedModelError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnsupportedModelError(f"{path}: cannot be read ({reason}).") from error
    if size > MAX_BYTES:
        raise UnsupportedModelError(
            f"{path}: has {size / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are read."
        )
    return data


def parse(data: bytes, path: Path) -> onnx.ModelProto:
    """The model of a file's bytes; external data are never followed.

    Raises:
        UnsupportedModelError: they are not an ONNX model, and what they are instead.
    """
    kinds = {
        b"\x80": "a Python pickle, not an ONNX model; export the network to ONNX",
        b"PK": "a zip archive (a PyTorch checkpoint?), not an ONNX model; export it to ONNX",
        b"<": "HTML or XML, not an ONNX model (was an error page downloaded?)",
        b"\x89HDF": "an HDF5 file, not an ONNX model; export the network to ONNX",
        b"version https://git-lfs": "a Git LFS pointer, not an ONNX model; fetch the file itself",
    }
    if not data:
        raise UnsupportedModelError(f"{path}: the file is empty.")
    for start, kind in kinds.items():
        if data.lstrip().startswith(start) or data.startswith(start):
            raise UnsupportedModelError(f"{path}: this is {kind}.")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise UnsupportedModelError(
            f"{path}: not a readable ONNX model; the file is damaged or truncated."
        ) from error
    if not model.graph.node or not model.graph.output:
        raise UnsupportedModelError(
            f"{path}: not an ONNX model with a graph; the file is damaged or of another kind."
        )
    return model


def static_problems(model: onnx.ModelProto) -> Iterable[str]:
    """Everything that can be refused without looking at shapes."""
    graph = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("", opsets.get("ai.onnx")) not in OPSETS:
        yield f"opset {opsets.get('')} is not supported ({OPSETS[0]} to {OPSETS[-1]} are)."
    if not _readable(graph):
        yield "some names are not text; the file is damaged."
        return
    if model.functions:
        yield "model-local functions are not supported."
    if graph.sparse_initializer:
        yield "sparse initializers are not supported."
    if len(graph.node) > MAX_NODES:
        yield f"{len(graph.node)} nodes are too many (at most {MAX_NODES})."
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield f"initializer '{tensor.name}' keeps its data in another file."
        elif tensor.data_type == TensorProto.STRING:
            yield f"initializer '{tensor.name}' holds strings."
    for node in graph.node:
        yield from _node_problems(node)
    names = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in names]
    if len(inputs) != 1 or len(graph.output) != 1:
        yield f"it has {len(inputs)} inputs and {len(graph.output)} outputs; one each is needed."


def _readable(graph: onnx.GraphProto) -> bool:
    """Whether all names are UTF-8; protobuf hands over others as bytes."""
    names = [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    return all(isinstance(name, str) for name in names)


def _node_problems(node: onnx.NodeProto) -> Iterable[str]:
    title = title_of(node)
    if node.domain not in ("", "ai.onnx"):
        yield f"{title} is of the custom domain '{node.domain}'."
    elif node.op_type not in TRANSLATIONS and node.op_type not in FOLDABLE:
        hint = " Leave it out: only the order of the logits matters."
        final = node.op_type in ("Softmax", "LogSoftmax", "ArgMax")
        yield f"{title} is not supported.{hint if final else ''}"
    for attribute in node.attribute:
        if attribute.HasField("g") or attribute.graphs:
            yield f"{title} contains a subgraph."
        tensor = attribute.t
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield f"{title} keeps its data in another file."


def title_of(node: onnx.NodeProto) -> str:
    """An operator in a message."""
    return f"operator {node.op_type} (node '{name_of(node)}')"


def name_of(node: onnx.NodeProto) -> str:
    """A node's name, or its result's."""
    return node.name or next(iter(node.output), "without a name")


def array_of(tensor: onnx.TensorProto, path: Path) -> Array:
    """The value of an initializer."""
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:
        raise UnsupportedModelError(
            f"{path.name}: initializer '{tensor.name}' does not hold what its shape says."
        ) from error


def _sizes(value: onnx.ValueInfoProto, path: Path) -> tuple[list[int | None], list[object]]:
    """The input's sizes, None where they are free, and as they are shown in messages."""
    kind = value.type.tensor_type
    dimensions = kind.shape.dim
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in dimensions]
    shown = [
        d.dim_param or "?" if size is None else size
        for d, size in zip(dimensions, sizes, strict=True)
    ]
    if kind.elem_type != TensorProto.FLOAT:
        raise UnsupportedModelError(f"{path.name}: its input '{value.name}' is not float32.")
    return sizes, shown


def whole_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    """Any fixed shape; a free first size is a batch of 1."""
    sizes, shown = _sizes(value, path)
    whole = [size or 0 for size in sizes]
    if whole and not sizes[0]:
        whole[0] = 1
    if not whole or min(whole) < 1:
        raise UnsupportedModelError(
            f"{path.name}: its input '{value.name}' has shape {shown}; fixed sizes are needed."
        )
    _require_small(prod(whole), path)
    return tuple(whole)


def row_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    """The fixed sizes behind a batch dimension."""
    sizes, shown = _sizes(value, path)
    fixed = [size for size in sizes[1:] if size and size > 0]
    if not fixed or sizes[0] not in (None, 0, 1) or len(fixed) < len(sizes) - 1:
        raise UnsupportedModelError(
            f"{path.name}: its input '{value.name}' has shape {shown}; needed is a batch dimension"
            " (free or 1) and then fixed sizes."
        )
    _require_small(prod(fixed), path)
    return tuple(fixed)


def _require_small(entries: int, path: Path) -> None:
    if entries > MAX_ENTRIES:
        raise UnsupportedModelError(
            f"{path.name}: its input has {entries:.3g} entries; at most {MAX_ENTRIES:.3g} are read."
        )
