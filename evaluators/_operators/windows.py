"""Convolutions and pooling."""

from math import prod

import torch
from torch import Tensor

from evaluators._operators.builder import (
    MAX_WINDOWS,
    Array,
    Builder,
    Operator,
    OperatorProblemError,
    pad_places,
    rearrange,
    require_size,
    set_output,
    tensor,
)
from evaluators.affine import Adjoint, Convolution, Diagonal, Shape
from evaluators.network import MaxPool


def _padded(builder: Builder, operator: Operator, source: int, shape: Shape) -> tuple[int, Shape]:
    """The source with a window operator's asymmetric padding made explicit; shape after it."""
    begin, end = window_pads(operator, shape)
    if begin == end:
        return source, shape
    pads = [(0, 0), *zip(begin, end, strict=True)]
    places = pad_places(builder.places(shape), pads)
    source = builder.affine(rearrange(shape, places), source, operator.name)
    return source, tuple(places.shape)


def window_pads(operator: Operator, shape: Shape) -> tuple[list[int], list[int]]:
    """Padding at the beginning and end of each spatial dimension, `auto_pad` resolved."""
    spatial = len(shape) - 1
    mode = operator.attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = [int(pad) for pad in operator.attributes.get("pads", [0] * 2 * spatial)]
        return pads[:spatial], pads[spatial:]
    if mode == "VALID":
        return [0] * spatial, [0] * spatial
    kernel = operator.attributes["kernel_shape"]
    strides = operator.attributes.get("strides", [1] * spatial)
    dilations = operator.attributes.get("dilations", [1] * spatial)
    begin, end = [], []
    for size, width, stride, dilation in zip(shape[1:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + dilation * (width - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return begin, end


def conv(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    weight = tensor(builder.constant(operator, 1, "weight"))
    spatial = weight.ndim - 2
    if spatial not in (1, 2) or len(shape) != spatial + 1:
        raise OperatorProblemError(f"a {spatial}-dimensional kernel on an input of shape {shape}")
    operator.attributes.setdefault("kernel_shape", list(weight.shape[2:]))
    begin, _ = window_pads(operator, shape)
    source, wide = _padded(builder, operator, source, shape)
    padding = tuple(begin) if wide == shape else (0,) * spatial
    convolution = convolution_map(operator, wide, weight, builder.optional(operator, 2), padding)
    set_output(builder, operator, builder.affine(convolution, source, operator.name))


def convolution_map(
    operator: Operator, shape: Shape, weight: Tensor, bias: Array | None, padding: Shape
) -> Convolution:
    """The convolution of an ONNX Conv or AveragePool with its output shape worked out."""
    spatial = weight.ndim - 2
    ones = [1] * spatial
    stride = tuple(int(s) for s in operator.attributes.get("strides", ones))
    dilation = tuple(int(d) for d in operator.attributes.get("dilations", ones))
    groups = int(operator.attributes.get("group", 1))
    if shape[0] != weight.shape[1] * groups:
        raise OperatorProblemError(
            f"its kernel takes {weight.shape[1] * groups} channels, not {shape[0]}"
        )
    sizes = tuple(
        (size + 2 * pad - d * (kernel - 1) - 1) // s + 1
        for size, pad, d, kernel, s in zip(
            shape[1:], padding, dilation, weight.shape[2:], stride, strict=True
        )
    )
    if min(sizes) < 1:
        raise OperatorProblemError(f"its kernel is larger than its input of shape {shape}")
    if weight.shape[0] % groups:
        raise OperatorProblemError(f"{weight.shape[0]} channels do not divide into {groups} groups")
    require_size(prod(sizes) * prod(weight.shape[1:]), MAX_WINDOWS)
    shift = None if bias is None else tensor(bias).reshape(-1, *ones)
    out = (weight.shape[0], *sizes)
    return Convolution(shape, out, shift, weight, stride, padding, dilation, groups)


def conv_transpose(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    weight = tensor(builder.constant(operator, 1, "weight"))
    spatial = weight.ndim - 2
    if operator.attributes.get("auto_pad", "NOTSET") != "NOTSET" or spatial not in (1, 2):
        raise OperatorProblemError("only one or two dimensions and explicit pads are supported")
    begin, end = window_pads(operator, shape)
    ones = [1] * spatial
    stride = tuple(int(s) for s in operator.attributes.get("strides", ones))
    dilation = tuple(int(d) for d in operator.attributes.get("dilations", ones))
    extra = operator.attributes.get("output_padding", [0] * spatial)
    if begin != end:
        raise OperatorProblemError("its padding is not symmetric")
    groups = int(operator.attributes.get("group", 1))
    sizes = [
        (size - 1) * s - 2 * pad + d * (kernel - 1) + 1 + more
        for size, s, pad, d, kernel, more in zip(
            shape[1:], stride, begin, dilation, weight.shape[2:], extra, strict=True
        )
    ]
    if weight.shape[0] != shape[0] or weight.shape[0] % groups:
        raise OperatorProblemError(f"its kernel takes {weight.shape[0]} channels, not {shape[0]}")
    require_size(prod(shape[1:]) * prod(weight.shape[1:]), MAX_WINDOWS)
    out = (weight.shape[1] * groups, *sizes)
    inner = Convolution(out, shape, None, weight, stride, tuple(begin), dilation, groups)
    bias = builder.optional(operator, 2)
    shift = None if bias is None else tensor(bias).reshape(-1, *ones)
    set_output(
        builder, operator, builder.affine(Adjoint(shape, out, shift, inner), source, operator.name)
    )


def average_pool(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    kernel = [int(size) for size in operator.attributes.get("kernel_shape", shape[1:])]
    operator.attributes["kernel_shape"] = kernel
    if operator.attributes.get("ceil_mode", 0) or len(kernel) > 2:
        raise OperatorProblemError("ceil_mode and three dimensions are not supported")
    begin, _ = window_pads(operator, shape)
    source, wide = _padded(builder, operator, source, shape)
    padding = tuple(begin) if wide == shape else (0,) * len(kernel)
    counts_padding = bool(operator.attributes.get("count_include_pad", 0)) or not any(begin)
    if wide != shape and not operator.attributes.get("count_include_pad", 0):
        raise OperatorProblemError("asymmetric padding that is not counted is not supported")
    operator.attributes["group"] = shape[0]
    share = 1.0 / prod(kernel) if counts_padding else 1.0
    require_size(shape[0] * prod(kernel))
    weight = torch.full((shape[0], 1, *kernel), share, dtype=torch.float64)
    pool = convolution_map(operator, wide, weight, None, padding)
    pool = Convolution(**{**vars(pool), "rounded": True})
    position = builder.affine(pool, source, operator.name)
    if not counts_padding:
        seen = pool.linear(torch.ones(1, *wide, dtype=torch.float64))[0]
        scale = Diagonal(pool.output_shape, pool.output_shape, None, 1.0 / seen, 1)
        position = builder.affine(scale, position, operator.name)
    set_output(builder, operator, position)


def max_pool(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    kernel = operator.attributes["kernel_shape"]
    begin, end = window_pads(operator, shape)
    dilated = any(d != 1 for d in operator.attributes.get("dilations", []))
    if len(kernel) != 2 or begin != end or dilated or len(operator.outputs) > 1:
        raise OperatorProblemError("only two dimensions, symmetric pads and no dilation")
    if any(2 * pad > size for pad, size in zip(begin, kernel, strict=True)):
        raise OperatorProblemError("its padding is larger than half its kernel")
    strides = [int(stride) for stride in operator.attributes.get("strides", [1, 1])]
    sizes = [
        # One more for a last, partial window; exactly how many is worked out by the pool itself.
        (size + 2 * pad - wide) // stride + 2
        for size, pad, wide, stride in zip(shape[1:], begin, kernel, strides, strict=True)
    ]
    require_size(shape[0] * prod(sizes) * prod(kernel), MAX_WINDOWS)
    pool = MaxPool(
        shape,
        (int(kernel[0]), int(kernel[1])),
        (int(strides[0]), int(strides[1])),
        (begin[0], begin[1]),
        bool(operator.attributes.get("ceil_mode")),
    )
    set_output(builder, operator, builder.add(pool, [source], pool.output_shape, operator.name))
