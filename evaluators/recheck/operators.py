"""What each operator of a file means to the checker, at batch size 1: the table of them all."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np

from evaluators.recheck.clamps import clip, hard_sigmoid, relu
from evaluators.recheck.copies import blocks, expand, pad, resize, tile, where
from evaluators.recheck.graph import (
    FLOAT,
    WHOLE,
    Array,
    Graph,
    Node,
    Result,
    Shape,
    Value,
    axes_of,
    axis_of,
    columns,
    need,
    reduced,
)
from evaluators.recheck.maxima import extreme, global_max_pool, max_pool, reduce_extreme, top_k
from evaluators.recheck.windows import average_pool, conv, conv_transpose


def _joined(node: Node) -> tuple[list[Result], Shape]:
    """All inputs, and the shape that they broadcast to."""
    count = {"Sum": len(node.inputs), "Neg": 1}.get(node.kind, 2)
    inputs = [node.take(place) for place in range(count)]
    need(inputs and all(found is not None for found in inputs), "an input that is left out")
    return inputs, np.broadcast_shapes(*(found.shape for found in inputs))


def add(graph: Graph, node: Node) -> Result:
    """Add, Sub, Sum: branches, then one constant after another."""
    inputs, shape = _joined(node)
    if not any(isinstance(found, Value) for found in inputs):
        return _folded(graph, node, shape)
    signs = [-1.0 if node.kind == "Sub" and place else 1.0 for place in range(len(inputs))]
    parts = []
    for sign, found in zip(signs, inputs, strict=True):
        if isinstance(found, Value):
            part = graph.broadcast(found, shape)
            parts.append(part if sign > 0 else graph.scaled(part, sign))
    value = graph.total(parts, shape)
    for place, (sign, found) in enumerate(zip(signs, inputs, strict=True)):
        if not isinstance(found, Value):
            value = graph.shifted(value, sign * node.constant(place).astype(np.float64))
    return value


def multiply(graph: Graph, node: Node) -> Result:
    """Mul and Div by a constant, and Neg."""
    inputs, shape = _joined(node)
    if not any(isinstance(found, Value) for found in inputs):
        return _folded(graph, node, shape)
    if node.kind == "Neg":
        return graph.scaled(node.value(), -1.0)
    of = 0 if node.kind == "Div" or isinstance(inputs[0], Value) else 1
    value, factor = graph.broadcast(node.value(of), shape), node.constant(1 - of).astype(np.float64)
    if node.kind == "Mul":
        return graph.scaled(value, factor)
    need((factor != 0).all(), "a division by zero")
    return graph.scaled(value, 1.0 / factor, 1)


def _folded(graph: Graph, node: Node, shape: Shape) -> Array:
    """Arithmetic of constants: of float32 with one rounding, of whole numbers without overflow."""
    graph.spend(prod(shape))
    floats = all(found.dtype == np.float32 for found in node.inputs)
    arrays = [node.constant(place, FLOAT if floats else WHOLE) for place in range(len(node.inputs))]
    kind = arrays[0].dtype
    need(all(array.dtype == kind for array in arrays), "constants of several types")
    need(node.kind != "Sum", "a sum of constants alone")
    if not floats:
        small = all((np.abs(array.astype(np.float64)) < 2**31).all() for array in arrays)
        positive = node.kind != "Div" or ((arrays[0] >= 0).all() and (arrays[1] > 0).all())
        need(small and positive, "whole numbers that are large or divided with a sign")
        arrays = [array.astype(np.int64) for array in arrays]
    divide = np.divide if floats else np.floor_divide
    table = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": divide}
    with np.errstate(all="ignore"):
        found = np.negative(arrays[0]) if node.kind == "Neg" else table[node.kind](*arrays)
    result = np.asarray(found).astype(kind)
    need(np.isfinite(result).all() and (floats or (result == found).all()), "an overflow")
    return result


def gemm(graph: Graph, node: Node) -> Value:
    value, weight = graph.settle(node.value()), node.constant(1).astype(np.float64)
    need(not node.flag("transA"), "a transposed first factor")
    if node.flag("transB"):
        weight = weight.T
    fits = weight.ndim == 2 and value.shape == (1, weight.shape[0])
    need(fits, f"matrix of shape {weight.shape} for an input of {value.shape}")
    # Products of two float32, which float64 holds exactly.
    weight, bias = node.attribute("alpha", "FLOAT", 1.0) * weight, np.zeros(1)
    beta, shape = node.attribute("beta", "FLOAT", 1.0), (1, weight.shape[1])
    if node.opset < 11 or node.take(2) is not None:
        bias = beta * node.constant(2).astype(np.float64)
        need(np.broadcast_shapes(bias.shape, shape) == shape, f"bias of shape {bias.shape}")
    return graph.repeated(value, value.places[None], weight.T[None], shape, bias)


def matmul(graph: Graph, node: Node) -> Value:
    first = isinstance(node.take(0), Value)
    value, weight = graph.settle(node.value(1 - first)), node.constant(int(first))
    weight, places = weight.T if first else weight, value.places
    need(weight.ndim == 2 and value.places.ndim >= (2 if first else 3), "a product of other ranks")
    places = places if first else places.swapaxes(-1, -2)
    fits = weight.shape[1] == places.shape[-1]
    need(fits, f"matrix of shape {weight.shape} for an input of {value.shape}")
    graph.spend(places[..., 0].size * weight.size)
    columns, weights = np.broadcast_arrays(places[..., None, :], weight)
    if not first:
        columns, weights = columns.swapaxes(-2, -3), weights.swapaxes(-2, -3)
    return graph.linear(value, columns, weights, columns.shape[:-1])


def batch_normalization(graph: Graph, node: Node) -> Value:
    value = node.value()
    need(not node.flag("training_mode"), "training")
    node.attribute("momentum", "FLOAT")  # of training alone
    epsilon = node.attribute("epsilon", "FLOAT", float(np.float32(1e-5)))
    arrays = [node.constant(place).astype(np.float64) for place in range(1, 5)]
    need(all(array.shape == value.shape[1:2] for array in arrays), "statistics of other shapes")
    wide = (-1, *[1] * (len(value.shape) - 2))
    scale, bias, mean, variance = (array.reshape(wide) for array in arrays)
    need((variance + epsilon > 0).all(), "a variance that is not positive")
    # Centred first: where mean and bias cancel, folding them would round.
    scaled = graph.scaled(graph.shifted(value, -mean), scale / np.sqrt(variance + epsilon), 4)
    return graph.shifted(scaled, bias)


def reduce(graph: Graph, node: Node) -> Value:
    """ReduceSum, ReduceMean and GlobalAveragePool."""
    value = graph.settle(node.value())
    axes, keep = list(range(2, value.places.ndim)), True
    if node.kind != "GlobalAveragePool":
        axes, keep = reduced(node, value, 13 if node.kind == "ReduceSum" else 18)
    places, shape = columns(value, axes, keep)
    count = places.shape[-1]
    mean = node.kind != "ReduceSum"
    weights = np.full(1, 1.0 / count if mean else 1.0)
    return graph.linear(value, places, weights, shape, 0.0, int(mean))


def reshape(graph: Graph, node: Node) -> Result:
    value, wanted = node.take(0), node.numbers("shape", 1, 5)
    exact = node.opset >= 14 and node.flag("allowzero")
    need(wanted and not (exact and 0 in wanted), "a shape that is empty")
    assert wanted is not None
    sizes = [value.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    need(min(sizes) >= -1 and sizes.count(-1) <= 1, f"shape {wanted[:8]}")
    if -1 in sizes:
        total, known = prod(value.shape), -prod(sizes)
        need(known > 0 == total % known, f"shape {wanted[:8]}")
        sizes[sizes.index(-1)] = total // known
    return graph.moved(value, lambda x: x.reshape(sizes))


def flatten(graph: Graph, node: Node) -> Result:
    value, axis = node.take(0), node.attribute("axis", "INT", 1)
    rank = len(value.shape)
    need((-rank if node.opset >= 11 else 0) <= axis <= rank, f"axis {axis}")
    axis += rank if axis < 0 else 0
    return graph.moved(value, lambda x: x.reshape(prod(x.shape[:axis]), -1))


def squeeze(graph: Graph, node: Node) -> Result:
    value = node.take(0)
    axes = tuple(axes_of(node.numbers("axes", 1, 13), len(value.shape)))
    return graph.moved(value, lambda x: np.squeeze(x, axes))


def unsqueeze(graph: Graph, node: Node) -> Result:
    value, axes = node.take(0), node.numbers("axes", 1, 13)
    found = tuple(axes_of(axes, len(value.shape) + len(axes or ())))
    return graph.moved(value, lambda x: np.expand_dims(x, found))


def transpose(graph: Graph, node: Node) -> Result:
    value = node.take(0)
    rank = len(value.shape)
    order = node.attribute("perm", "INTS", list(range(rank))[::-1])
    need(sorted(order) == list(range(rank)), f"perm {order[:8]}")
    return graph.moved(value, lambda x: x.transpose(order))


def strided_slice(graph: Graph, node: Node) -> Result:
    value = node.take(0)
    starts, ends = (node.numbers(name, at, 10) or [] for at, name in ((1, "starts"), (2, "ends")))
    given = node.numbers("axes", 3, 10)
    steps = (node.numbers("steps", 4, 10) if node.opset >= 10 else None) or [1] * len(starts)
    axes = axes_of(list(range(len(starts))) if given is None else given, len(value.shape))
    indices = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size, low, high = value.shape[axis], 0 if step > 0 else -1, 0 if step > 0 else 1
        need(step != 0, "a step of zero")
        # Negative numbers count from the end; then both are clamped as ONNX says.
        start, end = (place + size if place < 0 else place for place in (start, end))
        start = min(max(start, 0), size - high)
        indices.append((axis, list(range(start, min(max(end, low), size - high), step))))

    def move(x: Array) -> Array:
        for axis, index in indices:
            x = np.take(x, np.array(index, dtype=np.int64), axis)
        return x

    return graph.moved(value, move)


def gather(graph: Graph, node: Node) -> Result:
    value, index = node.take(0), node.constant(1, WHOLE).astype(np.int64)
    axis = axis_of(node.attribute("axis", "INT", 0), len(value.shape))
    size = value.shape[axis]
    need(((index >= -size) & (index < size)).all(), "an index that does not exist")
    graph.spend(prod(value.shape) // size * index.size)
    return graph.moved(value, lambda x: np.take(x, index % size, axis))


def split(graph: Graph, node: Node) -> list[Result]:
    value = node.take(0)
    axis = axis_of(node.attribute("axis", "INT", 0), len(value.shape))
    size, sizes = value.shape[axis], node.numbers("split", 1, 13)
    if node.opset >= 18 and sizes is None:
        count = node.attribute("num_outputs", "INT")
        need(count == node.outputs, "num_outputs unlike its outputs")
    if sizes is None:
        need(size % node.outputs == 0, "parts of different sizes")
        sizes = [size // node.outputs] * node.outputs
    fits = len(sizes) == node.outputs and min(sizes) > 0 and sum(sizes) == size
    need(fits, f"parts {sizes[:8]} of {size}")
    ends = np.append(0, np.cumsum(sizes))
    parts = [np.arange(*pair) for pair in pairwise(ends.tolist())]
    return [graph.moved(value, partial(np.take, indices=part, axis=axis)) for part in parts]


def concat(graph: Graph, node: Node) -> Result:
    """Of constants; or each tensor among zeros, added up, and each constant among zeros."""
    inputs = [node.take(place) for place in range(len(node.inputs))]
    rank = len(inputs[0].shape)
    need(all(len(found.shape) == rank for found in inputs), "parts of several ranks")
    axis = node.attribute("axis", "INT")
    need(axis is not None, "a call without axis")
    axis, shape = axis_of(axis, rank), list(inputs[0].shape)
    shape[axis] = sum(found.shape[axis] for found in inputs)
    graph.spend(prod(shape) * len(inputs))
    if not any(isinstance(found, Value) for found in inputs):
        need(len({found.dtype for found in inputs}) == 1, "constants of several types")
        return np.concatenate(inputs, axis)
    parts, bias, start = list[Value](), np.zeros(shape), 0
    for place, found in enumerate(inputs):
        end = start + found.shape[axis]
        window = tuple(slice(start, end) if at == axis else slice(None) for at in range(rank))
        if isinstance(found, Value):
            places = np.full(shape, -1)
            places[window] = found.places
            need(places[window].shape == found.shape, "parts of shapes that do not fit")
            parts.append(Value(found.step, places))
        else:
            need(bias[window].shape == found.shape, "parts of shapes that do not fit")
            bias[window] = node.constant(place)
        start = end
    value = graph.total(parts, tuple(shape))
    return graph.shifted(value, bias) if bias.any() else value


def identity_of(_graph: Graph, node: Node) -> Result:
    """Identity, and Dropout where it is not trained."""
    if node.kind == "Dropout":
        if node.opset < 12:
            node.attribute("ratio", "FLOAT")
        elif node.take(1) is not None:
            node.constant(1)
        if node.opset >= 12:
            node.attribute("seed", "INT")
            need(node.take(2) is None or not node.constant(2, ("bool",)).any(), "training")
    found: Result = node.take(0)
    return found


def cast(graph: Graph, node: Node) -> Result:
    """Of a float32 tensor to float32; of constants, where no number is changed but by float32."""
    value, to = node.take(0), node.attribute("to", "INT")
    kind = {1: "float32", 6: "int32", 7: "int64"}.get(to)
    need(kind is not None, f"a cast to type {to}")
    if isinstance(value, Value):
        need(kind == "float32", f"a cast to {kind}")
        return value
    array = node.constant(0, (*FLOAT, *WHOLE, "float16", "float64"))
    graph.spend(array.size)
    with np.errstate(all="ignore"):
        result = array.astype(kind)
    rounded = array.dtype == np.float64 and kind == "float32"
    small = array.dtype.kind == "f" or (np.abs(array.astype(np.float64)) <= 2**53).all()
    same = small and (result.astype(np.float64) == array.astype(np.float64)).all()
    need(np.isfinite(result).all() if rounded else same, "a cast that changes a number")
    return result


def constant(_graph: Graph, node: Node) -> Array:
    kinds = {"value": "TENSOR", "value_float": "FLOAT", "value_floats": "FLOATS"}
    kinds |= {"value_int": "INT", "value_ints": "INTS"}
    given = {name: node.attribute(name, kind) for name, kind in kinds.items()}
    (name,) = [name for name, found in given.items() if found is not None]
    if name == "value":
        return np.asarray(given[name])
    return np.array(given[name], dtype=np.float32 if "float" in name else np.int64)


def constant_of_shape(graph: Graph, node: Node) -> Array:
    sizes = node.numbers("shape", 0, 0) or []
    value = np.asarray(node.attribute("value", "TENSOR", np.zeros(1, dtype=np.float32)))
    need(sizes and min(sizes) > 0 and value.size == 1, "a shape that is empty")
    graph.spend(prod(sizes))
    return np.full(sizes, value.reshape(-1)[0])


def shape_of(_graph: Graph, node: Node) -> Array:
    sizes = np.array(node.take(0).shape, dtype=np.int64)
    limits = [node.attribute(name, "INT") for name in ("start", "end") if node.opset >= 15]
    return sizes[slice(*limits)] if limits else sizes


Reading = Callable[[Graph, Node], Result | list[Result]]
OPERATORS: dict[str, Reading] = {
    **dict.fromkeys(("Add", "Sub", "Sum"), add),
    **dict.fromkeys(("Mul", "Div", "Neg"), multiply),
    **dict.fromkeys(("Abs", "LeakyRelu", "PRelu", "Relu"), relu),
    **{"Clip": clip, "HardSigmoid": hard_sigmoid, "Max": extreme, "Min": extreme},
    **{"ReduceMax": reduce_extreme, "ReduceMin": reduce_extreme, "TopK": top_k},
    **dict.fromkeys(("ReduceSum", "ReduceMean", "GlobalAveragePool"), reduce),
    **dict.fromkeys(("Identity", "Dropout"), identity_of),
    **{"AveragePool": average_pool, "BatchNormalization": batch_normalization, "Cast": cast},
    **{"Concat": concat, "Constant": constant, "ConstantOfShape": constant_of_shape},
    **{"Conv": conv, "ConvTranspose": conv_transpose, "Flatten": flatten, "Gather": gather},
    **{"DepthToSpace": blocks, "SpaceToDepth": blocks, "GlobalMaxPool": global_max_pool},
    **{"Expand": expand, "Resize": resize, "Tile": tile, "Where": where},
    **{"Gemm": gemm, "MatMul": matmul, "MaxPool": max_pool, "Pad": pad, "Reshape": reshape},
    **{"Shape": shape_of, "Slice": strided_slice, "Split": split, "Squeeze": squeeze},
    **{"Transpose": transpose, "Unsqueeze": unsqueeze},
}
IDLE = frozenset(("Dropout", "MaxPool", "TopK"))
"""Operators whose second output may be named, if nothing reads it."""
