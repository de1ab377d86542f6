"""Images sampled at places that a constant names, as spatial transformers do with fixed ones.

A grid's entry n in [-1, 1] means the place ((n + 1)·size - 1) / 2, or (n + 1)·(size - 1) / 2 where
corners are aligned. A runtime works it out in float32: it misses the place by a little, and gives
the pixels around it other shares, by as much as it missed times the slope of their kernel; it is
charged for that where float32 is not exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.guards import Unsure
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, require_size
from evaluators.onnx.operators.contractions import picked, sum_of_last
from evaluators.onnx.operators.declaration import VALUE, Attribute, Declaration, exactly, weights

MISSED = 2.0**-20
"""What a runtime may miss a place by, of (|n| + 1)·size + 1: of 16 roundings, where it takes seven
at most, those of reflections included."""
LARGEST_MISS = 2.0**-6
"""A larger one, of a grid that lies far outside, is not read."""


@dataclass(frozen=True)
class GridAxis:
    """Places along one dimension of an image, `[points]`.

    Attributes:
        at: in pixels, before what lies outside is padded.
        exact: which of them every runtime finds itself, all its steps being exact in float32.
        size: of the dimension.
        missed: by how much a runtime may miss the others.
        ends: the two places at which reflections turn.
    """

    at: Array
    exact: Array
    size: int
    missed: float
    ends: tuple[float, float]

    @classmethod
    def of(cls, grid: Array, size: int, *, aligned: bool) -> "GridAxis":
        """Work the places out; in float64, of float32, they are far nearer than what is charged."""
        n = grid.astype(np.float64).reshape(-1)
        at = (n + 1) * (size - 1) / 2 if aligned else ((n + 1) * size - 1) / 2
        missed = MISSED * ((float(np.abs(n).max()) + 1) * size + 1)
        if missed > LARGEST_MISS:
            raise OperatorError(f"its grid reaches {np.abs(n).max():.3g}, for {size} pixels")
        ends = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
        exact = ((n * 2**16) % 1 == 0) & ((at * 2**5) % 1 == 0)
        return cls(at, exact, size, missed, ends)

    def inside(self, mode: str) -> Array:
        """Where the places lie after reflections; with other padding where they are."""
        if mode != "reflection":
            return self.at
        low, high = self.ends
        if low == high:
            raise OperatorError("it reflects an image of one pixel")
        turned = np.mod(self.at - low, 2 * (high - low))
        return low + np.minimum(turned, 2 * (high - low) - turned)

    def pixels(self, places: Array, mode: str) -> Array:
        """The pixel at each whole place; -1 for none."""
        if mode == "zeros":
            return np.where((places >= 0) & (places < self.size), places, -1)
        if mode == "reflection":
            low, high = self.ends
            turned = np.mod(places - low, 2 * (high - low))
            places = np.rint(low + np.minimum(turned, 2 * (high - low) - turned)).astype(np.int64)
        return np.clip(places, 0, self.size - 1)


def grid_sample(builder: Builder, operator: Operator) -> int:
    """GridSample of an image at constant places: linear, cubic, or the nearest pixel."""
    source, shape = builder.source(operator)
    grid = builder.constant(operator, 1, "grid")
    if len(shape) != 3 or builder.is_bare(operator.inputs[0]) or grid.shape[::3] != (1, 2):
        raise OperatorError(f"its grid has shape {grid.shape}, for a value of {(1, *shape)}")
    aligned = bool(operator.attributes["align_corners"])
    columns, rows = (
        GridAxis.of(grid[..., place], size, aligned=aligned)
        for place, size in ((0, shape[2]), (1, shape[1]))
    )
    made = (shape[0], *grid.shape[1:3])
    if operator.attributes["mode"] == "nearest":
        found = _flat(_nearest(rows, operator), _nearest(columns, operator), shape)
        return picked(builder, source, found.reshape(made), operator.name)
    if operator.attributes["mode"] in ("cubic", "bicubic"):
        return _interpolated(builder, operator, source, rows, columns, made, CUBIC)
    return _interpolated(builder, operator, source, rows, columns, made, LINEAR)


def _nearest(axis: GridAxis, operator: Operator) -> Array:
    """The pixel nearest to each place, `[points]`.

    Raises:
        OperatorError: a runtime that misses the place may copy its neighbour.
    """
    mode = operator.attributes["padding_mode"]
    at = axis.inside(mode)
    found = axis.pixels(np.rint(at).astype(np.int64), mode)
    for aside in (-axis.missed, axis.missed):
        if (axis.pixels(np.rint(at + aside).astype(np.int64), mode) != found).any():
            raise OperatorError("a rounded place of it lies between two pixels")
    return found


def _interpolated(
    builder: Builder,
    operator: Operator,
    source: int,
    rows: GridAxis,
    columns: GridAxis,
    made: tuple[int, ...],
    kernel: "Kernel",
) -> int:
    """Shares of the pixels around each place, and what they may be off by."""
    shape, name = builder.nodes[source].shape, operator.name
    padding, first, last = operator.attributes["padding_mode"], 1 - kernel.reach, kernel.reach
    tall, rows_shares = kernel.around(rows, padding, range(first, last + 1))
    wide, columns_shares = kernel.around(columns, padding, range(first, last + 1))
    shares = (rows_shares[:, :, None] * columns_shares[:, None, :]).flatten(1)
    flat = _flat(*_crossed(tall, wide), shape)
    result = _weighed(builder, source, flat, made, shares, name)
    exact = rows.exact & columns.exact
    if exact.all():
        return result
    # Of both shares, which are at most 1, and of their own roundings.
    missed = 2 * (rows.missed + columns.missed) + kernel.rounded
    noise = builder.add(Unsure(missed), [source], shape, name)
    tall, wide = (
        kernel.around(axis, padding, range(first - 1, last + 2))[0] for axis in (rows, columns)
    )
    near = _flat(*_crossed(tall, wide), shape)
    near = torch.where(torch.from_numpy(exact)[:, None], -1, near)
    return builder.total([result, _weighed(builder, noise, near, made, None, name)], name)


@dataclass(frozen=True)
class Kernel:
    """What share a pixel has of a place, by how far it lies from it along one dimension.

    Attributes:
        reach: pixels on either side that have one.
        share: of distances; at most 1, and its slope at most 3/2.
        rounded: what a run's shares may be off by beyond missing the place.
    """

    reach: int
    share: Callable[[Array], Array]
    rounded: float

    def around(self, axis: GridAxis, padding: str, steps: range) -> tuple[Array, Tensor]:
        """Pixels at these steps from the one before each place, `[points, steps]`, and shares."""
        at = axis.inside(padding)
        whole = np.stack([np.floor(at) + step for step in steps], -1)
        pixels = axis.pixels(whole.astype(np.int64), padding)
        return pixels, torch.from_numpy(self.share(np.abs(at[:, None] - whole)))


def _linear_share(far: Array) -> Array:
    return np.asarray(np.maximum(1 - far, 0.0))


BEND = -0.75
"""The slope at distance 1 of the cubic kernel, as runtimes and ONNX have it."""


def _cubic_share(far: Array) -> Array:
    """Keys' kernel, as of a cubic Resize (`resizing.py`)."""
    near = ((BEND + 2) * far - (BEND + 3)) * far * far + 1
    aside = BEND * (((far - 5) * far + 8) * far - 4)
    return np.where(far <= 1, near, np.where(far < 2, aside, 0.0))


