"""Randomized smoothing with uniform noise in a Euclidean ball (Yang et al. 2020, arXiv 2002.08118,
table 1): z uniform in {‖z‖₂ <= λ}, radii in ℓ2.

No event's probability changes by more than V(t), the part of the ball that a shift of length t
misses (`noises/uniform_ball.py`). So the smoothed network's answer cannot change while
p_A - p_B > 2 V(‖δ‖₂): exact in every direction, by symmetry.

Guarantee: as for `smoothing-gaussian`, with ℓ2 balls of that radius, ℓ1 balls of radius r and ℓ∞
balls of radius r/√d inside of them. Neyman and Pearson's radius is larger than the level set
method's here: V is concave, and the level set method uses only its slope at 0.

Trusted: as there; the noise is a normal vector divided by its length, times U^(1/d), U uniform.

Cost: at most n0 + n forward passes for each example.
"""

from evaluators.noises.uniform_ball import UniformBallNoise
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.neyman_pearson import NeymanPearson


class SmoothingUniformBall(SmoothingEvaluator):
    """Randomized smoothing with uniform noise in a Euclidean ball."""

    title = "Randomized smoothing, uniform noise in a ball"
    node = "neyman-pearson"
    version = "1"
    certificate = NeymanPearson()
    only = UniformBallNoise.name
