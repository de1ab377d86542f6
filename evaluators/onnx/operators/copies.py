"""Entries repeated, regrouped, picked, added up, and interpolated between neighbours."""

from fractions import Fraction
from math import ceil, floor, prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.network.guards import Unsure
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    rearrange,
    require_size,
    row_axes,
)
from evaluators.onnx.operators.declaration import (
    ANY,
    INTEGERS,
    NUMBER,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
    integers,
    weights,
    whole,
)
from evaluators.onnx.operators.unbatched import settle


def expand(builder: Builder, operator: Operator) -> int:
    """A value repeated along dimensions of size one; the batch is none of them."""
    source, _ = builder.source(operator)
    whole = builder.whole_shape(operator.inputs[0])
    wanted = [int(size) for size in builder.constant(operator, 1, "shape")]
    if min(wanted, default=1) < 1:
        raise OperatorError(f"its shape is {wanted}, for a value of {whole[1:]}")
    full = np.broadcast_shapes(whole, tuple(wanted))
    if not builder.is_bare(operator.inputs[0]) and (len(full) > len(whole) or full[0] != 1):
        raise OperatorError("it repeats the batch")
    return _repeated(builder, operator, source, builder.positions(whole).expand(full))


def _repeated(builder: Builder, operator: Operator, source: int, positions: Tensor) -> int:
    require_size(positions.numel())
    moved = rearrange(builder.nodes[source].shape, positions.reshape(-1))
    source = builder.affine(moved, source, operator.name)
    return settle(builder, operator, source, tuple(positions.shape))


def _expanded(builder: Builder, operator: Operator) -> int:
    return prod(_wanted(builder, operator))


def _wanted(builder: Builder, operator: Operator) -> tuple[int, ...]:
    shape = [int(size) for size in builder.constant(operator, 1, "shape")]
    if min(shape, default=1) < 1:
        raise OperatorError(f"its shape is {shape}")
    return np.broadcast_shapes(builder.constants[operator.inputs[0]].shape, tuple(shape))


def _fold_expand(builder: Builder, operator: Operator) -> Array:
    wanted = _wanted(builder, operator)
    return np.broadcast_to(builder.constants[operator.inputs[0]], wanted).copy()


def tile(builder: Builder, operator: Operator) -> int:
    source, _ = builder.source(operator)
    whole = builder.whole_shape(operator.inputs[0])
    repeats = [int(count) for count in builder.constant(operator, 1, "repeats")]
    kept = builder.is_bare(operator.inputs[0]) or repeats[:1] == [1]
    if len(repeats) != len(whole) or not kept or min(repeats) < 1:
        raise OperatorError(f"its repeats are {repeats}, for a value of {whole[1:]}")
    require_size(prod(repeats) * prod(whole))
    return _repeated(builder, operator, source, builder.positions(whole).repeat(repeats))


def _repeats(builder: Builder, operator: Operator) -> list[int]:
    """How often a Tile repeats each dimension of a constant."""
    rank = builder.constants[operator.inputs[0]].ndim
    repeats = [int(count) for count in builder.constant(operator, 1, "repeats")]
    if len(repeats) != rank or min(repeats, default=1) < 1:
        raise OperatorError(f"its repeats are {repeats}, for {rank} dimensions")
    return repeats


def _fold_tile(builder: Builder, operator: Operator) -> Array:
    return np.tile(builder.constants[operator.inputs[0]], _repeats(builder, operator))


def _tiled(builder: Builder, operator: Operator) -> int:
    return builder.constants[operator.inputs[0]].size * prod(_repeats(builder, operator))


