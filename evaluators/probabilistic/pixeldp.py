"""PixelDP: differential privacy (Lecuyer et al. 2019, arXiv 1802.03471), for any noise that is
differentially private.

If shifts of at most the radius are (ε, δ)-private under the noise, each class's probability obeys
P(x + shift) <= exp(ε) P(x) + δ, and the same with the two exchanged. So the top class stays on top
while p_A > exp(2ε) p_B + (1 + exp(ε)) δ (proposition 1 and lemma 1). This holds for every pair
(ε, δ) that the noise has; the radius is the largest for which some ε of a fixed list gives it.

As published, Gaussian noise is the mechanism of Dwork and Roth: ε < 1, σ = √(2 ln(5/(4δ))) r/ε in
ℓ2; Laplace noise has ε = r/b and δ = 0 in ℓ1. Noise that is uniform in a body has ε = 0, and δ is
the part of the body that the shift misses.

Guarantee: as for `smoothing-gaussian`, with that radius, at most Neyman and Pearson's. Published as
a statement about mean scores; here, as everywhere on this board, about the frequency of votes.

Trusted: as there.

Cost: at most n0 + n forward passes for each example.
"""

import numpy as np

from evaluators.noises.distribution import SLACK, Distribution, Probabilities, Shift
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.radius import RadiusCertificate

_EPSILONS = np.concatenate(([0.0], np.geomspace(1e-6, 0.1, 200), np.linspace(0.1, 0.9999, 1801)))
"""Any list is sound. Also ε = distance is tried, from where δ = 0 for noise that allows it."""


class PixelDP(RadiusCertificate):
    """It proves that p_A > exp(2ε) p_B + (1 + exp(ε)) δ for some ε."""

    name = "pixeldp"
    asks = ("privacy",)

    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether this is so."""
        epsilon = np.append(_EPSILONS, min(shift.distance * (1 + SLACK), 300.0))
        delta = distribution.privacy(epsilon, shift)
        other = np.exp(2 * epsilon) * probabilities.upper + (1 + np.exp(epsilon)) * delta
        return bool((probabilities.lower > other * (1 + SLACK)).any())


class PixelDPSmoothing(SmoothingEvaluator):
    """PixelDP's certificate, for any noise that is differentially private."""

    title = "PixelDP"
    node = "differential-privacy"
    version = "1"
    certificate = PixelDP()
