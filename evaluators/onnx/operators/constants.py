"""Comparisons of constants, as exporters leave them where shapes were free.

DequantizeLinear is none of these: of weights of eight bits onnxruntime makes layers that round
their inputs to eight bits, too, which no charge for float32 covers.
"""

from math import prod
from typing import Any

import numpy as np

from evaluators.onnx.operators.declaration import ARITHMETIC, VALUE, Declaration


def _comparison(versions: tuple[int, ...], function: Any) -> Declaration:
    return Declaration(
        versions,
        inputs=(VALUE, VALUE),
        fold=lambda builder, operator: np.asarray(
            function(*(builder.constants[name] for name in operator.inputs))
        ),
        folds=ARITHMETIC,
        size=lambda builder, operator: prod(
            np.broadcast_shapes(*(builder.constants[name].shape for name in operator.inputs))
        ),
    )


OPERATORS: dict[str, Declaration] = {
    "Equal": _comparison((7, 11, 13, 19), np.equal),
    "Greater": _comparison((7, 9, 13), np.greater),
    "GreaterOrEqual": _comparison((12, 16), np.greater_equal),
    "Less": _comparison((7, 9, 13), np.less),
    "LessOrEqual": _comparison((12, 16), np.less_equal),
}
