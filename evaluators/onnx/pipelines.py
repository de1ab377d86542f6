"""scikit-learn's classifiers as networks: what skl2onnx writes, in ONNX's own operators.

StandardScaler and its like are a shift and a product, LogisticRegression is a layer and a Softmax,
and a ZipMap, which gives names to the probabilities, is left out. Classes are 0, 1, 2, … or not
read: of what is certified a class is the place of its logit.

Only for the process of whoever owns the file, as all of `one_file.py`. What is made is compared
with onnxruntime as any file, not with the file that it was made from.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

DOMAIN = "ai.onnx.ml"

Made = list[NodeProto] | None


def translated(model: onnx.ModelProto) -> str:
    """Replace in a model what has a translation; say which operators those were, or nothing."""
    graph, nodes, kinds = model.graph, list[NodeProto](), set[str]()
    for node in list(graph.node):
        translate = TRANSLATIONS.get(node.op_type) if node.domain == DOMAIN else None
        made = None if translate is None else translate(graph, node, _attributes(node))
        nodes += [node] if made is None else made
        kinds |= set() if made is None else {node.op_type}
    if not kinds:
        return ""
    del graph.node[:]
    graph.node.extend(nodes)
    return f"ONNX's own operators stand in it for scikit-learn's {', '.join(sorted(kinds))}"


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _constant(graph: onnx.GraphProto, node: NodeProto, what: str, array: Any) -> str:
    name = f"{node.output[0]} {what}"
    graph.initializer.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
    return name


def _scaler(graph: onnx.GraphProto, node: NodeProto, given: dict[str, Any]) -> Made:
    if not given.get("offset") or not given.get("scale"):
        return None
    offset, scale = (_constant(graph, node, what, given[what]) for what in ("offset", "scale"))
    (source,), (output,) = node.input, node.output
    return [
        helper.make_node("Sub", [source, offset], [f"{output} shifted"]),
        helper.make_node("Mul", [f"{output} shifted", scale], [output]),
    ]


_TRANSFORMS = {b"NONE": "Identity", b"SOFTMAX": "Softmax", b"LOGISTIC": "Sigmoid"}
"""What becomes of the scores of a LinearClassifier."""


def _linear_classifier(graph: onnx.GraphProto, node: NodeProto, given: dict[str, Any]) -> Made:
    labels, bias = given.get("classlabels_ints", []), given.get("intercepts", [])
    weight, last = given.get("coefficients", []), given.get("post_transform", b"NONE")
    plain = len(labels) > 1 and list(labels) == list(range(len(bias))) and last in _TRANSFORMS
    if not plain or len(weight) % len(labels) or len(node.output) != 2:
        return None
    matrix = np.array(weight, np.float32).reshape(len(labels), -1).T
    names = [_constant(graph, node, "w", matrix), _constant(graph, node, "b", bias)]
    label, scores = node.output
    return [
        helper.make_node("Gemm", [node.input[0], *names], [f"{scores} before"]),
        helper.make_node(_TRANSFORMS[last], [f"{scores} before"], [scores]),
        helper.make_node("ArgMax", [f"{scores} before"], [label], axis=1, keepdims=0),
    ]


def _normalizer(_: onnx.GraphProto, node: NodeProto, given: dict[str, Any]) -> Made:
    power = {b"L1": 1, b"L2": 2}.get(given.get("norm", b"MAX"))
    if power is None:
        return None
    return [helper.make_node("LpNormalization", node.input, node.output, axis=1, p=power)]


def _zip_map(graph: onnx.GraphProto, node: NodeProto, given: dict[str, Any]) -> Made:
    labels = list(given.get("classlabels_int64s", []))
    outputs = [value for value in graph.output if value.name == node.output[0]]
    if not labels or labels != list(range(len(labels))) or len(outputs) != 1:
        return None
    row = helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, [None, len(labels)])
    outputs[0].CopyFrom(row)
    return []


TRANSLATIONS: dict[str, Callable[[onnx.GraphProto, NodeProto, dict[str, Any]], Made]] = {
    "LinearClassifier": _linear_classifier,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
    "ZipMap": _zip_map,
}
"""By operator; None where its numbers are not understood, and it is refused as it stands."""
