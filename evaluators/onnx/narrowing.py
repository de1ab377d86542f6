"""Networks that compute in another type, as ones that compute in float32.

Only for the process of whoever owns the file, as all of `one_file.py`.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.checks import tensor_problems
from evaluators.onnx.rules import complaint, quoted

_OTHER = {TensorProto.DOUBLE: "float64", TensorProto.FLOAT16: "float16"} | {
    TensorProto.BFLOAT16: "bfloat16"
}
"""Types that a network may compute in instead of float32."""


def narrow(model: onnx.ModelProto) -> str:
    """Turn a model that computes in another type into the same in float32; say how weights moved.

    One of float32 values and weights in another type, which it casts, stays as it is.
    """
    graph, single = model.graph, TensorProto.FLOAT
    names = {tensor.name for tensor in graph.initializer}
    sources = [value for value in graph.input if value.name not in names]
    computed = {value.name for value in sources}
    kinds = {value.type.tensor_type.elem_type for value in sources}
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") and not computed.isdisjoint(node.input):
            computed |= set(node.output) - {""}
            kinds |= {one.i for one in node.attribute if node.op_type == "Cast"}
    if not (found := kinds & _OTHER.keys()):
        return ""
    furthest = 0.0
    for tensor in tensors_of(model):
        if tensor.data_type not in _OTHER:
            continue
        if problems := list(tensor_problems(tensor, f"tensor {quoted(tensor.name)}")):
            raise UnsupportedModelError(*(complaint(*problem) for problem in problems))
        given = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):  # what is not finite is refused by the reader
            single_of = given.astype(np.float32)
        moved = np.abs(given.astype(np.float64) - single_of)
        furthest = max(furthest, float(moved.max(initial=0.0)))
        tensor.CopyFrom(numpy_helper.from_array(single_of, tensor.name))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in _OTHER:
            value.type.tensor_type.elem_type = single
    for node in graph.node:
        for attribute in node.attribute:
            typed = node.op_type in ("Cast", "EyeLike") and attribute.name in ("to", "dtype")
            if typed and attribute.i in _OTHER:
                attribute.i = single
    said = " and ".join(_OTHER[kind] for kind in sorted(found))
    said = f"it computes in {said}; every result is about the same network in float32"
    return f"{said}, whose stored weights differ by at most {furthest:.2g}" if furthest else said


def tensors_of(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield the tensors that a model's graph holds, and those of its nodes' attributes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
