"""From exact boxes to boxes of floating-point numbers that hold them."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from evaluators.network.specification import ExactBox
from evaluators.numerics.errors import UnsupportedSpecificationError
from evaluators.numerics.rounding import float_above, float_below

Doubles = NDArray[np.float64]


def float32_between(lower: Fraction, upper: Fraction, near: Fraction) -> np.float32 | None:
    """Return a float32 between two numbers, at one of them or at `near`; None if there is none."""
    with np.errstate(over="ignore"):
        first = np.float32(float(near))
    ends = (np.float32(np.inf), np.float32(-np.inf))
    candidates: list[np.float32] = [first, *(np.nextafter(first, end) for end in ends)]
    for value in candidates:
        if np.isfinite(value) and lower <= Fraction(float(value)) <= upper:
            return value
    return None


def enclosing_floats(box: ExactBox) -> tuple[Doubles, Doubles, NDArray[np.float32]]:
    """`(lower, upper, x)`: a float64 box that holds the exact one, and a float32 point of it."""
    largest = float(np.finfo(np.float32).max)
    if max(max(map(abs, box.lower)), max(map(abs, box.upper))) > largest:
        raise UnsupportedSpecificationError("A bound of an input is beyond the range of float32.")
    lower = np.array([float_below(value) for value in box.lower])
    upper = np.array([float_above(value) for value in box.upper])
    x = ((lower + upper) / 2).astype(np.float32)
    for index in np.flatnonzero((x <= lower) | (x >= upper)):
        least, most = box.lower[index], box.upper[index]
        single = float32_between(least, most, (least + most) / 2)
        # No float32 lies between them, such as for a fixed 0.1: its neighbour has to serve.
        x[index] = np.float32(float(least)) if single is None else single
        lower[index] = min(lower[index], float(x[index]))
        upper[index] = max(upper[index], float(x[index]))
    return lower, upper, x


def sample_inputs(box: ExactBox) -> NDArray[np.float32]:
    """A few inputs of a box, on which to compare the imported network with the runtime."""
    lower, upper, x = enclosing_floats(box)
    shares = np.random.Generator(np.random.Philox(key=21)).random((3, len(x)))
    return np.concatenate((x[None], (lower + shares * (upper - lower)).astype(np.float32)))
