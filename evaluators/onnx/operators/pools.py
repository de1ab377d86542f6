"""Averages and maxima over windows."""

from dataclasses import replace
from math import prod

import torch

from evaluators.network.network import MaxPool
from evaluators.onnx.operators.builder import (
    MAX_WINDOWS,
    Builder,
    Operator,
    OperatorError,
    require_size,
)
from evaluators.onnx.operators.declaration import ONES, Attribute, Declaration, exactly
from evaluators.onnx.operators.windows import (
    AUTO_PADS,
    Window,
    convolution_map,
    padded,
    window_attributes,
    window_of,
)


def _pooled(builder: Builder, operator: Operator) -> Window:
    _, shape = builder.source(operator)
    window = window_of(operator, shape, tuple(operator.attributes["kernel_shape"]))
    for sizes in (window.begin, window.end):
        if any(pad >= size for pad, size in zip(sizes, window.kernel, strict=True)):
            raise OperatorError("its padding is as large as its kernel")
    return window


def average_pool(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    window = _pooled(builder, operator)
    source, wide, padding = padded(builder, operator, window)
    counted = bool(operator.attributes["count_include_pad"])
    if not window.symmetric and not counted:
        raise OperatorError("asymmetric padding that is not counted is not supported")
    whole = counted or not any(window.begin)
    share = 1.0 / prod(window.kernel) if whole else 1.0
    require_size(shape[0] * prod(window.kernel))
    weight = torch.full((shape[0], 1, *window.kernel), share, dtype=torch.float64)
    pool = convolution_map(window, wide, weight, None, padding, shape[0])
    pool = replace(pool, rounded=True)
    position = builder.affine(pool, source, operator.name)
    if not whole:
        seen = pool.linear(torch.ones(1, *wide, dtype=torch.float64))[0]
        position = builder.diagonal(position, operator.name, scale=1.0 / seen, roundings=1)
    return position


def max_pool(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    window = _pooled(builder, operator)
    kernel, strides, begin = window.kernel, window.strides, window.begin
    if len(kernel) != 2 or not window.symmetric:
        raise OperatorError("only two dimensions and symmetric pads are supported")
    if any(2 * pad > size for pad, size in zip(begin, kernel, strict=True)):
        raise OperatorError("its padding is larger than half its kernel")
    ceil = bool(operator.attributes.get("ceil_mode"))
    sizes = [
        # One more for a last, partial window; exactly how many is worked out by the pool itself.
        (size + 2 * pad - wide) // stride + 2
        for size, pad, wide, stride in zip(shape[1:], begin, kernel, strides, strict=True)
    ]
    require_size(shape[0] * prod(sizes) * prod(kernel), MAX_WINDOWS)
    pool = MaxPool(
        shape, (kernel[0], kernel[1]), (strides[0], strides[1]), (begin[0], begin[1]), ceil
    )
    return builder.add(pool, [source], pool.output_shape, operator.name)


OPERATORS: dict[str, Declaration] = {
    "AveragePool": Declaration(
        versions=(7, 10, 11, 19, 22),
        attributes={
            **window_attributes(*AUTO_PADS),
            "ceil_mode": Attribute(exactly(0), default=0, since=10),
            "count_include_pad": Attribute(exactly(0, 1), default=0),
            "dilations": Attribute(ONES, since=19),
        },
        translate=average_pool,
    ),
    "MaxPool": Declaration(
        versions=(1, 8, 10, 11, 12, 22),
        attributes={
            **window_attributes(*AUTO_PADS),
            "ceil_mode": Attribute(exactly(0, 1), default=0, since=10),
            "dilations": Attribute(ONES, since=10),
            # In which order the second output counts, which is not read.
            "storage_order": Attribute(exactly(0, 1), default=0, since=8),
        },
        translate=max_pool,
    ),
}
