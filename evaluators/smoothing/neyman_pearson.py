"""Neyman and Pearson's certificate (Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918)."""

import math
from fractions import Fraction

from evaluators.noises.distribution import Distribution, Probabilities, Shift
from evaluators.smoothing.radius import RadiusCertificate


class NeymanPearson(RadiusCertificate):
    """It takes the least probability that any base classifier keeps (Cohen et al. 2019, theorem 1).

    The top class has at least `least(p_A)` after the shift, any other at most 1 - `least(1 - p_B)`.
    Where the distribution's trade-off function is exact this is the best that follows from p_A and
    p_B alone.
    """

    name = "neyman-pearson"
    asks = ("least",)

    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether the top class's least exceeds any other's most."""
        top = distribution.least(probabilities.lower, shift)
        rest = distribution.least(complement(probabilities.upper), shift)
        # A sum above 1 cannot come of rounding: 1 is a float, and rounding is monotone.
        return top + rest > 1


def complement(p: float) -> float:
    """Compute 1 - p, rounded down, and below 1 unless p is 0."""
    value = 1.0 - p
    return math.nextafter(value, 0.0) if Fraction(value) > 1 - Fraction(p) else value
