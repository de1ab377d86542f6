"""Randomized smoothing with exponential noise of cubes (Yang et al. 2020, arXiv 2002.08118,
section 5): density proportional to exp(-‖z‖∞/λ), radii in ℓ∞ and in ℓ1.

By the growth rates Φ of `noises/exponential_linf.py` the answer cannot change

ℓ∞: for ‖δ‖∞ < λ ln(1 / (2 (1 - p))), the exact worst case;

ℓ1: for ‖δ‖₁ < 2 d λ (p - 1/2) while p <= 1 - 1/(2d), and for
‖δ‖₁ < λ (d - 1 + ln(1 / (2 d (1 - p)))) above that.

Guarantee: as for `smoothing-gaussian`, with the larger of the balls that are inscribed in these
two. ℓ2 balls of radius r/√d lie inside the ℓ1 ball of radius r.

Trusted: as there; the noise is uniform in [-1, 1)^d times a Gamma(d + 1) variate, in float64.

Cost: at most n0 + n forward passes for each example.
"""

from evaluators.noises.exponential_linf import ExponentialLinfNoise
from evaluators.probabilistic.level_set import LevelSet
from evaluators.smoothing.evaluator import SmoothingEvaluator


class SmoothingExponentialLinf(SmoothingEvaluator):
    """Randomized smoothing with exponential noise of cubes."""

    title = "Randomized smoothing, exponential noise in ℓ∞"
    node = "level-set"
    version = "1"
    certificate = LevelSet()
    only = ExponentialLinfNoise.name
