"""Constants that are counted, as exporters leave them where shapes were free.

DequantizeLinear is none of these: of weights of eight bits onnxruntime makes layers that round
their inputs to eight bits, too, which no charge for float32 covers.
"""

from dataclasses import replace

import numpy as np

from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, require_size
from evaluators.onnx.operators.declaration import (
    ARITHMETIC,
    INTEGERS,
    LARGEST,
    VALUE,
    Attribute,
    Declaration,
    exactly,
    whole,
)
from evaluators.onnx.rules import ModelRule


def _range(builder: Builder, operator: Operator) -> Array:
    start, end, step = (int(builder.constants[name]) for name in operator.inputs)
    kind = builder.constants[operator.inputs[0]].dtype
    if step == 0 or max(map(abs, (start, end, step))) >= 2**31:
        raise OperatorError(f"it counts from {start} to {end} in steps of {step}")
    require_size(max(0, -(-(end - start) // step)))
    return np.arange(start, end, step, dtype=kind)


def _identity_like(builder: Builder, operator: Operator) -> Array:
    """EyeLike: ones on a diagonal, of a constant's shape."""
    like, number = builder.constants[operator.inputs[0]], operator.attributes["dtype"]
    if like.ndim != 2:
        raise OperatorError(f"its input has shape {like.shape}, not of a matrix")
    kind = like.dtype if number is None else np.dtype(_KINDS[number])
    rows, columns = like.shape
    return np.asarray(np.eye(rows, columns, k=int(operator.attributes["k"])), dtype=kind)


_KINDS = {1: "float32", 7: "int64", 6: "int32", 11: "float64"}
"""Types of an identity, by ONNX's numbers."""


OPERATORS: dict[str, Declaration] = {
    "EyeLike": Declaration(
        (9, 22),
        attributes={
            "dtype": Attribute(exactly(*_KINDS), rule=ModelRule.TYPES),
            "k": Attribute(whole(-LARGEST + 1), default=0),
        },
        fold=_identity_like,
        folds=ARITHMETIC,
    ),
    "Range": Declaration(
        (11,),
        inputs=tuple(replace(VALUE, name=name, ranks=(0,)) for name in ("start", "end", "step")),
        fold=_range,
        folds=INTEGERS,
        size=lambda _builder, _operator: 0,
    ),
}