LINEAR = Kernel(1, _linear_share, 0.0)
CUBIC = Kernel(2, _cubic_share, 2.0**-16)
"""A cubic share is worked out in a dozen of numbers below 16."""


def _crossed(rows: Array, columns: Array) -> tuple[Array, Array]:
    """All pairs of a place's rows and columns, each `[points, pairs]`."""
    tall = np.repeat(rows, columns.shape[1], -1)
    return tall, np.tile(columns, (1, rows.shape[1]))


def _flat(rows: Array, columns: Array, shape: tuple[int, ...]) -> Tensor:
    """Flat positions of pixels in all channels, `[channels, ...]`; -1 for what lies outside."""
    channels, height, width = shape
    require_size(channels * rows.size)
    plane = torch.from_numpy(np.where((rows < 0) | (columns < 0), -1, rows * width + columns))
    first = torch.arange(channels).reshape(-1, *[1] * plane.ndim) * (height * width)
    return torch.where(plane < 0, -1, plane + first)


def _weighed(
    builder: Builder,
    source: int,
    flat: Tensor,
    made: tuple[int, ...],
    shares: Tensor | None,
    name: str,
) -> int:
    """The sum of pixels at each place, `made`, each times its share."""
    laid = (*made, flat.shape[-1])
    taken = picked(builder, source, flat.reshape(laid), name)
    if shares is not None:
        scale = shares.reshape(*made[1:], -1)
        assert scale.numel() * made[0] == prod(laid)
        taken = builder.diagonal(taken, name, scale=scale, roundings=4)
    return sum_of_last(builder, taken, name)


_MODES = exactly("bilinear", "nearest", "bicubic")

OPERATORS: dict[str, Declaration] = {
    "GridSample": Declaration(
        versions=(16, 20, 22),
        inputs=(VALUE, weights("grid", 4)),
        attributes={
            "align_corners": Attribute(exactly(0, 1), default=0),
            "mode": Attribute(
                exactly("linear", "nearest", "cubic"),
                default="linear",
                since=20,
                older=Attribute(_MODES, default="bilinear", until=19),
            ),
            "padding_mode": Attribute(exactly("zeros", "border", "reflection"), default="zeros"),
        },
        translate=grid_sample,
    ),
}
