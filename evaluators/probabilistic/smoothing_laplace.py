"""Randomized smoothing with Laplace noise (Teng, Lee and Yuan 2020; Yang et al. 2020,
arXiv 2002.08118, table 1): entries of density exp(-|z|/b) / (2b), radii in ℓ1.

If the top class has probability at least p > 1/2 under the noise, the smoothed network's answer
cannot change for ‖δ‖₁ < b ln(1 / (2 (1 - p))).

Proof. After the shift t an event of probability q has at least F(F⁻¹(q) - t/b), F the distribution
function of one entry (`noises/log_lipschitz.py`). The event "entry i at most F⁻¹(q)" loses just as
much under the shift t of entry i, so that the bound is the exact worst case over the ℓ1 ball.

Guarantee: as for `smoothing-gaussian`, with ℓ1 balls of that radius. ℓ2 balls of radius r/√d and ℓ∞
balls of radius r/d lie inside the ℓ1 ball of radius r.

Trusted: as there; the noise is an exponential variate (ziggurat, float64) with a random sign.

Cost: at most n0 + n forward passes for each example.
"""

from evaluators.noises.laplace import LaplaceNoise
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.neyman_pearson import NeymanPearson


class SmoothingLaplace(SmoothingEvaluator):
    """Randomized smoothing with Laplace noise."""

    title = "Randomized smoothing, Laplace noise"
    node = "neyman-pearson"
    version = "1"
    certificate = NeymanPearson()
    only = LaplaceNoise.name
