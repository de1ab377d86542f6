"""Averages and maxima over windows."""

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from evaluators.network.network import MaxPool
from evaluators.numerics.arrays import Shape
from evaluators.onnx.operators.builder import (
    MAX_WINDOWS,
    Builder,
    Operator,
    OperatorError,
    pad_positions,
    require_size,
)
from evaluators.onnx.operators.declaration import Attribute, Declaration, exactly, wholes
from evaluators.onnx.operators.maxima import largest
from evaluators.onnx.operators.windows import (
    AUTO_PADS,
    Window,
    WindowLayer,
    convolved,
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


def _counts(window: Window, shape: Shape, *, ceil: bool) -> list[int]:
    """How many windows each dimension has; a last, partial one begins within it, or in padding."""
    layout = (window.begin, window.end, window.kernel, window.strides, window.dilations)
    counts = []
    for size, before, behind, kernel, step, apart in zip(shape[1:], *layout, strict=True):
        room = size + before + behind - apart * (kernel - 1) - 1
        if room < 0:
            raise OperatorError(f"its kernel is larger than its input of shape {shape}")
        count = (-(-room // step) if ceil else room // step) + 1
        counts.append(count - int((count - 1) * step >= size + before))
    return counts


def average_pool(builder: Builder, operator: Operator) -> int:
    """The mean of what a window holds of its input, or of its padding, too, as zeros."""
    _, shape = builder.source(operator)
    window, counted = _pooled(builder, operator), bool(operator.attributes["count_include_pad"])
    counts = _counts(window, shape, ceil=bool(operator.attributes.get("ceil_mode")))
    # A last, partial window reaches beyond the padding, where nothing is counted.
    layout = (counts, window.begin, window.end, window.kernel, window.strides, window.dilations)
    beyond = [
        max((count - 1) * step + apart * (kernel - 1) + 1 - size - before - behind, 0)
        for size, count, before, behind, kernel, step, apart in zip(shape[1:], *layout, strict=True)
    ]
    ends = tuple(end + more for end, more in zip(window.end, beyond, strict=True))
    window = replace(window, end=ends)
    source, wide, padding = padded(builder, operator, window)
    whole = not any(beyond) and (counted or not any((*window.begin, *ends)))
    share = 1.0 / prod(window.kernel) if whole else 1.0
    require_size(shape[0] * prod(window.kernel))
    weight = torch.full((shape[0], 1, *window.kernel), share, dtype=torch.float64)
    layer = WindowLayer(window, wide, weight, padding, shape[0], rounded=True)
    position = convolved(builder, source, operator, layer, None)
    if whole:
        return position
    inside = torch.ones(1, *shape, dtype=torch.float64)
    around = [(b, e - more) for b, e, more in zip(window.begin, ends, beyond, strict=True)]
    inside = _widened(inside, around, float(counted))
    inside = _widened(inside, [(0, more) for more in beyond], 0.0)
    none = (0,) * len(counts)
    number = replace(layer, shape=tuple(inside.shape[1:]), padding=none).apply(inside)
    if float(number.min()) < 1:
        raise OperatorError("a window of it lies in the padding")
    return builder.diagonal(position, operator.name, scale=1.0 / number, roundings=1)


def _widened(x: Tensor, pads: list[tuple[int, int]], value: float) -> Tensor:
    flat = [amount for pair in reversed(pads) for amount in pair]
    return torch.nn.functional.pad(x, flat, value=value)


def max_pool(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    window = _pooled(builder, operator)
    ceil = bool(operator.attributes.get("ceil_mode"))
    counts = _counts(window, shape, ceil=ceil)
    require_size(shape[0] * prod(counts) * prod(window.kernel), MAX_WINDOWS)
    kernel, strides, begin = window.kernel, window.strides, window.begin
    plain = len(kernel) == 2 and window.symmetric and set(window.dilations) == {1}
    if not plain or any(2 * pad > size for pad, size in zip(begin, kernel, strict=True)):
        return largest(builder, source, _windows(builder, window, shape, counts), operator)
    pool = MaxPool(
        shape, (kernel[0], kernel[1]), (strides[0], strides[1]), (begin[0], begin[1]), ceil
    )
    return builder.add(pool, [source], pool.output_shape, operator.name)


def _windows(builder: Builder, window: Window, shape: Shape, counts: list[int]) -> Tensor:
    """Flat positions that each window sees, `[kernel, channels, *counts]`; -1 is padding."""
    layout = (counts, window.begin, window.kernel, window.strides, window.dilations)
    pads, reaches = [(0, 0)], []
    for size, count, before, kernel, step, apart in zip(shape[1:], *layout, strict=True):
        reach = apart * (kernel - 1) + 1
        pads.append((before, max((count - 1) * step + reach - size - before, 0)))
        reaches.append(reach)
    places = pad_positions(builder.positions(shape), pads)
    for axis, (reach, step, count) in enumerate(
        zip(reaches, window.strides, counts, strict=True), start=1
    ):
        places = places.unfold(axis, reach, step).narrow(axis, 0, count)
    for axis, apart in enumerate(window.dilations):
        at = 1 + len(counts) + axis
        places = places.index_select(at, torch.arange(0, places.shape[at], apart))
    return places.flatten(1 + len(counts)).movedim(-1, 0)


OPERATORS: dict[str, Declaration] = {
    "AveragePool": Declaration(
        versions=(7, 10, 11, 19, 22),
        attributes={
            **window_attributes(*AUTO_PADS),
            "ceil_mode": Attribute(exactly(0, 1), default=0, since=10),
            "count_include_pad": Attribute(exactly(0, 1), default=0),
            "dilations": Attribute(wholes(1), since=19),
        },
        translate=average_pool,
    ),
    "MaxPool": Declaration(
        versions=(1, 8, 10, 11, 12, 22),
        attributes={
            **window_attributes(*AUTO_PADS),
            "ceil_mode": Attribute(exactly(0, 1), default=0, since=10),
            "dilations": Attribute(wholes(1), since=10),
            # In which order the second output counts, which is not read.
            "storage_order": Attribute(exactly(0, 1), default=0, since=8),
        },
        translate=max_pool,
        idle=1,
    ),
}
