"""Randomised smoothing with Gaussian noise (Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918).

The smoothed network g answers with the class c that the base f gives most often to x + z,
z ~ N(0, σ²I). If P[f(x + z) = c] >= p > 1/2, then g(x + δ) = c for all ‖δ‖₂ < σ Φ⁻¹(p)
(theorem 1 with p_B = 1 - p, as in section 3.2.2). The p is estimated (algorithm CERTIFY).

Guarantee: for each example, whatever the network, the probability over the noise that `radius` is
too large or the prediction wrong is at most `failure_probability`. It holds around the example
itself and so for the part of the ball with pixels in [0, 1]. ℓ∞ balls of radius r/√d and ℓ1 balls
of radius r lie inside the ℓ2 ball of radius r. The radius is rounded down, hence strictly smaller.

A page of examples: the noise is shared by its examples, so their errors may come together. A union
bound over examples holds as it always does; bounds that need independence of examples do not.

Trusted: that the pseudorandom noise is as good as independent Gaussian noise; it is drawn in
float64 (ziggurat over Philox) and rounded once, with the example added, to float32. The base f is
exactly what is run: float32 on this device, no class where the top logit is tied or one is not
finite.

Cost: n0 + n forward passes for each example.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from evaluators.evaluator import Evaluator
from evaluators.network import SmoothedNetwork
from evaluators.probabilistic._cohen import Procedure
from evaluators.probabilistic._distribution import Distribution, inscribed
from evaluators.problem import Norm, Problem
from evaluators.verdict import Verdict

_QUANTILE_ERROR = Fraction(1, 10**9)
"""More than `ndtri` errs by anywhere in (1/2, 1)."""


class Gaussian(Distribution):
    """N(0, σ²) in every entry; its scale is σ."""

    @property
    def name(self) -> str:
        """As in `submission.toml`."""
        return "gaussian"

    def fill(self, generator: np.random.Generator, out: NDArray[np.float64]) -> None:
        """Standard normal noise."""
        generator.standard_normal(out=out)

    def radius(self, p_lower: float, scale: Fraction, norm: Norm, dimension: int) -> Fraction:
        """σ Φ⁻¹(p_lower) in ℓ2, and the largest ball inside that one in other norms."""
        if not 0.5 < p_lower < 1:
            return Fraction(0)
        quantile = Fraction(float(ndtri(p_lower))) - _QUANTILE_ERROR
        return inscribed(max(scale * quantile, Fraction(0)), norm, dimension)


@dataclass(frozen=True)
class SmoothingGaussian(Evaluator):
    """Randomised smoothing with Gaussian noise; options as in algorithm CERTIFY.

    Attributes:
        n0: samples that select the class.
        n: further samples that bound its probability.
        failure_probability: chance of a false certificate for one example.
    """

    n0: int = 100
    n: int = 100_000
    failure_probability: float = 0.001

    title: ClassVar[str] = "Randomised smoothing, Gaussian noise"
    version: ClassVar[str] = "1"
    accepts: ClassVar[type[SmoothedNetwork]] = SmoothedNetwork

    def solve(self, problem: Problem) -> list[Verdict]:
        """CERTIFY with `n0` and `n` samples."""
        return Procedure(self.n0, self.n, self.failure_probability)(problem, Gaussian())
