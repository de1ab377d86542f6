"""What a smoothing distribution is: how to draw its noise, and which radius it certifies."""

from abc import ABC, abstractmethod
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from evaluators.problem import Norm

RESOLUTION = 10**6
"""Radii are stated in multiples of one millionth, rounded down."""


class Distribution(ABC):
    """Noise with independent entries, known up to its scale.

    A new distribution is one evaluator file with a subclass of this.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """As in `SmoothedNetwork.distribution`."""

    @abstractmethod
    def fill(self, generator: np.random.Generator, out: NDArray[np.float64]) -> None:
        """Fill a contiguous array with independent noise of scale one."""

    @abstractmethod
    def radius(self, p_lower: float, scale: Fraction, norm: Norm, dimension: int) -> Fraction:
        """A radius within which the top class cannot change, rounded down; 0 for none.

        Arguments:
            p_lower: lower bound, above 1/2, of the top class's probability under the noise.
            scale: of the noise.
            norm: of the ball.
            dimension: number of entries of an input.
        """


def inscribed(radius: Fraction, norm: Norm, dimension: int) -> Fraction:
    """Radius, rounded down, of the largest ball of `norm` inside the ℓ2 ball of `radius`.

    ‖δ‖₂ <= √d ‖δ‖∞ with equality in a corner, and ‖δ‖₂ <= ‖δ‖₁ with equality on an axis.
    """
    steps = radius.numerator * RESOLUTION // radius.denominator
    if norm is Norm.LINF:
        steps = isqrt(steps * steps // dimension)
    return Fraction(steps, RESOLUTION)
