"""Convolutions."""

from dataclasses import dataclass, replace
from math import prod

from torch import Tensor

from evaluators.network.affine import Adjoint, Convolution, Reshape
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
    if len(kernel) != spatial or spatial not in (1, 2, 3):
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
        0 if mode == "VALID" else (-(-size // stride) - 1) * stride + width - size
        for size, width, stride in zip(shape[1:], kernel, strides, strict=True)
    ]
    # Some runtimes then begin behind the first entry, and some do not.
    if min(totals) < -1:
        raise OperatorError(f"auto_pad {mode} with strides {list(strides)} leaves entries out")
    totals = [max(total, 0) for total in totals]
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
    return convolved(
        builder, source, operator, WindowLayer(window, wide, weight, padding, groups), shift
    )


@dataclass(frozen=True)
class WindowLayer:
    """A convolution of one to three dimensions.

    Attributes:
        window: where its windows lie.
        shape: of its input, `[channels, *sizes]`.
        weight: `[outputs, channels of a group, *kernel]`.
        padding: alike at the beginning and at the end of each dimension.
        groups: how many.
        rounded: as in `Convolution`.
    """

    window: Window
    shape: Shape
    weight: Tensor
    padding: tuple[int, ...]
    groups: int
    rounded: bool = False

    @property
    def flat(self) -> Convolution:
        """The same with each plane of a volume as channels of its own, which are weighed alike."""
        if len(self.shape) < 4:
            plain = self.window, self.shape, self.weight, None, self.padding, self.groups
            return replace(convolution_map(*plain), rounded=self.rounded)
        channels, depth, *plane = self.shape
        window = self.window
        room = depth + 2 * self.padding[0] - window.dilations[0] * (window.kernel[0] - 1) - 1
        weight = planes_of(self.weight, window, depth, room // window.strides[0] + 1, self.padding)
        flat_window = Window(*(numbers[1:] for numbers in vars(window).values()))
        layer = WindowLayer(
            flat_window, (channels * depth, *plane), weight, self.padding[1:], self.groups,
            self.rounded,
        )  # fmt: skip
        return layer.flat

    def apply(self, x: Tensor) -> Tensor:
        """Compute it of one input."""
        y = self.flat.linear(x.reshape(1, *self.flat.input_shape))
        return y.reshape(self.weight.shape[0], -1, *y.shape[2:]).squeeze(
            1 if len(self.shape) < 4 else ()
        )


def planes_of(
    weight: Tensor, window: Window, depth: int, planes: int, padding: tuple[int, ...]
) -> Tensor:
    """Weights between planes of volumes, `[outputs · planes, channels · depth, *kernel]`."""
    if planes < 1:
        raise OperatorError(f"its kernel is larger than an input of {depth} planes")
    outputs, channels, taps, *kernel = weight.shape
    require_size(outputs * planes * channels * depth * prod(kernel))
    wide = weight.new_zeros(outputs, planes, channels, depth, *kernel)
    for plane in range(planes):
        for tap in range(taps):
            at = plane * window.strides[0] + tap * window.dilations[0] - padding[0]
            if 0 <= at < depth:
                wide[:, plane, :, at] = weight[:, :, tap]
    return wide.reshape(outputs * planes, channels * depth, *kernel)


def convolved(
    builder: Builder, source: int, operator: Operator, layer: WindowLayer, shift: Tensor | None
) -> int:
    """Append a convolution, and reshapes around it where it is one of volumes."""
    flat, name = layer.flat, operator.name
    if len(layer.shape) < 4:
        return builder.affine(replace(flat, bias=shift), source, name)
    outputs = layer.weight.shape[0]
    planes = flat.output_shape[0] // outputs
    source = builder.affine(Reshape(layer.shape, flat.input_shape, None), source, name)
    if shift is not None:
        shift = _of_planes(shift, planes)
    source = builder.affine(replace(flat, bias=shift), source, name)
    whole_result = (outputs, planes, *flat.output_shape[1:])
    return builder.affine(Reshape(flat.output_shape, whole_result, None), source, name)


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


def conv_transpose(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    weight = tensor(builder.constant(operator, 1, "weight"))
    window = window_of(operator, shape, _kernel(operator, weight))
    extra = _numbers(operator, "output_padding", len(window.kernel), 0)
    cuts = [(0, 0)] * len(shape)
    if not window.symmetric:  # the whole result, cut off unevenly
        cuts = [(0, 0), *((-a, -b) for a, b in zip(window.begin, window.end, strict=True))]
        window = replace(window, begin=(0,) * len(window.kernel), end=(0,) * len(window.kernel))
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
    shift = _shift(builder.optional(operator, 2), out[0], len(window.kernel))
    layer = WindowLayer(window, out, weight, window.begin, groups)
    position = _adjoint(builder, source, operator, layer, shift)
    if not any(map(any, cuts)):
        return position
    positions = pad_positions(builder.positions(out), cuts)
    return builder.affine(rearrange(out, positions), position, operator.name)


def _adjoint(
    builder: Builder, source: int, operator: Operator, layer: WindowLayer, shift: Tensor | None
) -> int:
    """Append the adjoint of a convolution from the result's shape to that of the input."""
    shape, out, name = builder.nodes[source].shape, layer.shape, operator.name
    weight, window = layer.weight, layer.window
    layout = (window.strides, window.begin, window.dilations)
    if len(shape) < 4:
        inner = Convolution(out, shape, None, weight, *layout, layer.groups)
        return builder.affine(Adjoint(shape, out, shift, inner), source, name)
    weight = planes_of(weight, window, out[1], shape[1], window.begin)
    flat_out, flat_shape = ((s[0] * s[1], *s[2:]) for s in (out, shape))
    source = builder.affine(Reshape(shape, flat_shape, None), source, name)
    layout = (window.strides[1:], window.begin[1:], window.dilations[1:])
    inner = Convolution(flat_out, flat_shape, None, weight, *layout, layer.groups)
    if shift is not None:
        shift = _of_planes(shift, out[1])
    source = builder.affine(Adjoint(flat_shape, flat_out, shift, inner), source, name)
    return builder.affine(Reshape(flat_out, out, None), source, name)


def _of_planes(shift: Tensor, planes: int) -> Tensor:
    """Repeat a channel's shift for each of its planes."""
    return shift.reshape(-1, 1, 1, 1).expand(-1, planes, 1, 1).reshape(-1, 1, 1)


OPERATORS: dict[str, Declaration] = {
    "ConvTranspose": Declaration(
        versions=(1, 11, 22),
        inputs=(VALUE, weights("weight", 3, 4, 5), weights("bias", 1)),
        attributes={
            **window_attributes("NOTSET"),
            "dilations": Attribute(wholes(1)),
            "group": Attribute(whole(1), default=1),
            "output_padding": Attribute(wholes(0)),
        },
        translate=conv_transpose,
    ),
}
