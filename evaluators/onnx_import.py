"""ONNX → the canonical graph. Untrusted input: nothing in the file is executed but the operators
of `evaluators._operators`, and every reason for a refusal is listed at once.

Trusted: the onnx and protobuf parsers; onnxruntime, against which the result is compared.
"""

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from evaluators._operators import TRANSLATIONS
from evaluators._operators.builder import (
    MAX_ENTRIES,
    Array,
    Builder,
    Operator,
    OperatorProblemError,
    require_size,
)
from evaluators.affine import AffineMap
from evaluators.errors import UnsupportedModelError
from evaluators.network import Network

MAX_BYTES = 500 * 2**20
MAX_NODES = 20_000
MAX_FOLDED = 2**26
"""Entries of all constants that are worked out."""
MAX_PRODUCTS = 2**36
"""Products of one run of the network; ResNet-152 on ImageNet needs a sixth of it."""
OPSETS = range(7, 26)

FOLDABLE = frozenset(
    ("Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Gather", "Identity")
) | frozenset(
    ("Mul", "Neg", "Reshape", "Shape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze")
)
"""Operators that may be evaluated when all their inputs are constants."""


def import_onnx(path: Path, samples: NDArray[np.float32] | None = None) -> Network:
    """Read a classifier.

    Args:
        path: an ONNX file with one input `[batch, *shape]` and one output `[batch, classes]`.
        samples: real inputs `[n, *shape]` on which to compare with onnxruntime, besides random
            ones in [0, 1].

    Raises:
        UnsupportedModelError: with every problem found, one sentence each.
    """
    data = read_bytes(path)
    model = parse(data, path)
    problems = list(static_problems(model))
    if problems:
        raise UnsupportedModelError(*(f"{path.name}: {problem}" for problem in problems))
    network = _translate(model, path)
    _compare(network, data, path, samples)
    return network


def read_bytes(path: Path) -> bytes:
    """The file's bytes, refused early when they cannot be an ONNX model."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnsupportedModelError(f"{path}: cannot be read ({reason}).") from error
    kinds = {
        b"\x80": "a Python pickle, not an ONNX model; export the network to ONNX",
        b"PK": "a zip archive (a PyTorch checkpoint?), not an ONNX model; export it to ONNX",
        b"<": "HTML or XML, not an ONNX model (was an error page downloaded?)",
        b"\x89HDF": "an HDF5 file, not an ONNX model; export the network to ONNX",
        b"version https://git-lfs": "a Git LFS pointer, not an ONNX model; fetch the file itself",
    }
    if size > MAX_BYTES:
        raise UnsupportedModelError(
            f"{path}: has {size / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are read."
        )
    if not data:
        raise UnsupportedModelError(f"{path}: the file is empty.")
    for start, kind in kinds.items():
        if data.lstrip().startswith(start) or data.startswith(start):
            raise UnsupportedModelError(f"{path}: this is {kind}.")
    return data


def parse(data: bytes, path: Path) -> onnx.ModelProto:
    """The model of a file's bytes; external data are never followed."""
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
    title = _title(node)
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


def _title(node: onnx.NodeProto) -> str:
    return f"operator {node.op_type} (node '{_name(node)}')"


def _name(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), "without a name")


def _translate(model: onnx.ModelProto, path: Path) -> Network:
    graph = model.graph
    constants = {}
    for tensor in graph.initializer:
        constants[tensor.name] = _array(tensor, path)
    source = next(value for value in graph.input if value.name not in constants)
    builder = Builder.begin(source.name, _row_shape(source, path))
    builder.constants.update(constants)
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    problems: list[str] = []
    for node in graph.node:
        _step(builder, node, opset, problems)
    output = graph.output[0].name
    if not problems and output not in builder.values:
        problems.append(f"its output '{output}' does not depend on its input.")
    if problems:
        raise UnsupportedModelError(*(f"{path.name}: {problem}" for problem in problems))
    position = builder.values[output]
    shape = builder.nodes[position].shape
    if len(shape) != 1:
        raise UnsupportedModelError(
            f"{path.name}: its output has shape {('batch', *shape)}; one logit per class is needed."
        )
    network = Network(tuple(builder.nodes[: position + 1]))
    _require_finite(network, path)
    _require_modest(network, path)
    return network


def _step(builder: Builder, node: onnx.NodeProto, opset: int, problems: list[str]) -> None:
    """Translate or fold one node; what depends on a refused node is passed over."""
    names = [name for name in node.input if name]
    missing = [n for n in names if n not in builder.values and n not in builder.constants]
    title = _title(node)
    if missing:
        if not problems:
            problems.append(f"{title} reads '{missing[0]}', which nothing computes before it.")
        return
    try:
        if node.op_type == "Shape" and names[0] in builder.values:
            limits = _operator(node, opset).attributes
            shape = np.array((1, *builder.shape(names[0])), dtype=np.int64)
            builder.constants[node.output[0]] = shape[limits.get("start") : limits.get("end")]
        elif all(name in builder.constants for name in names):
            _fold(builder, node, opset)
        elif node.op_type not in TRANSLATIONS:
            raise OperatorProblemError("it is only supported between constants")
        else:
            operator = _operator(node, opset)
            TRANSLATIONS[node.op_type](builder, operator)
    except OperatorProblemError as error:
        problems.append(f"{title}: {error}.")
    except Exception as error:  # a file from a stranger may break any rule of its operators
        problems.append(
            f"{title}: its shapes or attributes do not fit ({' '.join(str(error).split())[:120]})."
        )


