"""Rényi divergence (Li, Chen, Wang and Carin 2019, arXiv 1809.03113), for any noise whose Rényi
divergences from its shifts are known.

If another class is at least as likely as the top class after the shift, then the divergence of
order α > 0 of the class probabilities after from those before is at least
    -ln(1 - p_A - p_B + 2 M),  M = ((p_A^(1-α) + p_B^(1-α)) / 2)^(1/(1-α)),
the power mean of p_A and p_B (lemma 1; at α = 1 the geometric mean). Divergences shrink under data
processing, so the answer cannot change while the noise's divergence D_α(shift) is less than that
for some α. For Gaussian noise D_α = α r²/(2σ²): theorem 2 of the paper.

The bound is the exact minimum over all class probabilities with a tie at the top: with q the two
tied ones' and r the rest's, sum_i q_i^α p_i^(1-α) = (2q)^α (2M)^(1-α) + r^α (1 - p_A - p_B)^(1-α),
which Hölder's inequality bounds by (2M + 1 - p_A - p_B)^(1-α), from below for α > 1 and from above
for α < 1. With p_B = 1 - p_A it is the binary divergence of 1/2 from p_A. It grows with p_A and
falls with p_B, so that bounds of them may be put in.

Guarantee: as for `smoothing-gaussian`, with that radius, at most Neyman and Pearson's. Orders are
tried from a fixed list: above 1, as published, and nine below.

Trusted: as there.

Cost: at most n0 + n forward passes for each example.
"""

from fractions import Fraction

import numpy as np

from evaluators.noises.distribution import SLACK, Distribution, Probabilities, Shift, Vector
from evaluators.numerics.rounding import float_above
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.radius import RadiusCertificate

_ORDERS = np.concatenate((np.linspace(0.1, 0.9, 9), 1 + np.geomspace(1e-3, 1e4, 1401)))
"""Any list is sound; differences from 1 are 1.2 % apart."""


def least_divergence(order: Vector, probabilities: Probabilities) -> Vector:
    """Compute the least Rényi divergence of each order at a tie of the top class, rounded down."""
    lower, upper = probabilities
    rest = float_above(max(1 - Fraction(lower) - Fraction(upper), Fraction(0)))
    top, other = np.log(lower), np.log(upper)
    power = np.where(np.abs(1 - order) < 1e-6, 1.0, 1 - order)
    # Logarithms, since powers of small probabilities overflow.
    mean = (np.logaddexp(power * top, power * other) - np.log(2)) / power
    mean = np.where(np.abs(1 - order) < 1e-6, (top + other) / 2, mean)
    # log(2) and logaddexp cancel near order 1, where they are divided by a small power.
    error = SLACK * (1 + abs(top) + abs(other)) / np.minimum(np.abs(power), 1)
    return np.asarray(-np.log(rest + 2 * np.exp(mean + error)) - error)


class Renyi(RadiusCertificate):
    """It proves that the noise's divergence of some order is less than a tie would need."""

    name = "renyi"
    asks = ("renyi",)

    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether this is so."""
        allowed = least_divergence(_ORDERS, probabilities)
        return bool((distribution.renyi(_ORDERS, shift) < allowed).any())


class RenyiSmoothing(SmoothingEvaluator):
    """The Rényi certificate, for any noise with known Rényi divergences."""

    title = "Rényi divergence"
    node = "divergence"
    version = "1"
    certificate = Renyi()
