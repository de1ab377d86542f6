"""Convolutions."""

from dataclasses import dataclass
from math import prod

from torch import Tensor

from evaluators.network.affine import Adjoint, Convolution
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators.builder import (
    MAX_WINDOWS,
    Builder,
    Operator,
    OperatorError,
    pad_positions,
    rearrange,
    require_size,
    tensor,
)
from evaluators.onnx.operators.declaration import (
    VALUE,
    Attribute,
    Declaration,
    exactly,
    weights,
    whole,
    wholes,
)


@dataclass(frozen=True)
class Window:
    """Where the windows of an operator lie, each list by spatial dimension."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def symmetric(self) -> bool:
        """Tell whether the padding is alike at the beginning and at the end."""
        return self.begin == self.end


AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def window_attributes(*auto_pads: str) -> dict[str, Attribute]:
    """Declare the attributes that all window operators have."""
    return {
        "auto_pad": Attribute(exactly(*auto_pads), default="NOTSET"),
        "kernel_shape": Attribute(wholes(1)),
        "pads": Attribute(wholes(0)),
        "strides": Attribute(wholes(1)),
    }


def window_of(operator: Operator, shape: Shape, kernel: tuple[int, ...]) -> Window:
    """Read the windows of an operator on a value, with `auto_pad` resolved."""
    spatial = len(shape) - 1
    if len(kernel) != spatial or spatial not in (1, 2):
        raise OperatorError(f"a {len(kernel)}-dimensional kernel on an input of {shape}")
    strides = _numbers(operator, "strides", spatial, 1)
    dilations = _numbers(operator, "dilations", spatial, 1)
    mode = operator.attributes["auto_pad"]
    if mode == "NOTSET":
        pads = _numbers(operator, "pads", 2 * spatial, 0)
        return Window(kernel, strides, dilations, pads[:spatial], pads[spatial:])
    # Which of the two runtimes follow, and whether they reckon with dilations, differs.
    if operator.attributes["pads"] is not None:
        raise OperatorError("it has pads and auto_pad; one of them is enough")
    if mode != "VALID" and (set(dilations) != {1} or operator.attributes.get("ceil_mode")):
        raise OperatorError(f"auto_pad {mode} does not go with dilations or ceil_mode")
    totals = [
        0 if mode == "VALID" else max((-(-size // stride) - 1) * stride + width - size, 0)
        for size, width, stride in zip(shape[1:], kernel, strides, strict=True)
    ]
    small = tuple(total // 2 for total in totals)
    large = tuple(total - total // 2 for total in totals)
    sides = (large, small) if mode == "SAME_LOWER" else (small, large)
    return Window(kernel, strides, dilations, *sides)


def _numbers(operator: Operator, name: str, count: int, default: int) -> tuple[int, ...]:
    given = operator.attributes.get(name)
    numbers = (default,) * count if given is None else tuple(int(number) for number in given)
    if len(numbers) != count:
        raise OperatorError(f"its {name} {list(numbers)} are not {count}")
    return numbers


def padded(
    builder: Builder, operator: Operator, window: Window
) -> tuple[int, Shape, tuple[int, ...]]:
    """Make asymmetric padding explicit; return source, shape, and the padding that is left."""
    source, shape = builder.source(operator)
    if window.symmetric:
        return source, shape, window.begin
    pads = [(0, 0), *zip(window.begin, window.end, strict=True)]
    positions = pad_positions(builder.positions(shape), pads)
    source = builder.affine(rearrange(shape, positions), source, operator.name)
    return source, tuple(positions.shape), (0,) * len(window.kernel)


def _kernel(operator: Operator, weight: Tensor) -> tuple[int, ...]:
    kernel, given = tuple(weight.shape[2:]), operator.attributes["kernel_shape"]
    if given is not None and tuple(given) != kernel:
        raise OperatorError(f"its kernel_shape {list(given)} is not its weight's {kernel}")
    if min(weight.shape) < 1:
        raise OperatorError(f"its weight has shape {tuple(weight.shape)}")
    return kernel


def _shift(bias: Array | None, channels: int, spatial: int) -> Tensor | None:
    if bias is None:
        return None
    if bias.shape != (channels,):
        raise OperatorError(f"its bias has shape {bias.shape}, not ({channels},)")
    return tensor(bias).reshape(-1, *[1] * spatial)


def conv(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    weight = tensor(builder.constant(operator, 1, "weight"))
    window = window_of(operator, shape, _kernel(operator, weight))
    shift = _shift(builder.optional(operator, 2), weight.shape[0], len(window.kernel))
    source, wide, padding = padded(builder, operator, window)
    groups = int(operator.attributes["group"])
    convolution = convolution_map(window, wide, weight, shift, padding, groups)
    return builder.affine(convolution, source, operator.name)


def convolution_map(
    window: Window, shape: Shape, weight: Tensor, shift: Tensor | None, padding: Shape, groups: int
) -> Convolution:
    """Make the convolution of an ONNX Conv or AveragePool, with its output shape."""
    if shape[0] != weight.shape[1] * groups:
        raise OperatorError(f"its kernel takes {weight.shape[1] * groups} channels, not {shape[0]}")
    sizes = tuple(
        (size + 2 * pad - d * (kernel - 1) - 1) // s + 1
        for size, pad, d, kernel, s in zip(
            shape[1:], padding, window.dilations, window.kernel, window.strides, strict=True
        )
    )
    if min(sizes) < 1:
        raise OperatorError(f"its kernel is larger than its input of shape {shape}")
    if weight.shape[0] % groups:
        raise OperatorError(f"{weight.shape[0]} channels do not divide into {groups} groups")
    require_size(prod(sizes) * prod(weight.shape[1:]), MAX_WINDOWS)
    out = (weight.shape[0], *sizes)
    return Convolution(shape, out, shift, weight, window.strides, padding, window.dilations, groups)


_CONVOLUTION = {"dilations": Attribute(wholes(1)), "group": Attribute(whole(1), default=1)}


def conv_transpose(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    weight = tensor(builder.constant(operator, 1, "weight"))
    window = window_of(operator, shape, _kernel(operator, weight))
    extra = _numbers(operator, "output_padding", len(window.kernel), 0)
    if not window.symmetric:
        raise OperatorError("its padding is not symmetric")
    if any(more >= stride for more, stride in zip(extra, window.strides, strict=True)):
        raise OperatorError(f"its output_padding {extra} is not below {window.strides}")
    groups = int(operator.attributes["group"])
    layout = window.strides, window.begin, window.dilations, window.kernel
    sizes = [
        (size - 1) * s - 2 * pad + d * (kernel - 1) + 1 + more
        for size, s, pad, d, kernel, more in zip(shape[1:], *layout, extra, strict=True)
    ]
    if weight.shape[0] != shape[0] or weight.shape[0] % groups:
        raise OperatorError(f"its kernel takes {weight.shape[0]} channels, not {shape[0]}")
    if min(sizes) < 1:
        raise OperatorError(f"its padding leaves sizes of {sizes}")
    require_size(prod(shape[1:]) * prod(weight.shape[1:]), MAX_WINDOWS)
    out = (weight.shape[1] * groups, *sizes)
    inner = Convolution(
        out, shape, None, weight, window.strides, window.begin, window.dilations, groups
    )
    shift = _shift(builder.optional(operator, 2), out[0], len(window.kernel))
    return builder.affine(Adjoint(shape, out, shift, inner), source, operator.name)


OPERATORS: dict[str, Declaration] = {
    "Conv": Declaration(
        versions=(1, 11, 22),
        inputs=(VALUE, weights("weight", 3, 4), weights("bias", 1)),
        attributes={**window_attributes(*AUTO_PADS), **_CONVOLUTION},
        translate=conv,
    ),
    "ConvTranspose": Declaration(
        versions=(1, 11, 22),
        inputs=(VALUE, weights("weight", 3, 4), weights("bias", 1)),
        attributes={
            **window_attributes("NOTSET"),
            **_CONVOLUTION,
            "output_padding": Attribute(wholes(0)),
        },
        translate=conv_transpose,
    ),
}
