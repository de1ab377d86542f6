"""What convolutions and pools mean to the checker: windows as arrays of positions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from evaluators.recheck.claim import affine
from evaluators.recheck.graph import Array, Graph, Node, Shape, Value, need


@dataclass(frozen=True)
class Frame:
    """How windows lie, in each dimension behind the channels."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]

    @classmethod
    def of(cls, node: Node, sizes: Shape, kernel: Sequence[int] | None = None) -> "Frame":
        """As an operator's attributes say; the kernel is given where a weight says it, too."""
        rank = len(sizes)
        need(rank in (1, 2), f"{rank} dimensions of windows")
        said = node.attribute("kernel_shape", "INTS", kernel)
        need(said is not None and kernel in (None, said), "kernel_shape unlike its weight's")
        strides = node.attribute("strides", "INTS", [1] * rank)
        dilations = node.attribute("dilations", "INTS", [1] * rank)
        mode, pads = node.attribute("auto_pad", "STRING", "NOTSET"), [0] * 2 * rank
        if mode == "NOTSET":
            pads = node.attribute("pads", "INTS", pads)
        elif mode != "VALID":
            need(mode in ("SAME_UPPER", "SAME_LOWER"), f"auto_pad {ascii(mode)[:20]}")
            need(set(dilations) == {1} and len(said) == len(strides) == rank, f"{mode} so used")
            pads = cls._same(mode, sizes, said, strides)
        lists = (said, strides, dilations, pads[:rank], pads[rank:])
        need(all(len(numbers) == rank for numbers in lists), "windows of other dimensions")
        need(min(*said, *strides, *dilations) > 0 <= min(pads), "windows of no size, or cut off")
        return cls(*map(list, lists))

    @staticmethod
    def _same(mode: str, sizes: Shape, kernel: list[int], strides: list[int]) -> list[int]:
        totals = [
            (-(-n // s) - 1) * s + k - n for n, k, s in zip(sizes, kernel, strides, strict=True)
        ]
        need(min(totals) >= 0, f"{mode} with strides larger than its kernel")
        small = [total // 2 for total in totals]
        large = [total - less for total, less in zip(totals, small, strict=True)]
        return small + large if mode == "SAME_UPPER" else large + small

    def spans(self) -> list[int]:
        """Entries from a window's first to its last."""
        return [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True)]

    def outputs(self, sizes: Shape, *, ceil: bool = False) -> Shape:
        """How many windows there are; with `ceil`, a last one that is partly outside counts."""
        found = []
        for n, b, e, span, s in zip(
            sizes, self.begin, self.end, self.spans(), self.strides, strict=True
        ):
            room = n + b + e - span
            need(room >= 0, "a window larger than its input")
            count = (-(-room // s) if ceil else room // s) + 1
            need(not ceil or (count - 1) * s < n + b, "a last window that begins outside")
            found.append(count)
        return tuple(found)

    def windows(self, graph: Graph, shape: Shape, outputs: Shape) -> Array:
        """Flat positions that windows see, `[channels, *outputs, *kernel]`; -1 is padding."""
        size, rank = prod(shape), len(outputs)
        lasts = [
            (o - 1) * s + span
            for o, s, span in zip(outputs, self.strides, self.spans(), strict=True)
        ]
        ends = [last - n - b for last, n, b in zip(lasts, shape[1:], self.begin, strict=True)]
        pads = [(b, max(e, 0)) for b, e in zip(self.begin, ends, strict=True)]
        graph.spend(shape[0] * prod(n + b + e for n, (b, e) in zip(shape[1:], pads, strict=True)))
        graph.spend(shape[0] * prod(outputs) * prod(self.kernel))
        places = np.arange(size).reshape(shape)
        places = np.pad(places, ((0, 0), *pads), constant_values=-1)
        for axis in reversed(range(rank)):
            first = np.arange(outputs[axis])[:, None] * self.strides[axis]
            index = first + np.arange(self.kernel[axis]) * self.dilations[axis]
            places = np.take(places, index, axis=1 + axis)
        return places.transpose(0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2))


def _convolution(
    graph: Graph, groups: int, shape: Shape, weight: Array, outputs: Shape, frame: Frame
) -> tuple[Array, Array]:
    """Columns `[groups, outputs, terms]`, weights `[groups, channels of each, terms]`."""
    fits = groups > 0 == len(weight) % groups and weight.shape[1] * groups == shape[0]
    need(fits, f"a kernel of shape {weight.shape} for an input of {shape}")
    rank, places = len(outputs), frame.windows(graph, shape, outputs)
    places = np.moveaxis(places, 0, rank).reshape(prod(outputs), groups, -1)
    return places.transpose(1, 0, 2), weight.reshape(groups, len(weight) // groups, -1)


def conv(graph: Graph, node: Node) -> Value:
    value, weight = graph.settle(node.value()), node.constant(1)
    frame = Frame.of(node, value.shape[2:], list(weight.shape[2:]))
    outputs = frame.outputs(value.shape[2:])
    groups = node.attribute("group", "INT", 1)
    columns, weights = _convolution(graph, groups, value.shape[1:], weight, outputs, frame)
    shape = (1, len(weight), *outputs)
    return graph.repeated(value, columns, weights, shape, _bias(node, len(weight), len(outputs)))


def _bias(node: Node, channels: int, rank: int) -> Array:
    if node.take(2) is None:
        return np.zeros(1)
    bias = node.constant(2).astype(np.float64)
    need(bias.shape == (channels,), f"bias of shape {bias.shape}")
    return bias.reshape(-1, *[1] * rank)


def conv_transpose(graph: Graph, node: Node) -> Value:
    """The transpose of the convolution that maps its output's shape to its input's."""
    value, weight = graph.settle(node.value()), node.constant(1)
    sizes, groups = value.shape[2:], node.attribute("group", "INT", 1)
    need(node.attribute("auto_pad", "STRING", "NOTSET") == "NOTSET", "auto_pad")
    frame = Frame.of(node, sizes, list(weight.shape[2:]))
    extra = node.attribute("output_padding", "INTS", [0] * len(sizes))
    fits = [0 <= more < s for more, s in zip(extra, frame.strides, strict=True)]
    need(all(fits), "output_padding as large as its stride")
    rows = zip(sizes, frame.strides, frame.spans(), frame.begin, frame.end, extra, strict=True)
    wide = tuple((n - 1) * s + span - b - e + more for n, s, span, b, e, more in rows)
    shape = (weight.shape[1] * groups, *wide)
    need(min(shape) > 0 and len(weight) == value.shape[1], f"a kernel of shape {weight.shape}")
    need(frame.outputs(wide) == sizes, f"result of shape {shape}")
    columns, weights = _convolution(graph, groups, shape, weight, sizes, frame)
    matrix = graph.matrix(columns[:, None], weights[:, :, None], prod(shape))
    bias = np.broadcast_to(_bias(node, shape[0], len(sizes)), shape).reshape(-1)
    return graph.add(affine((value.step,), matrix.T, bias), (1, *shape))


def pooled(node: Node, value: Value) -> Frame:
    """The windows of a pool, in each of which something lies."""
    frame = Frame.of(node, value.shape[2:])
    pads = map(max, frame.begin, frame.end)
    inside = all(pad < size for pad, size in zip(pads, frame.kernel, strict=True))
    need(inside, "pads as large as its kernel")
    return frame


def average_pool(graph: Graph, node: Node) -> Value:
    """The mean of what a window holds of its input, or of padding as zeros, too."""
    value = graph.settle(node.value())
    frame, counted = pooled(node, value), node.flag("count_include_pad")
    outputs = frame.outputs(value.shape[2:], ceil=node.opset >= 10 and node.flag("ceil_mode"))
    places = frame.windows(graph, value.shape[1:], outputs)
    places = places.reshape(*places.shape[: 1 + len(outputs)], -1)
    room = value.shape[1:]
    if counted:
        pads = zip(room[1:], frame.begin, frame.end, strict=True)
        room = (1, *(size + b + e for size, b, e in pads))
        frame = replace(frame, begin=[0] * len(outputs), end=[0] * len(outputs))
    seen = frame.windows(graph, (1, *room[1:]), outputs) >= 0
    seen = seen.reshape(1, *outputs, -1).sum(-1, keepdims=True)
    need(seen.min() > 0, "a window without an entry")
    return graph.linear(value, places, 1.0 / seen, (1, *places.shape[:-1]), 0.0, 1)
