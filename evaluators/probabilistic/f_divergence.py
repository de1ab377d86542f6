"""f-divergences (Dvijotham et al., "A framework for robustness certification of smoothed
classifiers using f-divergences", ICLR 2020), for any noise with known divergences from its shifts.

An f-divergence shrinks under data processing (Csiszár; for those used here van Erven and Harremoës
2014, arXiv 1206.2459, theorem 9). So if the class probabilities after the shift had another class
tied with the top one, their divergence from those before would be at most the noise's from its
shift. The least divergence at which there is such a tie is, with G² = p_A p_B and
rest = 1 - p_A - p_B,
    Kullback and Leibler, KL(after, before)   -ln(2 G + rest)
    the same reversed, KL(before, after)      p_A ln(2 p_A/(p_A + p_B)) + p_B ln(2 p_B/(p_A + p_B))
    Hellinger, -2 ln(1 - H²)                  -ln((√p_A + √p_B)²/2 + rest)
    χ², ln(1 + χ²)                            -ln(4 p_A p_B/(p_A + p_B) + rest)
    total variation                           (p_A - p_B)/2
The answer cannot change while the noise's divergence is less than that, for any one of the five.
The first, third and fourth are Rényi divergences of order 1, 1/2 and 2 (proved in `renyi`); in the
second the tie takes (p_A + p_B)/2 for both and leaves the rest, and in the last mass (p_A - p_B)/2
moves from one to the other. With p_B = 1 - p_A these are the binary divergences of 1/2 from p_A.

Guarantee: as for `smoothing-gaussian`, with the best of the five radii, at most Neyman and
Pearson's.

Trusted: as there.

Cost: at most n0 + n forward passes for each example.
"""

import numpy as np

from evaluators.noises.distribution import SLACK, Distribution, Probabilities, Shift
from evaluators.probabilistic.renyi import least_divergence
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.radius import RadiusCertificate

_ORDERS = np.array([0.5, 1.0, 2.0])


class FDivergence(RadiusCertificate):
    """It proves that one of five divergences of the noise is less than a tie would need."""

    name = "f-divergence"
    asks = ("renyi", "total_variation")

    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether this is so."""
        if distribution.has("total_variation"):
            gap = probabilities.lower - probabilities.upper
            if gap * (1 - SLACK) - SLACK > 2 * distribution.total_variation(shift):
                return True
        if not distribution.has("renyi"):
            return False
        divergence = distribution.renyi(_ORDERS, shift)
        allowed = least_divergence(_ORDERS, probabilities)
        return bool((divergence < allowed).any() or divergence[1] < _reversed(probabilities))


def _reversed(probabilities: Probabilities) -> float:
    """KL(before, after) at a tie, rounded down."""
    both = probabilities.lower + probabilities.upper
    parts = [p * float(np.log(2 * p / both)) for p in probabilities]
    return sum(parts) - SLACK * sum(map(abs, parts)) - SLACK


class FDivergenceSmoothing(SmoothingEvaluator):
    """The f-divergence certificate, for any noise with known divergences."""

    title = "f-divergences"
    node = "divergence"
    version = "1"
    certificate = FDivergence()