def gather_nd(builder: Builder, operator: Operator) -> int:
    """The entries, or what lies behind them, at places that a constant names."""
    source, _ = builder.source(operator)
    whole = builder.whole_shape(operator.inputs[0])
    places = builder.constant(operator, 1, "indices")
    depth = places.shape[-1] if places.ndim else 0
    if not 1 <= depth <= len(whole) or not places.size:
        raise OperatorError(f"its indices have shape {places.shape}, for a value of {whole}")
    limits = np.array(whole[:depth])
    if (places < -limits).any() or (places >= limits).any():
        raise OperatorError(f"its indices leave a value of shape {whole}")
    require_size(places.size // depth * prod(whole[depth:]))
    picked = builder.positions(whole).numpy()[tuple(np.moveaxis(places, -1, 0))]
    return _repeated(builder, operator, source, torch.from_numpy(np.array(picked)))


def cumulative_sum(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    (axis,) = row_axes([int(builder.constant(operator, 1, "axis"))], len(shape))
    size, name = shape[axis], operator.name
    moved = builder.positions(shape).movedim(axis, -1)
    source = builder.affine(rearrange(shape, moved), source, name)
    before = torch.ones(size, size, dtype=torch.float64).tril(-operator.attributes["exclusive"])
    weight = before.T.contiguous() if operator.attributes["reverse"] else before
    turned = tuple(moved.shape)
    source = builder.affine(Dense(turned, turned, None, weight), source, name)
    back = torch.arange(prod(turned)).reshape(turned).movedim(-1, axis)
    return builder.affine(rearrange(turned, back), source, name)


def blocks(builder: Builder, operator: Operator) -> int:
    """DepthToSpace and SpaceToDepth: channels become blocks of places, or the other way round."""
    _, shape = builder.source(operator)
    size = int(operator.attributes["blocksize"])
    if len(shape) != 3:
        raise OperatorError(f"its input has shape {shape}, not channels, rows and columns")
    channels, rows, columns = shape
    places = builder.positions(shape)
    if operator.kind == "SpaceToDepth":
        if rows % size or columns % size:
            raise OperatorError(f"{rows} by {columns} do not divide into blocks of {size}")
        places = places.reshape(channels, rows // size, size, columns // size, size)
        places = places.permute(2, 4, 0, 1, 3)
        return builder.rearranged(operator, places.reshape(-1, rows // size, columns // size))
    if channels % size**2:
        raise OperatorError(f"{channels} channels do not divide into blocks of {size}")
    if operator.attributes.get("mode", "DCR") == "DCR":
        places = places.reshape(size, size, -1, rows, columns).permute(2, 3, 0, 4, 1)
    else:
        places = places.reshape(-1, size, size, rows, columns).permute(0, 3, 1, 4, 2)
    return builder.rearranged(operator, places.reshape(-1, rows * size, columns * size))


def resize(builder: Builder, operator: Operator) -> int:
    """Nearest, linear and cubic interpolation of rows and columns, of a constant size.

    Upsample is what Resize was in opset 10.
    """
    source, shape = builder.source(operator)
    scales = _scales(builder, operator, (1, *shape))
    mode, name = operator.attributes["mode"], operator.name
    if mode == "cubic" and operator.opset < 11:
        raise OperatorError("it is cubic, which is defined from opset 11 on")
    for axis, (size, (count, scale)) in enumerate(zip(shape, scales[1:], strict=True)):
        require_size(prod(shape) // size * count)
        if count == size and scale == 1:
            continue
        own = builder.nodes[source].shape
        at = [_origin(operator, place, count, size, scale) for place in range(count)]
        given = _told_exactly(operator, scale)
        if mode == "nearest":
            picked = torch.tensor([_nearest(operator, x, size, given) for x in at])
            positions = builder.positions(own).index_select(axis, picked)
            source = builder.affine(rearrange(own, positions), source, name)
            continue
        moved = builder.positions(own).movedim(axis, -1)
        source = builder.affine(rearrange(own, moved), source, name)
        source = _interpolated(builder, operator, source, at, given)
        wide = builder.nodes[source].shape
        back = torch.arange(prod(wide)).reshape(wide).movedim(-1, axis)
        source = builder.affine(rearrange(wide, back), source, name)
    return source


def _interpolated(
    builder: Builder, operator: Operator, source: int, at: list[Fraction], given: bool
) -> int:
    """Interpolate the last dimension at these places.

    A runtime that misses a place by a little gives its neighbours other shares, by as much as it
    missed times the slope of the kernel; it is charged for that where float32 is not exact.
    """
    own, name = builder.nodes[source].shape, operator.name
    size, wide, cubic = own[-1], (*own[:-1], len(at)), operator.attributes["mode"] == "cubic"
    bend = Fraction(operator.attributes.get("cubic_coeff_a", -0.75))
    # Beyond the ends the shares of a line are those at an end, wherever the place is.
    ended = [not cubic and not -AWAY < x < size - 1 + AWAY for x in at]
    exact = [end or _exact(x, given) for end, x in zip(ended, at, strict=True)]
    share = _cubic(at, size, bend) if cubic else _between(at, size)
    if cubic and (32 * bend).denominator > 1:  # rounded also along dimensions that are kept
        raise OperatorError("its cubic kernel is not exact in float32")
    result = builder.affine(Dense(own, wide, None, share), source, name)
    if all(exact):
        return result
    if size > MOST:
        raise OperatorError(f"it interpolates between {size} places, in float32 not exactly")
    missed = MISSED * (size + 1) * (1 + float(abs(bend)) if cubic else 1.0)
    noise = builder.add(Unsure(missed), [source], own, name)
    near = _neighbours(at, size, 3 if cubic else 2)
    near = near * (~torch.tensor(exact))[:, None]
    return builder.total([result, builder.affine(Dense(own, wide, None, near), noise, name)], name)


def _neighbours(at: list[Fraction], size: int, reach: int) -> Tensor:
    """Ones at all entries that a place lies near, `[places, size]`."""
    near = torch.zeros(len(at), size, dtype=torch.float64)
    for row, x in enumerate(at):
        middle = min(max(floor(x), 0), size - 1)
        near[row, max(middle - reach + 1, 0) : middle + reach + 1] = 1
    return near


def _scales(
    builder: Builder, operator: Operator, full: tuple[int, ...]
) -> list[tuple[int, Fraction]]:
    """Of each dimension of a whole value: the new size, and how much larger it is."""
    given = builder.optional(operator, 1 if operator.opset < 11 else 2)
    if (attribute := operator.attributes.get("scales")) is not None:  # Upsample, before opset 9
        given = np.array(attribute)
    sizes = builder.optional(operator, 3)
    one = (given is not None and given.size > 0) + (sizes is not None and sizes.size > 0)
    if one != 1:
        raise OperatorError("it needs either scales or sizes")
    if sizes is not None and sizes.size:
        counts = [int(size) for size in sizes]
        found = [(new, Fraction(new, old)) for new, old in zip(counts, full, strict=True)]
    else:
        assert given is not None
        factors = [Fraction(float(scale)) for scale in given]
        found = [(floor(old * by), by) for old, by in zip(full, factors, strict=True)]
    if found[0] != (1, Fraction(1)) or min(count for count, _ in found) < 1:
        raise OperatorError(f"it changes the batch, or leaves nothing of a value of {full[1:]}")
    return found


def _origin(operator: Operator, place: int, count: int, size: int, scale: Fraction) -> Fraction:
    """Where an entry of the result lies among those of the input."""
    mode = operator.attributes.get("coordinate_transformation_mode", "asymmetric")
    if mode == "align_corners":
        return Fraction(place * (size - 1), count - 1) if count > 1 else Fraction(0)
    if mode == "asymmetric":
        return place / scale
    if mode == "pytorch_half_pixel" and count == 1:
        return Fraction(0)
    return (place + Fraction(1, 2)) / scale - Fraction(1, 2)


def _told_exactly(operator: Operator, scale: Fraction) -> bool:
    """Whether what places are computed from is exact in float32: the scale, or whole sizes."""
    aligned = operator.attributes.get("coordinate_transformation_mode") == "align_corners"
    return aligned or Fraction(float(np.float32(float(scale)))) == scale


def _exact(x: Fraction, given: bool) -> bool:
    """Whether a runtime finds the place itself, whose steps are then all exact in float32."""
    return given and (2**5 * x).denominator == 1


def _nearest(operator: Operator, x: Fraction, size: int, given: bool) -> int:
    """The entry that is copied.

    Raises:
        OperatorError: a runtime that rounds the place may copy its neighbour.
    """
    mode = operator.attributes.get("nearest_mode", "floor")
    half = Fraction(1, 2)
    steps = x if mode in ("floor", "ceil") else x + half
    if not _exact(x, given) and abs(steps - round(steps)) < AWAY:
        raise OperatorError("a rounded place of it lies between two entries")
    at = {
        "floor": floor(x),
        "ceil": ceil(x),
        "round_prefer_floor": ceil(x - half),
        "round_prefer_ceil": floor(x + half),
    }[mode]
    return min(max(at, 0), size - 1)


def _between(at: list[Fraction], size: int) -> Tensor:
    """Shares of the two neighbours of each place, `[places, size]`."""
    share = torch.zeros(len(at), size, dtype=torch.float64)
    for row, x in enumerate(at):
        inside = min(max(x, Fraction(0)), Fraction(size - 1))
        first = floor(inside)
        share[row, first] += float(1 - (inside - first))
        share[row, min(first + 1, size - 1)] += float(inside - first)
    return share


def _cubic(at: list[Fraction], size: int, bend: Fraction) -> Tensor:
    """Shares of the four neighbours of each place, `[places, size]`; ends go on for ever.

    Keys' kernel (1981, "Cubic convolution interpolation for digital image processing", eq. 15)
    with the slope `bend` at distance 1.
    """
    share = torch.zeros(len(at), size, dtype=torch.float64)
    for row, x in enumerate(at):
        for place in range(floor(x) - 1, floor(x) + 3):
            far = abs(x - place)
            if far <= 1:
                weight = (bend + 2) * far**3 - (bend + 3) * far**2 + 1
            else:
                weight = bend * (far**3 - 5 * far**2 + 8 * far - 4)
            share[row, min(max(place, 0), size - 1)] += float(weight)
    return share


AWAY = Fraction(1, 2**8)
"""More than what a runtime may miss a place by, for a share of 0 may then be another. Places are
at most some thousands, and computed in a few steps of float32."""
MOST = 2**12
"""Entries of a dimension up to which that holds of places that are not exact."""
MISSED = 2.0**-18
"""By what share of a dimension's size shares may be wrong: of 64 roundings, where a place takes
six, its kernel's slope is at most 3, and a share is worked out in a dozen of numbers below 8."""

_CORNERS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_ROUNDED = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")

OPERATORS: dict[str, Declaration] = {
    "Expand": Declaration(
        versions=(8, 13),
        inputs=(VALUE, integers("shape")),
        translate=expand,
        bare=True,
        fold=_fold_expand,
        size=_expanded,
    ),
    "Tile": Declaration(
        versions=(6, 13),
        inputs=(VALUE, integers("repeats")),
        translate=tile,
        bare=True,
        fold=_fold_tile,
        size=_tiled,
    ),
    "GatherND": Declaration(
        versions=(11, 12, 13),
        inputs=(VALUE, Parameter("indices", ("int64",))),
        attributes={"batch_dims": Attribute(exactly(0), default=0, since=12)},
        translate=gather_nd,
        bare=True,
    ),
    "CumSum": Declaration(
        versions=(11, 14),
        inputs=(VALUE, Parameter("axis", INTEGERS, (0,))),
        attributes={
            "exclusive": Attribute(exactly(0, 1), default=0),
            "reverse": Attribute(exactly(0, 1), default=0),
        },
        translate=cumulative_sum,
    ),
    "DepthToSpace": Declaration(
        versions=(1, 11, 13),
        attributes={
            "blocksize": Attribute(whole(1)),
            "mode": Attribute(exactly("DCR", "CRD"), default="DCR", since=11),
        },
        translate=blocks,
    ),
    "SpaceToDepth": Declaration(
        versions=(1, 13), attributes={"blocksize": Attribute(whole(1))}, translate=blocks
    ),
    "Resize": Declaration(
        versions=(10, 11, 13, 18, 19),
        inputs=(
            VALUE,
            Parameter("second input", ("float32", "float64")),
            weights("scales", 1, since=11),
            integers("sizes", since=11),
        ),
        attributes={
            "mode": Attribute(exactly("nearest", "linear", "cubic"), default="nearest"),
            "coordinate_transformation_mode": Attribute(
                exactly(*_CORNERS), default="half_pixel", since=11
            ),
            "nearest_mode": Attribute(exactly(*_ROUNDED), default="round_prefer_floor", since=11),
            "cubic_coeff_a": Attribute(NUMBER, default=-0.75, since=11),
            # Of another mode alone.
            "extrapolation_value": Attribute(ANY, default=0.0, since=11),
            "exclude_outside": Attribute(exactly(0), default=0, since=11),
            "antialias": Attribute(exactly(0), default=0, since=18),
            "keep_aspect_ratio_policy": Attribute(exactly("stretch"), default="stretch", since=18),
        },
        translate=resize,
    ),
    "Upsample": Declaration(
        versions=(7, 9, 10),
        inputs=(VALUE, weights("scales", 1, since=9)),
        attributes={
            "mode": Attribute(exactly("nearest", "linear"), default="nearest"),
            "scales": Attribute(ANY, until=8),
        },
        translate=resize,
    ),
}
