"""Entries repeated, chosen, continued beyond an edge, interpolated: as the checker reads them."""

from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

import numpy as np

from evaluators.recheck.graph import (
    FLOAT,
    Array,
    Graph,
    Node,
    Result,
    Shape,
    Value,
    axes_of,
    need,
)

HALF = Fraction(1, 2)
FINEST = 32
"""Places in parts of this are computed in float32 without rounding, of sizes up to `LONGEST`."""
LONGEST = 2**12
NEAR = Fraction(1, 2**8)
"""More than float32 may miss a place by, which is below `LONGEST`."""


def expand(graph: Graph, node: Node) -> Result:
    """A tensor or constant repeated along dimensions of one entry."""
    value, wanted = node.take(0), node.numbers("shape", 1, 0) or []
    need(min(wanted, default=1) > 0, f"shape {wanted[:8]}")
    shape = np.broadcast_shapes(value.shape, tuple(wanted))
    graph.spend(prod(shape))
    return graph.moved(value, lambda x: np.broadcast_to(x, shape))


def tile(graph: Graph, node: Node) -> Result:
    """A tensor or constant again and again in each dimension."""
    value, repeats = node.take(0), node.numbers("repeats", 1, 0) or []
    fits = len(repeats) == len(value.shape) and min(repeats) > 0
    need(fits, f"repeats {repeats[:8]}")
    graph.spend(prod(value.shape) * prod(repeats))
    return graph.moved(value, lambda x: np.tile(x, repeats))


def where(graph: Graph, node: Node) -> Result:
    """By a constant mask: the chosen entries of each tensor among zeros, added up; constants."""
    mask, inputs = node.constant(0, ("bool",)), [node.take(1), node.take(2)]
    need(all(found is not None for found in inputs), "an input that is left out")
    shape = np.broadcast_shapes(mask.shape, *(found.shape for found in inputs))
    graph.spend(4 * prod(shape))
    if not any(isinstance(found, Value) for found in inputs):
        need(inputs[0].dtype == inputs[1].dtype, "constants of several types")
        return np.asarray(np.where(mask, inputs[0], inputs[1]))
    parts, bias = list[Value](), np.zeros(shape)
    for place, (found, chosen) in enumerate(zip(inputs, (mask, ~mask), strict=True)):
        if isinstance(found, Value):
            parts.append(Value(found.step, np.where(chosen, found.places, -1)))
        else:
            bias = np.where(chosen, node.constant(1 + place), bias)
    value = graph.total([graph.broadcast(part, shape) for part in parts], shape)
    return graph.shifted(value, bias) if bias.any() else value


def pad(graph: Graph, node: Node) -> Value:
    """A constant around a value, or what numpy.pad continues it by."""
    value, pads = node.value(), node.numbers("pads", 1, 11) or []
    rank, filler = len(value.shape), 0.0
    axes = list(range(rank))
    if node.opset < 11:
        filler = node.attribute("value", "FLOAT", 0.0)
    elif node.take(2) is not None:
        found = node.constant(2)
        need(found.size == 1, "constant_value of several entries")
        filler = float(found.reshape(-1)[0])
    if node.opset >= 18 and (given := node.numbers("axes", 3, 18)) is not None:
        axes = axes_of(given, rank)
    mode = node.attribute("mode", "STRING", "constant")
    need(len(pads) == 2 * len(axes) and min(pads) >= 0, f"pads {pads[:8]}")
    around = [(0, 0)] * rank
    for at, axis in enumerate(axes):
        around[axis] = (pads[at], pads[at + len(axes)])
    graph.spend(2 * prod(size + a + b for size, (a, b) in zip(value.shape, around, strict=True)))
    if mode != "constant":
        return Value(value.step, _continued(node, value.places, mode, around))
    places = np.pad(value.places, around, constant_values=-1)
    if filler == 0:
        return Value(value.step, places)
    outside = np.pad(np.zeros(value.shape), around, constant_values=filler)
    return graph.shifted(Value(value.step, places), outside)


def _continued(node: Node, places: Array, mode: str, around: list[tuple[int, int]]) -> Array:
    """Positions with the edge again, their mirror image, or their other end around them."""
    need(mode in ("edge", "reflect", "wrap"), f"a padding by {ascii(mode)[:20]}")
    need(mode != "wrap" or node.opset >= 19, "a padding by wrap, which opset 19 brought")
    # Once around, or to the far end of the mirror image: what lies beyond is not said alike.
    most = {"reflect": -1, "wrap": 0}.get(mode)
    for size, pair in zip(places.shape, around, strict=True):
        need(most is None or max(pair) <= size + most, f"pads {pair} of {size} by {mode}")
    wide: Any = np.pad
    return np.asarray(wide(places, around, mode=mode))


