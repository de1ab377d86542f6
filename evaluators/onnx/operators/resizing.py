"""Resize and Upsample: entries interpolated between neighbours, of a constant size.

A runtime works a place out in float32: it misses it by a little, and gives the entries around it
other shares; it is charged for that where float32 is not exact.
"""

from fractions import Fraction
from math import ceil, floor, prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.network.guards import Unsure
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    rearrange,
    require_size,
)
from evaluators.onnx.operators.declaration import (
    ANY,
    NUMBER,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
    integers,
    weights,
)


def resize(builder: Builder, operator: Operator) -> int:
    """Nearest, linear and cubic interpolation of rows and columns, of a constant size.

    Upsample is what Resize was in opset 10.
    """
    source, shape = builder.source(operator)
    scales = _scales(builder, operator, (1, *shape))
    mode, name = operator.attributes["mode"], operator.name
    _require_edges(operator)
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
        stretch = max(Fraction(1), 1 / scale) if operator.attributes.get("antialias") else None
        source = _interpolated(builder, operator, source, at, given, stretch)
        wide = builder.nodes[source].shape
        back = torch.arange(prod(wide)).reshape(wide).movedim(-1, axis)
        source = builder.affine(rearrange(wide, back), source, name)
    return source


def _require_edges(operator: Operator) -> None:
    """Refuse what no exporter asks for: wider kernels leave out what lies outside."""
    given = operator.attributes
    wide, left_out = given.get("antialias"), given.get("exclude_outside")
    half = given.get("coordinate_transformation_mode") in ("half_pixel", "pytorch_half_pixel")
    if wide and not (given["mode"] != "nearest" and left_out and half):
        raise OperatorError("it has antialias 1 without exclude_outside 1, or at other places")
    if given.get("coordinate_transformation_mode") == NEAREST_ALONE and given["mode"] != "nearest":
        raise OperatorError(f"it interpolates at places by {NEAREST_ALONE}")
    if left_out and not wide:
        raise OperatorError("it has exclude_outside 1 without antialias 1")


def _interpolated(
    builder: Builder,
    operator: Operator,
    source: int,
    at: list[Fraction],
    given: bool,
    stretch: Fraction | None,
) -> int:
    """Interpolate the last dimension at these places, by a kernel that may be stretched.

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
    reach = 3 if cubic else 2
    if stretch is not None:
        exact, reach = [False] * len(at), ceil((reach - 1) * stretch) + 1
        share = _stretched(at, size, bend if cubic else None, stretch)
    if cubic and (32 * bend).denominator > 1:  # rounded also along dimensions that are kept
        raise OperatorError("its cubic kernel is not exact in float32")
    result = builder.affine(Dense(own, wide, None, share), source, name)
    if all(exact):
        return result
    if size > MOST:
        raise OperatorError(f"it interpolates between {size} places, in float32 not exactly")
    missed = MISSED * (size + 1) * (1 + float(abs(bend)) if cubic else 1.0)
    missed *= 1.0 if stretch is None else DIVIDED / float(stretch)
    noise = builder.add(Unsure(missed), [source], own, name)
    near = _neighbours(at, size, reach)
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
    if mode == NEAREST_ALONE:
        return (place + Fraction(1, 2)) / scale
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
            share[row, min(max(place, 0), size - 1)] += float(_keys(abs(x - place), bend))
    return share


def _keys(far: Fraction, bend: Fraction) -> Fraction:
    if far <= 1:
        return (bend + 2) * far**3 - (bend + 3) * far**2 + 1
    return bend * (far**3 - 5 * far**2 + 8 * far - 4) if far < 2 else Fraction(0)


def _stretched(at: list[Fraction], size: int, bend: Fraction | None, stretch: Fraction) -> Tensor:
    """Shares by a kernel that reaches further, as against aliases, `[places, size]`.

    Of what lies outside there is none; the others are divided by their sum. `bend` is that of the
    cubic kernel, None for the linear one.
    """
    share = torch.zeros(len(at), size, dtype=torch.float64)
    far = ceil(2 * stretch)
    for row, x in enumerate(at):
        near = range(max(floor(x) - far, 0), min(floor(x) + far + 2, size))
        places = [abs(x - place) / stretch for place in near]
        weights = [
            max(1 - place, Fraction(0)) if bend is None else _keys(place, bend) for place in places
        ]
        total = sum(weights, Fraction(0))
        if total < stretch * FULL:
            raise OperatorError("too few entries lie near a place of it")
        for place, weight in zip(near, weights, strict=True):
            share[row, place] = float(weight / total)
    return share


AWAY = Fraction(1, 2**8)
"""More than what a runtime may miss a place by, for a share of 0 may then be another. Places are
at most some thousands, and computed in a few steps of float32."""
MOST = 2**12
"""Entries of a dimension up to which that holds of places that are not exact."""
MISSED = 2.0**-18
"""By what share of a dimension's size shares may be wrong: of 64 roundings, where a place takes
six, its kernel's slope is at most 3, and a share is worked out in a dozen of numbers below 8."""
FULL = Fraction(3, 4)
"""The least sum of the shares of a kernel that is stretched s times, as a share of s."""
DIVIDED = 12
"""How much further off shares are that are divided by their sum, times s: at most 4s + 2 shares
that are each off by d, and at most 1, over a sum of 3s/4 are off by d (4 / (3s) + 16 (4s + 2) /
(9s^2)), which is at most 12 d / s."""

NEAREST_ALONE = "tf_half_pixel_for_nn"
"""Places of TensorFlow's, which other kinds of interpolation do not take."""
_CORNERS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", NEAREST_ALONE)
_ROUNDED = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")

OPERATORS: dict[str, Declaration] = {
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
            "exclude_outside": Attribute(exactly(0, 1), default=0, since=11),
            "antialias": Attribute(exactly(0, 1), default=0, since=18),
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
