"""Balls inside balls: how a radius in one norm becomes a radius in another, rounded down."""

from fractions import Fraction
from math import isqrt

from evaluators.question.norm import Norm

RESOLUTION = 10**6
"""Radii are stated in multiples of one millionth, rounded down."""


def inscribed(radius: Fraction, norm: Norm, dimension: int, own: Norm = Norm.L2) -> Fraction:
    """Compute the radius, rounded down, of the largest `norm` ball in the `own` ball of `radius`.

    ‖δ‖₂ <= √d ‖δ‖∞ and ‖δ‖₁ <= √d ‖δ‖₂ and ‖δ‖₁ <= d ‖δ‖∞, with equality in a corner; and
    ‖δ‖∞ <= ‖δ‖₂ <= ‖δ‖₁ with equality on an axis.
    """
    steps = radius.numerator * RESOLUTION // radius.denominator
    if (own, norm) in ((Norm.L2, Norm.LINF), (Norm.L1, Norm.L2)):
        steps = isqrt(steps * steps // dimension)
    elif (own, norm) == (Norm.L1, Norm.LINF):
        steps //= dimension
    return Fraction(steps, RESOLUTION)


def outer(radius: Fraction, norm: Norm, dimension: int, own: Norm) -> Fraction:
    """Compute the least radius in `own`, not 0, from which `inscribed` makes `radius` or more."""
    steps = max(-(-radius.numerator * RESOLUTION // radius.denominator), 1)
    if (own, norm) in ((Norm.L2, Norm.LINF), (Norm.L1, Norm.L2)):
        steps = isqrt(steps * steps * dimension - 1) + 1
    elif (own, norm) == (Norm.L1, Norm.LINF):
        steps *= dimension
    return Fraction(steps, RESOLUTION)
