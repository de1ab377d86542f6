"""First order: the gradient of the smoothed probability too (Mohapatra et al. 2020,
arXiv 2010.06651; Levine et al. 2020, arXiv 2010.10549), for Gaussian noise.

Beside the top class's probability p, the same samples bound the length of its gradient. A
half-space has the longest gradient of all events of probability p, φ(Φ⁻¹(p))/σ; where the gradient
is shorter the base network is no half-space, and the worst event left, a slab across the shift,
keeps more.
With slab (a, b), Φ(b) - Φ(a) = p and φ(b) - φ(a) = σ‖gradient‖, the top class keeps
Φ(b - r/σ) - Φ(a - r/σ) after any shift of length r. The answer cannot change while that is above
1/2, or above the most that zeroth order leaves to any other class. Derived in `_gradient`.

Guarantee: as for `smoothing-gaussian`, with that radius, and never below that of zeroth order from
the same bound of p. Half of `failure_probability` goes to the bounds of probabilities and half to
that of the gradient.

Trusted: as there.

Cost: n0 + n forward passes for each example, and a product of n × entries numbers for its gradient.
Where the gradient is small its bound is about 3 (entries/n²)^(1/4), which leaves nothing of the
gain for large inputs unless n is large: 10⁵ samples do not help at p = 0.99 and 3,072 entries.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from typing import ClassVar

from evaluators.noises.distribution import Distribution, Probabilities, Shift
from evaluators.noises.gaussian import GaussianNoise
from evaluators.question.norm import Norm
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.gradient import gradient_bound, least_given_gradient
from evaluators.smoothing.neyman_pearson import NeymanPearson, complement
from evaluators.smoothing.procedure import Estimate, Statistics
from evaluators.smoothing.radius import RadiusCertificate, RadiusTarget


@dataclass(frozen=True)
class FirstOrder(RadiusCertificate):
    """It proves what zeroth order does, or more with a bound of the gradient.

    Attributes:
        gradient: upper bound of ‖E[f z]‖, which is σ times the gradient's length.
    """

    name: ClassVar[str] = "first-order"
    asks: ClassVar[tuple[str, ...]] = ("least",)
    first_order: ClassVar[bool] = True

    gradient: float = inf

    def supports(self, distribution: Distribution, norm: Norm) -> bool:
        """Accept Gaussian noise only."""
        return isinstance(distribution, GaussianNoise) and norm in distribution.norms

    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether this is so."""
        if NeymanPearson().keeps(distribution, probabilities, shift):
            return True
        top = least_given_gradient(probabilities.lower, self.gradient, shift.distance)
        return top > 0.5 or top + distribution.least(complement(probabilities.upper), shift) > 1


class FirstOrderSmoothing(SmoothingEvaluator):
    """The first-order certificate, for Gaussian noise."""

    title = "First order (class probability and gradient)"
    node = "first-order"
    version = "1"
    certificate = FirstOrder()
    share = 0.5

    def certify(self, asked: RadiusTarget, estimate: Estimate) -> tuple[Fraction, Statistics]:
        """Compute the radius with the gradient's bound, and say what that was computed from."""
        if estimate.moments is None:
            return asked.certified(estimate.probabilities), ()
        failure_probability = self.failure_probability * (1 - self.share)
        limit = gradient_bound(estimate.moments, estimate.n, failure_probability)
        radius = replace(asked, certificate=FirstOrder(limit.bound)).certified(
            estimate.probabilities
        )
        return radius, tuple((f"gradient_{name}", value) for name, value in limit._asdict().items())
