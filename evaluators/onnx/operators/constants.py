"""Constants that are counted, as exporters leave them where shapes were free.

DequantizeLinear is none of these: of weights of eight bits onnxruntime makes layers that round
their inputs to eight bits, too, which no charge for float32 covers.
"""

from dataclasses import replace

import numpy as np

from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, require_size
from evaluators.onnx.operators.declaration import INTEGERS, VALUE, Declaration


def _range(builder: Builder, operator: Operator) -> Array:
    start, end, step = (int(builder.constants[name]) for name in operator.inputs)
    kind = builder.constants[operator.inputs[0]].dtype
    if step == 0 or max(map(abs, (start, end, step))) >= 2**31:
        raise OperatorError(f"it counts from {start} to {end} in steps of {step}")
    require_size(max(0, -(-(end - start) // step)))
    return np.arange(start, end, step, dtype=kind)


OPERATORS: dict[str, Declaration] = {
    "Range": Declaration(
        (11,),
        inputs=tuple(replace(VALUE, name=name, ranks=(0,)) for name in ("start", "end", "step")),
        fold=_range,
        folds=INTEGERS,
        size=lambda _builder, _operator: 0,
    ),
}
