"""Randomized smoothing with Gaussian noise (Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918).

The smoothed network g answers with the class that the base f gives most often to x + z,
z ~ N(0, σ²I). If the top class has probability at least p_A under the noise and every other at most
p_B < p_A, then g(x + δ) is the top class for all ‖δ‖₂ < σ/2 (Φ⁻¹(p_A) - Φ⁻¹(p_B)) (theorem 1);
with p_B = 1 - p_A, as in section 3.2.2, for all ‖δ‖₂ < σ Φ⁻¹(p_A).

Guarantee: for each example, whatever the network, the probability over the noise that `radius` is
too large or the prediction wrong is at most `failure_probability`. It holds around the example
itself and so for the part of the ball with pixels in [0, 1]. ℓ∞ balls of radius r/√d and ℓ1 balls
of radius r lie inside the ℓ2 ball of radius r. The radius is rounded down, hence strictly smaller.

A page of examples: where the noise is shared by its examples their errors may come together. A
union bound over examples holds as it always does; bounds that need independence do not.

Trusted: that the pseudorandom noise is as good as independent Gaussian noise; it is drawn in
float64 (ziggurat over Philox) and rounded once, with the example added, to float32. The base f is
exactly what is run: float32 on this device, no class where the top logit is tied or one is not
finite.

Cost: at most n0 + n forward passes for each example.
"""

from evaluators.noises.gaussian import GaussianNoise
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.neyman_pearson import NeymanPearson


class SmoothingGaussian(SmoothingEvaluator):
    """Randomized smoothing with Gaussian noise."""

    title = "Randomized smoothing, Gaussian noise"
    node = "neyman-pearson"
    version = "2"
    certificate = NeymanPearson()
    only = GaussianNoise.name
