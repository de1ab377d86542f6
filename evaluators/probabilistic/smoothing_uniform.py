"""Randomized smoothing with uniform noise in a cube (Yang et al. 2020, arXiv 2002.08118, table 1;
Lee et al. 2019, arXiv 1906.04948): entries uniform in [-λ, λ], radii in ℓ1.

If the top class has probability at least p under the noise, the smoothed network's answer cannot
change for ‖δ‖₁ < 2 λ (p - 1/2); with another's probability at most p_B, for ‖δ‖₁ < λ (p - p_B).

Proof. No event's probability changes by more than ‖δ‖₁/(2λ) (`noises/uniform.py`), and one along
an axis loses all of that: the bound is the exact worst case over the ℓ1 ball.

Guarantee: as for `smoothing-gaussian`, with ℓ1 balls of that radius. ℓ2 balls of radius r/√d and ℓ∞
balls of radius r/d lie inside the ℓ1 ball of radius r.

Trusted: as there; the noise is a multiple of 2^-52 (float64), shifted to lie in [-1, 1), times λ.

Cost: at most n0 + n forward passes for each example.
"""

from evaluators.noises.uniform import UniformNoise
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.neyman_pearson import NeymanPearson


class SmoothingUniform(SmoothingEvaluator):
    """Randomized smoothing with uniform noise in a cube."""

    title = "Randomized smoothing, uniform noise"
    node = "neyman-pearson"
    version = "1"
    certificate = NeymanPearson()
    only = UniformNoise.name