def _operator(node: onnx.NodeProto, opset: int) -> Operator:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return Operator(
        _name(node),
        node.op_type,
        tuple(node.input),
        tuple(node.output),
        attributes,
        opset,
    )


def _fold(builder: Builder, node: onnx.NodeProto, opset: int) -> None:
    """Evaluate a node whose inputs are all constants, with onnx's reference implementation."""
    if node.op_type not in FOLDABLE:
        raise OperatorProblemError("it is not supported between constants")
    inputs = {name: builder.constants[name] for name in node.input if name}
    builder.folded += _folded_size(node, list(inputs.values()))
    require_size(builder.folded, MAX_FOLDED)
    alone = helper.make_model(
        helper.make_graph(
            [node],
            "constant",
            [
                helper.make_value_info(
                    name,
                    helper.make_tensor_type_proto(
                        helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
                    ),
                )
                for name, array in inputs.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in node.output],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    results = ReferenceEvaluator(alone).run(None, inputs)
    for name, result in zip(node.output, results, strict=True):
        builder.constants[name] = np.asarray(result)


def _folded_size(node: onnx.NodeProto, inputs: list[Array]) -> int:
    """How many entries a folded node makes, at most."""
    if node.op_type == "ConstantOfShape":
        return abs(prod(int(size) for size in inputs[0]))
    if node.op_type == "Gather":
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        return int(inputs[0].size // inputs[0].shape[axis] * inputs[1].size)
    if node.op_type in ("Add", "Sub", "Mul", "Div"):
        return prod(np.broadcast_shapes(*(array.shape for array in inputs)))
    return sum(array.size for array in inputs)


def _array(tensor: onnx.TensorProto, path: Path) -> Array:
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:
        raise UnsupportedModelError(
            f"{path.name}: initializer '{tensor.name}' does not hold what its shape says."
        ) from error


def _row_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    kind = value.type.tensor_type
    dimensions = kind.shape.dim
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in dimensions]
    shown = [
        d.dim_param or "?" if size is None else size
        for d, size in zip(dimensions, sizes, strict=True)
    ]
    if kind.elem_type != TensorProto.FLOAT:
        raise UnsupportedModelError(f"{path.name}: its input '{value.name}' is not float32.")
    fixed = [size for size in sizes[1:] if size and size > 0]
    if not fixed or sizes[0] not in (None, 0, 1) or len(fixed) < len(sizes) - 1:
        raise UnsupportedModelError(
            f"{path.name}: its input '{value.name}' has shape {shown}; needed is a batch dimension"
            " (free or 1) and then fixed sizes."
        )
    if prod(fixed) > MAX_ENTRIES:
        raise UnsupportedModelError(
            f"{path.name}: its input has {prod(fixed):.3g} entries; at most {MAX_ENTRIES:.3g} are"
            " read."
        )
    return tuple(fixed)


def _require_finite(network: Network, path: Path) -> None:
    for node in network.nodes:
        if not isinstance(node.operation, AffineMap):
            continue
        for value in vars(node.operation).values():
            if isinstance(value, torch.Tensor) and not bool(torch.isfinite(value).all()):
                raise UnsupportedModelError(
                    f"{path.name}: node '{node.name}' has weights that are not finite."
                )


def _products(network: Network) -> int:
    """Products of one run."""
    return sum(
        prod(node.shape) * node.operation.fan_in
        for node in network.nodes
        if isinstance(node.operation, AffineMap)
    )


def _require_modest(network: Network, path: Path) -> None:
    products = _products(network)
    if products > MAX_PRODUCTS:
        raise UnsupportedModelError(
            f"{path.name}: one run of it takes {products:.2g} products; at most"
            f" {MAX_PRODUCTS:.2g} are read."
        )


def session(data: bytes) -> onnxruntime.InferenceSession:
    """The deployed runtime, quiet and on one thread."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _compare(
    network: Network, data: bytes, path: Path, samples: NDArray[np.float32] | None
) -> None:
    """Refuse a network whose logits are not onnxruntime's."""
    generator = np.random.Generator(np.random.Philox(key=20))
    count = 4 if _products(network) < 2**30 else 1
    random = generator.random((count, *network.input_shape), dtype=np.float32)
    inputs = random if samples is None else np.concatenate((random, samples[:8]))
    try:
        runtime = session(data)
        name = runtime.get_inputs()[0].name
        theirs = np.concatenate([runtime.run(None, {name: x[None]})[0] for x in inputs])
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UnsupportedModelError(
            f"{path.name}: onnxruntime cannot run it ({reason})."
        ) from error
    try:
        rows = [network(torch.from_numpy(x[None]).double()) for x in inputs]
    except RuntimeError as error:
        raise UnsupportedModelError(
            f"{path.name}: its operators' shapes do not fit ({' '.join(str(error).split())[:160]})."
        ) from error
    ours = torch.cat(rows).numpy()
    if theirs.shape != ours.shape:
        raise UnsupportedModelError(
            f"{path.name}: onnxruntime gives logits of shape {theirs.shape}, not {ours.shape}."
        )
    if not np.isfinite(theirs).all() or not np.isfinite(ours).all():
        raise UnsupportedModelError(f"{path.name}: its logits are not finite on inputs in [0, 1].")
    worst = float(np.abs(theirs - ours).max())
    allowed = 1e-4 * (1.0 + float(np.abs(ours).max()))
    if worst > allowed:
        raise UnsupportedModelError(
            f"{path.name}: the imported network's logits differ from onnxruntime's by {worst:.2g}"
            f" (allowed {allowed:.2g})."
        )
