"""ONNX → the canonical graph. Untrusted input: nothing in the file is executed but the operators
of `evaluators._operators`, and every reason for a refusal is listed at once.

Trusted: the onnx and protobuf parsers; onnxruntime, against which the result is compared.
"""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from evaluators._operators import TRANSLATIONS, unbatched
from evaluators._operators.builder import (
    Array,
    Builder,
    Operator,
    OperatorProblemError,
    require_size,
)
from evaluators.affine import AffineMap, Reshape
from evaluators.errors import UnsupportedModelError
from evaluators.network import Network
from evaluators.onnx_file import (
    FOLDABLE,
    array_of,
    name_of,
    parse,
    read_bytes,
    row_shape,
    static_problems,
    title_of,
    whole_shape,
)
from evaluators.onnx_runtime import compare, products

MAX_FOLDED = 2**26
"""Entries of all constants that are worked out."""
MAX_PRODUCTS = 2**36
"""Products of one run of the network; ResNet-152 on ImageNet needs a sixth of it."""


def import_onnx(path: Path, samples: NDArray[np.float32] | None = None) -> Network:
    """Read a classifier.

    Args:
        path: an ONNX file with one input `[batch, *shape]` and one output `[batch, classes]`.
        samples: real inputs `[n, *shape]` on which to compare with onnxruntime, besides random
            ones in [0, 1].

    Raises:
        UnsupportedModelError: with every problem found, one sentence each.
    """
    return _import(read_bytes(path), path, samples, free=False)


def import_free(data: bytes, path: Path, samples: NDArray[np.float32]) -> Network:
    """Read a network that was made to be verified: any shapes, in row-major order.

    Its input may have any fixed shape, with or without a batch dimension; outputs are one row of
    numbers, whatever their shape in the file.

    Args:
        data: the file's bytes.
        path: for messages.
        samples: inputs `[n, entries]` on which to compare with onnxruntime.

    Raises:
        UnsupportedModelError: with every problem found, one sentence each.
    """
    return _import(data, path, samples, free=True)


def _import(data: bytes, path: Path, samples: NDArray[np.float32] | None, *, free: bool) -> Network:
    model = parse(data, path)
    problems = list(static_problems(model))
    if problems:
        raise UnsupportedModelError(*(f"{path.name}: {problem}" for problem in problems))
    network = _translate(model, path, free=free)
    compare(network, data, path, samples, free=free)
    return network


def _translate(model: onnx.ModelProto, path: Path, *, free: bool) -> Network:
    graph = model.graph
    constants = {}
    for tensor in graph.initializer:
        constants[tensor.name] = array_of(tensor, path)
    source = next(value for value in graph.input if value.name not in constants)
    shape = whole_shape(source, path) if free else (1, *row_shape(source, path))
    batched = len(shape) > 1 and shape[0] == 1
    builder = Builder.begin(source.name, shape[1:] if batched else shape)
    builder.bare = set() if batched else {0}
    builder.constants.update(constants)
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    problems: list[str] = []
    for node in graph.node:
        _step(builder, node, opset, problems, free=free)
    output = graph.output[0].name
    if not problems and output not in builder.values:
        problems.append(f"its output '{output}' does not depend on its input.")
    if problems:
        raise UnsupportedModelError(*(f"{path.name}: {problem}" for problem in problems))
    position = builder.values[output]
    shape = builder.nodes[position].shape
    if free and len(shape) != 1:
        flat = Reshape(shape, (prod(shape),), None)
        position = builder.affine(flat, position, f"{output} flattened")
    elif len(shape) != 1:
        raise UnsupportedModelError(
            f"{path.name}: its output has shape {('batch', *shape)}; one logit per class is needed."
        )
    network = Network(tuple(builder.nodes[: position + 1]))
    _require_finite(network, path)
    _require_modest(network, path)
    return network


def _step(
    builder: Builder, node: onnx.NodeProto, opset: int, problems: list[str], *, free: bool
) -> None:
    """Translate or fold one node; what depends on a refused node is passed over."""
    names = [name for name in node.input if name]
    missing = [n for n in names if n not in builder.values and n not in builder.constants]
    title = title_of(node)
    if missing:
        if not problems:
            problems.append(f"{title} reads '{missing[0]}', which nothing computes before it.")
        return
    try:
        if node.op_type == "Shape" and names[0] in builder.values:
            limits = _operator(node, opset).attributes
            shape = np.array(builder.whole_shape(names[0]), dtype=np.int64)
            builder.constants[node.output[0]] = shape[limits.get("start") : limits.get("end")]
        elif all(name in builder.constants for name in names):
            _fold(builder, node, opset)
        elif node.op_type not in TRANSLATIONS:
            raise OperatorProblemError("it is only supported between constants")
        else:
            bare = any(builder.is_bare(name) for name in names if name in builder.values)
            whole = bare or (free and node.op_type in unbatched.RESHAPING)
            translation = unbatched.translate if whole else TRANSLATIONS[node.op_type]
            translation(builder, _operator(node, opset))
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
        name_of(node),
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


def _require_finite(network: Network, path: Path) -> None:
    for node in network.nodes:
        if not isinstance(node.operation, AffineMap):
            continue
        for value in vars(node.operation).values():
            if isinstance(value, torch.Tensor) and not bool(torch.isfinite(value).all()):
                raise UnsupportedModelError(
                    f"{path.name}: node '{node.name}' has weights that are not finite."
                )


def _require_modest(network: Network, path: Path) -> None:
    needed = products(network)
    if needed > MAX_PRODUCTS:
        raise UnsupportedModelError(
            f"{path.name}: one run of it takes {needed:.2g} products; at most"
            f" {MAX_PRODUCTS:.2g} are read."
        )
