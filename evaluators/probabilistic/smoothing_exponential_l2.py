"""Randomized smoothing with exponential noise of balls (Yang et al. 2020, arXiv 2002.08118,
section 5): density proportional to exp(-‖z‖₂/λ), radii in ℓ2.

With a(q) the slope where an event of probability q is cut (`noises/exponential_l2.py`), the answer
cannot change for ‖δ‖₂ < λ (d - 1) arctanh(a(1 - p)), which is table 1's formula.

Guarantee: as for `smoothing-gaussian`, with ℓ2 balls of that radius, and ℓ1 balls of radius r and
ℓ∞ balls of radius r/√d inside of them.

Trusted: as there; the noise is a normal vector divided by its length, times a Gamma(d) variate.

Cost: at most n0 + n forward passes for each example.
"""

from evaluators.noises.exponential_l2 import ExponentialL2Noise
from evaluators.probabilistic.level_set import LevelSet
from evaluators.smoothing.evaluator import SmoothingEvaluator


class SmoothingExponentialL2(SmoothingEvaluator):
    """Randomized smoothing with exponential noise of balls."""

    title = "Randomized smoothing, exponential noise in ℓ2"
    node = "level-set"
    version = "1"
    certificate = LevelSet()
    only = ExponentialL2Noise.name
