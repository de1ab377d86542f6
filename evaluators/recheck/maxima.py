"""Largest and smallest entries, as the checker reads them: a + relu(b - a), pair by pair."""

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used

from evaluators.recheck.claim import Step, affine
from evaluators.recheck.clamps import cut
from evaluators.recheck.graph import (
    FLOAT,
    Array,
    Graph,
    Node,
    Shape,
    Value,
    axis_of,
    columns,
    need,
    reduced,
)
from evaluators.recheck.windows import pooled

MAX_SORTED = 32


def largest(graph: Graph, value: Value, places: Array, shape: Shape) -> Value:
    """The largest of the places of each window, `[windows, size]`; -1 is none.

    Windows in a row, and again and again the larger of every pair.
    """
    inside = places >= 0
    sizes = inside.sum(1)
    need(sizes.min() > 0, "a window without an entry")
    graph.spend(16 * int(sizes.sum()))
    steps, entries = graph.steps, scipy.sparse.identity(graph.steps[value.step].size, format="csr")
    steps.append(affine((value.step,), entries[places[inside]]))
    while sizes.max() > 1:
        x, unit = len(steps) - 1, scipy.sparse.identity(sizes.sum(), format="csr")
        place = np.concatenate([np.arange(size) for size in sizes])
        even, paired = place % 2 == 0, place + 1 < np.repeat(sizes, sizes)
        first, own, other = unit[even], unit[even & paired], unit[np.roll(even & paired, 1)]
        steps += [affine((x,), first), affine((x,), other - own)]
        steps += [Step(own.shape[0], (x + 2,), leak=0.0), affine((x + 3,), first @ own.T)]
        steps.append(affine((x + 1, x + 4), first @ first.T))
        sizes = (sizes + 1) // 2
    return Value(len(steps) - 1, np.arange(len(sizes)).reshape(shape))


def _smallest(graph: Graph, value: Value, places: Array, shape: Shape) -> Value:
    return graph.scaled(largest(graph, graph.scaled(value, -1.0), places, shape), -1.0)


def max_pool(graph: Graph, node: Node) -> Value:
    """Windows of any kind; but for two dimensions and even pads, padding repeats an entry."""
    value = graph.settle(node.value())
    frame = pooled(node, value)
    ceil = node.opset >= 10 and node.flag("ceil_mode")
    if node.opset >= 8:
        node.flag("storage_order")  # of the second output
    outputs = frame.outputs(value.shape[2:], ceil=ceil)
    places = frame.windows(graph, value.shape[1:], outputs).reshape(-1, np.prod(frame.kernel))
    plain = len(outputs) == 2 and frame.begin == frame.end and set(frame.dilations) == {1}
    halves = zip(frame.begin, frame.kernel, strict=True)
    if not (plain and all(2 * pad <= size for pad, size in halves)):
        first = np.take_along_axis(places, (places >= 0).argmax(1)[:, None], 1)
        places = np.where(places < 0, first, places)
    return largest(graph, value, places, (1, value.shape[1], *outputs))


def reduce_extreme(graph: Graph, node: Node) -> Value:
    """ReduceMax and ReduceMin."""
    value = graph.settle(node.value())
    places, shape = columns(value, *reduced(node, value, 18))
    pick = largest if node.kind == "ReduceMax" else _smallest
    return pick(graph, value, places.reshape(-1, places.shape[-1]), shape)


def global_max_pool(graph: Graph, node: Node) -> Value:
    """The largest of each channel."""
    value = graph.settle(node.value())
    places, shape = columns(value, list(range(2, value.places.ndim)), keep=True)
    return largest(graph, value, places.reshape(-1, places.shape[-1]), shape)


def _stacked(graph: Graph, values: list[Value]) -> Value:
    """Tensors of one shape, one after another, `[count, *shape]`."""
    parts, whole = [], (len(values), *values[0].shape)
    for at, value in enumerate(values):
        places = np.full(whole, -1)
        places[at] = value.places
        parts.append(Value(value.step, places))
    graph.spend(len(values) * parts[0].places.size)
    return graph.settle(graph.total(parts, whole))


def extreme(graph: Graph, node: Node) -> Value:
    """Max and Min of tensors, then of constants."""
    inputs = [node.take(place) for place in range(len(node.inputs))]
    shape = np.broadcast_shapes(*(found.shape for found in inputs))
    values = list(dict.fromkeys(found for found in inputs if isinstance(found, Value)))
    need(values, "constants alone")
    value, sign = graph.broadcast(values[0], shape), 1.0 if node.kind == "Max" else -1.0
    if len(values) > 1:
        wide = [graph.broadcast(found, shape) for found in values]
        stacked = _stacked(
            graph, [found if sign > 0 else graph.scaled(found, -1.0) for found in wide]
        )
        found = largest(graph, stacked, stacked.places.reshape(len(wide), -1).T, shape)
        value = found if sign > 0 else graph.scaled(found, -1.0)
    for place, found in enumerate(inputs):
        if not isinstance(found, Value):
            value = cut(graph, value, node.constant(place, FLOAT).astype(np.float64), sign)
    return value


def top_k(graph: Graph, node: Node) -> Value:
    """The first entries along an axis in order: neighbours are compared, even and odd in turn."""
    value = node.value()
    (count,) = [node.attribute("k", "INT")] if node.opset < 10 else node.numbers("k", 1, 0) or [0]
    axis = axis_of(node.attribute("axis", "INT", -1), value.places.ndim)
    falling = node.opset < 11 or node.flag("largest", 1)
    need(node.opset < 11 or node.flag("sorted", 1), "an order that is not said")
    size = value.shape[axis]
    need(axis > 0 and 1 <= count <= size <= MAX_SORTED, f"{count} of {size} in order")
    value = Value(value.step, np.moveaxis(value.places, axis, 0))
    for turn in range(size if size > 2 else size - 1):
        value = _compared(graph, graph.settle(value), turn % 2, falling=falling)
    return Value(value.step, np.moveaxis(value.places[:count], 0, axis))


def _compared(graph: Graph, value: Value, first: int, *, falling: bool) -> Value:
    places, shape = value.places, value.shape
    last = first + (shape[0] - first) // 2 * 2
    pairs = np.stack([places[first:last:2].reshape(-1), places[first + 1 : last : 2].reshape(-1)])
    half = (last - first) // 2
    found = [pick(graph, value, pairs.T, (half, *shape[1:])) for pick in (largest, _smallest)]
    ends = Value(value.step, places.copy())
    ends.places[first:last] = -1
    parts = [ends]
    for side, won in enumerate(found if falling else found[::-1]):
        laid = np.full(shape, -1)
        laid[first + side : last : 2] = won.places
        parts.append(Value(won.step, laid))
    graph.spend(4 * places.size)
    return graph.total(parts, shape)
