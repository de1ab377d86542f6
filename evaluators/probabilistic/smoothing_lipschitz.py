"""The Lipschitz constant of class probabilities under noise (Salman et al. 2019, arXiv 1906.04584,
lemma 1), for any noise whose events have a known growth rate.

Whatever the base network, the probability of each class is a Lipschitz function of the input, in
the norm of the shift over σ, with the constant L = sup Φ(q): the growth rate of the fastest growing
event, that of probability 1/2. It is tight. So the answer cannot change for
‖δ‖ < σ (p_A - p_B)/(2L). Gaussian noise has L = 1/√(2π) in ℓ2 for scores in [0, 1] (√(2/π) of the
paper's lemma is for scores in [-1, 1]); Laplace and uniform noise have L = 1/2 in ℓ1.

The paper's lemma 2 says more: Φ_G⁻¹(p) of the Gaussian distribution function Φ_G is Lipschitz with
constant 1/σ. That gives σ/2 (Φ_G⁻¹(p_A) - Φ_G⁻¹(p_B)), Cohen et al.'s radius. It is `level-set` for
Gaussian noise: there p' >= -Φ(p), and here p' >= -sup Φ. The plain constant ignores how slowly rare
events grow and never certifies more than σ/(2L).

Guarantee: as for `smoothing-gaussian`, with that radius, at most the level sets'.

Trusted: as there, and the proof that Φ is the distribution's (in its file).

Cost: at most n0 + n forward passes for each example.
"""

import numpy as np

from evaluators.noises.distribution import SLACK, Distribution, Probabilities, Shift
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.radius import RadiusCertificate


class Lipschitz(RadiusCertificate):
    """It proves that the gap of the probabilities exceeds twice the constant times the distance."""

    name = "lipschitz"
    asks = ("growth",)

    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether this is so; Φ is concave and symmetric, so it is the largest at 1/2."""
        constant = float(distribution.growth(np.array([0.5]), shift.norm, shift.dimension)[0])
        gap = probabilities.lower - probabilities.upper
        return gap > 2 * constant * shift.distance * (1 + SLACK)


class LipschitzSmoothing(SmoothingEvaluator):
    """The Lipschitz certificate, for any noise that has growth rates."""

    title = "Lipschitz constant of the smoothed network"
    node = "zeroth-order/lipschitz"
    version = "1"
    certificate = Lipschitz()
