"""Floating point told to the safe side: the only place that knows unit roundoffs.

Everything here is float64. A sum of `k` products computed in any order, with or without fused
multiply-add, differs from the true one by at most `gamma(k)` times the sum of the absolute
products (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). The bound
does not depend on the order, so it covers BLAS, threads and accelerators; it does not cover
Winograd or Fourier convolutions, which libraries do not use in float64. Products that underflow
lose at most `UNDERFLOW` in any sum that fits into memory.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

UNIT = 2.0**-53
"""Largest relative error of one float64 operation."""

UNDERFLOW = 1e-290
"""More than any sum of products can lose to underflow (terms x 2^-1074)."""


def gamma(terms: int) -> float:
    """Bound k·u / (1 - k·u) on the relative error of a sum of `terms` products, rounded up."""
    error = terms * UNIT
    if error >= 0.5:
        raise ValueError(f"{terms} terms are too many for a rounding bound.")
    return error / (1 - error) * (1 + 8 * UNIT)


def up(value: Tensor) -> Tensor:
    """The next float64 above."""
    return torch.nextafter(value, value.new_tensor(math.inf))


def down(value: Tensor) -> Tensor:
    """The next float64 below."""
    return torch.nextafter(value, value.new_tensor(-math.inf))


def float_above(value: Fraction) -> float:
    """The smallest float64 not below an exact fraction."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def float_below(value: Fraction) -> float:
    """The largest float64 not above an exact fraction."""
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
