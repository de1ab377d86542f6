"""Convolutions whose weight is computed: of the input, or of constants that are not worked out.

Each entry of the result is a sum of products, as of two matrices; a weight that is standardised in
the file is computed by nodes, since another run may round it otherwise.
"""

from math import prod

from torch import Tensor

from evaluators.network.affine import Reshape
from evaluators.network.network import Product
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    pad_positions,
    require_size,
    tensor,
)
from evaluators.onnx.operators.contractions import picked, sum_of_last
from evaluators.onnx.operators.declaration import (
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    whole,
    wholes,
)
from evaluators.onnx.operators.windows import AUTO_PADS, conv, window_attributes, window_of


def convolution(builder: Builder, operator: Operator) -> int:
    """Conv, with a constant weight and bias or with others."""
    if not any(name in builder.values for name in operator.inputs[1:]):
        return conv(builder, operator)
    name, (source, shape) = operator.name, builder.source(operator)
    if builder.is_bare(operator.inputs[0]):
        raise OperatorError("its input has no batch dimension, and its weight is computed")
    if operator.inputs[1] in builder.constants:
        raise OperatorError("its bias is computed, and its weight is not: add the bias behind it")
    weight = builder.whole_shape(operator.inputs[1])
    groups, given = int(operator.attributes["group"]), operator.attributes["kernel_shape"]
    fits = len(weight) == len(shape) + 1 and weight[1] * groups == shape[0]
    if not fits or weight[0] % groups or tuple(given or weight[2:]) != weight[2:]:
        raise OperatorError(f"its weight has shape {weight}, its input {shape}")
    windows = _windows(operator, shape, weight[2:])
    sizes = windows.shape[1 : len(shape)]
    size, outputs = prod(weight[1:]), weight[0] // groups
    laid = (groups, outputs, *sizes, size)
    require_size(prod(laid))
    windows = windows.reshape(groups, weight[1], prod(sizes), -1).transpose(1, 2)
    windows = windows.reshape(groups, 1, *sizes, size).expand(laid)
    taps = flat_positions(weight).reshape(groups, outputs, *[1] * len(sizes), size).expand(laid)
    factors = (
        picked(builder, source, windows, name),
        picked(builder, builder.values[operator.inputs[1]], taps, name),
    )
    position = sum_of_last(builder, builder.add(Product(), factors, laid, name), name)
    made = (weight[0], *sizes)
    position = builder.affine(Reshape(laid[:-1], made, None), position, name)
    position = _with_bias(builder, operator, position)
    if not builder.is_bare(operator.inputs[1]):  # a batch may meet its outputs
        builder.moved.add(position)
    return position


def _windows(operator: Operator, shape: tuple[int, ...], kernel: tuple[int, ...]) -> Tensor:
    """Flat positions `[channels, *sizes, *kernel]` that each window sees; -1 is padding."""
    window = window_of(operator, shape, kernel)
    pads = [(0, 0), *zip(window.begin, window.end, strict=True)]
    places = pad_positions(flat_positions(shape), pads)
    for axis, (width, stride, dilation) in enumerate(
        zip(kernel, window.strides, window.dilations, strict=True), 1
    ):
        reach = dilation * (width - 1) + 1
        if reach > places.shape[axis]:
            raise OperatorError(f"its kernel is larger than its input of shape {shape}")
        places = places.unfold(axis, reach, stride)[..., ::dilation]
        require_size(places.numel())
    return places


def _with_bias(builder: Builder, operator: Operator, position: int) -> int:
    name = operator.inputs[2] if len(operator.inputs) > 2 else ""
    if not name:
        return position
    shape = builder.nodes[position].shape
    each = (shape[0], *[1] * (len(shape) - 1))
    if name in builder.constants:
        bias = tensor(builder.constants[name])
        if tuple(bias.shape) != shape[:1]:
            raise OperatorError(f"its bias has shape {tuple(bias.shape)}, not ({shape[0]},)")
        return builder.diagonal(position, operator.name, bias.reshape(each))
    if builder.whole_shape(name) != shape[:1]:
        raise OperatorError(f"its bias has shape {builder.whole_shape(name)}, not ({shape[0]},)")
    wide = flat_positions(shape[:1]).reshape(each).expand(shape)
    more = picked(builder, builder.values[name], wide, operator.name)
    return builder.total([position, more], operator.name)


OPERATORS: dict[str, Declaration] = {
    "Conv": Declaration(
        versions=(1, 11, 22),
        inputs=(
            VALUE,
            Parameter("weight", ranks=(3, 4, 5), data=True),
            Parameter("bias", ranks=(1,), data=True),
        ),
        attributes={
            **window_attributes(*AUTO_PADS),
            "dilations": Attribute(wholes(1)),
            "group": Attribute(whole(1), default=1),
        },
        translate=convolution,
    ),
}
