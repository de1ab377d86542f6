"""How a counterexample is stored: in steps from its example, or in full.

In full: its n pixels as little-endian float32, 4n bytes.

In steps: the example x, moved by a whole number of steps in every pixel. The bytes are

    levels  one byte L, 1 to 127;
    step    s, little-endian float32, 0 < s <= 1;
    digits  for each pixel, in row-major order, the whole number k in -L to L, as k modulo 2L+1;
            as many digits of that base a byte as fit, the first one the lowest, the last byte
            filled up with zeros.

The point is clip(x + s k, 0, 1), computed in float64 and rounded to float32 towards x, so that no
pixel moves by more than s |k|. It is the same on every machine, but needs the example. Nothing is
packed further: the file's own compression does that, and the number of pixels fixes the number of
bytes, which are always fewer than in full: the two forms cannot be confused.

Whoever reads either form has a point to judge, not a judgement: the bytes may be a stranger's.
"""

import struct
from dataclasses import dataclass
from itertools import count
from math import isfinite

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_HEADER = struct.Struct("<Bf")
_MOST = 127


@dataclass(frozen=True, eq=False)
class SteppedPoint:
    """A point in steps from an example.

    Attributes:
        step: s, a float32 in (0, 1].
        levels: L, the largest |k| that can be written.
        counts: k, int8 `[pixels]`.
    """

    step: float
    levels: int
    counts: NDArray[np.int8]

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1 or float(np.float32(self.step)) != self.step:
            raise ValueError(f"A step is a float32 above 0 and at most 1, not {self.step}.")
        if not 1 <= self.levels <= _MOST or np.abs(self.counts).max(initial=0) > self.levels:
            raise ValueError(f"A pixel moves by at most 1 to {_MOST} steps, not {self.levels}.")

    def point(self, x: Pixels) -> Pixels:
        """The point around the example `x` of any shape, float32 of that shape."""
        center = x.astype(np.float64)
        counts = self.counts.astype(np.float64).reshape(x.shape)
        moved = np.clip(center + self.step * counts, 0, 1)
        point = moved.astype(np.float32)
        too_far = np.abs(point - center) > np.abs(moved - center)
        return np.where(too_far, np.nextafter(point, x.astype(np.float32)), point)

    def packed(self) -> bytes:
        """The bytes of the point."""
        base, size = 2 * self.levels + 1, digits_a_byte(self.levels)
        digits = np.zeros(-len(self.counts) % size + len(self.counts), np.int64)
        digits[: len(self.counts)] = self.counts.astype(np.int64) % base
        packed = digits.reshape(-1, size) @ base ** np.arange(size)
        return _HEADER.pack(self.levels, self.step) + packed.astype(np.uint8).tobytes()


def digits_a_byte(levels: int) -> int:
    """How many digits of the base 2 levels + 1 fit into a byte."""
    return next(size for size in count(1) if (2 * levels + 1) ** (size + 1) > 256)


def in_full(point: Pixels) -> bytes:
    """The bytes of a point that is not stored in steps."""
    return point.astype("<f4").tobytes()


def is_in_full(stored: bytes, pixels: int) -> bool:
    """Whether these bytes are a point of so many pixels in full, which needs no example."""
    return len(stored) == 4 * pixels


def steps_of(stored: bytes, pixels: int) -> SteppedPoint:
    """Read the steps to a point of so many pixels.

    Raises:
        ValueError: why these bytes are none, as the end of a sentence that names the witness.
    """
    # Sizes first: nothing is made of bytes that are too many.
    if not _HEADER.size < len(stored) < 4 * pixels:
        raise ValueError(f"has the wrong size, {len(stored):,} bytes")
    levels, step = _HEADER.unpack_from(stored)
    if not 1 <= levels <= _MOST:
        raise ValueError(f"has {levels} levels; it must have 1 to {_MOST}")
    base, size = 2 * levels + 1, digits_a_byte(levels)
    if len(stored) != _HEADER.size - -pixels // size:
        raise ValueError(f"has the wrong size, {len(stored):,} bytes, for its {levels} levels")
    if not (isfinite(step) and 0 < step <= 1):
        raise ValueError(f"has a step of {step:g}, which must be above 0 and at most 1")
    packed = np.frombuffer(stored, np.uint8, offset=_HEADER.size).astype(np.int64)
    digits = packed[:, None] // base ** np.arange(size)
    if (digits[:, -1] >= base).any() or (digits.ravel()[pixels:] > 0).any():
        raise ValueError("has a digit that its levels do not have")
    digits = digits.ravel()[:pixels] % base
    counts = np.where(digits > levels, digits - base, digits).astype(np.int8)
    return SteppedPoint(step, levels, counts)


def fault_of(stored: bytes, pixels: int) -> str:
    """What is wrong with a stored witness of so many pixels, whatever its example.

    Returns:
        The end of a sentence that names the witness; empty if nothing is wrong.
    """
    if is_in_full(stored, pixels):
        point = np.frombuffer(stored, "<f4")
        inside = bool(((point >= 0) & (point <= 1)).all())
        return "" if inside else "has a number outside [0, 1]"
    try:
        steps_of(stored, pixels)
    except ValueError as error:
        return str(error)
    return ""


def point_of(stored: bytes, x: Pixels) -> Pixels:
    """Return the point that is stored of an example, of its shape; any numbers if it is in full.

    Raises:
        ValueError: these bytes are none, as the end of a sentence that names the witness.
    """
    if is_in_full(stored, x.size):
        return np.frombuffer(stored, "<f4").astype(np.float32).reshape(x.shape)
    return steps_of(stored, x.size).point(x)