def resize(graph: Graph, node: Node) -> Value:
    """Nearest and linear interpolation, axis by axis, at places that float32 finds exactly."""
    value = node.value()
    need(node.opset >= 11, "an opset before 11")
    mode = node.attribute("mode", "STRING", "nearest")
    need(mode in ("nearest", "linear"), f"mode {ascii(mode)[:20]}")
    rounding = node.attribute("nearest_mode", "STRING", "round_prefer_floor")
    corner = node.attribute("coordinate_transformation_mode", "STRING", "half_pixel")
    for name in ("cubic_coeff_a", "extrapolation_value"):
        node.attribute(name, "FLOAT")  # of other modes alone
    if node.take(1) is not None:
        node.constant(1, (*FLOAT, "float64"))  # a region, of another mode alone
    need(not node.flag("exclude_outside"), "exclude_outside")
    if node.opset >= 18:
        need(not node.flag("antialias"), "antialias")
        policy = node.attribute("keep_aspect_ratio_policy", "STRING", "stretch")
        need(policy == "stretch", f"keep_aspect_ratio_policy {ascii(policy)[:20]}")
    counts, scales = _scales(node, value.shape)
    graph.spend(2 * sum(counts))
    for axis, (count, scale) in enumerate(zip(counts, scales, strict=True)):
        size = value.shape[axis]
        if scale == 1:
            continue
        need(max(size, count) <= LONGEST, f"a dimension of more than {LONGEST}")
        graph.spend(2 * (prod(value.shape) // size) * count)
        at = [_place(corner, scale, (place, count, size)) for place in range(count)]
        told = corner == "align_corners" or Fraction(float(np.float32(scale))) == scale
        exact = [told and (FINEST * x).denominator == 1 for x in at]
        if mode == "nearest":
            pairs = zip(at, exact, strict=True)
            index = [_nearest(rounding, x, size, exact=known) for x, known in pairs]
            value = Value(value.step, np.take(value.places, index, axis))
        else:
            value = _between(graph, value, axis, at, exact)
    return value


def _scales(node: Node, shape: Shape) -> tuple[list[int], list[Fraction]]:
    """Of each dimension its new size, and how much larger it is; opset 11 lists none of one."""
    given, sizes = node.take(2), node.numbers("sizes", 3, 11)
    given, sizes = given if getattr(given, "size", 1) else None, sizes or None
    need((given is None) != (sizes is None), "scales and sizes, or neither")
    if sizes is None:
        factors = node.constant(2)
        need(factors.shape == (len(shape),), f"scales of shape {factors.shape}")
        scales = [Fraction(float(factor)) for factor in factors]
        sizes = [floor(size * scale) for size, scale in zip(shape, scales, strict=True)]
    else:
        need(len(sizes) == len(shape), f"sizes {sizes[:8]}")
        scales = [Fraction(new, old) for new, old in zip(sizes, shape, strict=True)]
    need(min(sizes) > 0 and scales[0] == 1, f"result of shape {sizes[:8]}")
    return sizes, scales


def _place(corner: str, scale: Fraction, at: tuple[int, int, int]) -> Fraction:
    """Where an entry of the result lies between those of the input."""
    place, count, size = at
    if corner == "align_corners":
        return Fraction(place * (size - 1), max(count - 1, 1))
    if corner == "asymmetric":
        return place / scale
    need(corner in ("half_pixel", "pytorch_half_pixel"), f"coordinates by {ascii(corner)[:30]}")
    if corner == "pytorch_half_pixel" and count == 1:
        return Fraction(0)
    return (place + HALF) / scale - HALF


def _nearest(rounding: str, x: Fraction, size: int, *, exact: bool) -> int:
    """The entry that is copied; a place that is rounded must not lie near where it changes."""
    table = {
        "floor": (floor(x), x),
        "ceil": (ceil(x), x),
        "round_prefer_floor": (ceil(x - HALF), x - HALF),
        "round_prefer_ceil": (floor(x + HALF), x + HALF),
    }
    need(rounding in table, f"nearest_mode {ascii(rounding)[:30]}")
    found, edge = table[rounding]
    need(exact or abs(edge - round(edge)) > NEAR, "a place between two entries")
    return min(max(found, 0), size - 1)


def _between(graph: Graph, value: Value, axis: int, at: list[Fraction], exact: list[bool]) -> Value:
    """Shares of the two neighbours of each place, which is moved to the ends from beyond them."""
    value = graph.settle(value)
    last = value.shape[axis] - 1
    for x, known in zip(at, exact, strict=True):
        need(known or x < -NEAR or x > last + NEAR, "places that are not exact in float32")
    inside = [min(max(x, Fraction(0)), Fraction(last)) for x in at]
    first = np.array([floor(x) for x in inside])
    upper = np.array([float(x - floor(x)) for x in inside])
    pair = np.stack([first, np.minimum(first + 1, last)], -1)
    places = np.moveaxis(value.places, axis, -1)[..., pair]
    weights = np.stack([1 - upper, upper], -1)
    # The last entry has no neighbour behind it, and needs none.
    places = np.where(weights > 0, places, -1)
    found = graph.linear(value, places, weights, places.shape[:-1])
    return Value(found.step, np.moveaxis(found.places, -1, axis))


def blocks(graph: Graph, node: Node) -> Result:
    """DepthToSpace and SpaceToDepth: channels become blocks of places, or the other way round."""
    value, size = node.value(), node.attribute("blocksize", "INT", 0)
    need(len(value.shape) == 4 and size > 0, f"blocks of {size}")
    batch, channels, rows, columns = value.shape
    if node.kind == "SpaceToDepth":
        need(rows % size == columns % size == 0, f"blocks of {size} in {rows} by {columns}")
        parted = (batch, channels, rows // size, size, columns // size, size)
        whole = (batch, channels * size**2, rows // size, columns // size)
        order = (0, 3, 5, 1, 2, 4)
    else:
        mode = node.attribute("mode", "STRING", "DCR") if node.opset >= 11 else "DCR"
        need(mode in ("DCR", "CRD") and channels % size**2 == 0, f"blocks of {channels} channels")
        whole = (batch, channels // size**2, rows * size, columns * size)
        if mode == "DCR":
            parted, order = (batch, size, size, whole[1], rows, columns), (0, 3, 4, 1, 5, 2)
        else:
            parted, order = (batch, whole[1], size, size, rows, columns), (0, 1, 4, 2, 5, 3)
    return graph.moved(value, lambda x: x.reshape(parted).transpose(order).reshape(whole))
