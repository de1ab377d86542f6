"""What a certificate is: a proof, from bounds of class probabilities, that a shift changes nothing.

A certificate asks a distribution for a formula and never knows which one it has before it. Its one
method decides whether no shift of at most some distance changes the top class; the radius is found
by bisection over the radii that can be stated, so that every radius returned was itself decided.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from evaluators.noises.distribution import Distribution, Probabilities, Shift
from evaluators.numerics.rounding import float_above
from evaluators.question.norm import Norm
from evaluators.smoothing.balls import RESOLUTION, inscribed, outer

_MOST_STEPS = 10**15
"""A radius of so many steps is no radius: all noise here has light tails or a bounded support."""


class RadiusCertificate(ABC):
    """A proof that turns bounds of class probabilities into a radius.

    Attributes:
        name: for notes and records.
        asks: the formulas of a distribution any one of which it can use.
        first_order: whether it can use an estimate of the gradient besides probabilities.
    """

    name: ClassVar[str]
    asks: ClassVar[tuple[str, ...]]
    first_order: ClassVar[bool] = False

    @abstractmethod
    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether it is proved that none of the shifts changes the top class.

        The noise has scale one and the shift's norm is one of the distribution's own. Rounding
        never makes this true.
        """

    def supports(self, distribution: Distribution, norm: Norm) -> bool:
        """Tell whether there is a certificate at all for balls of `norm`."""
        return norm in distribution.norms and any(map(distribution.has, self.asks))


@dataclass(frozen=True)
class RadiusTarget:
    """The radius that was asked about, and what it takes to turn probabilities into a radius.

    Attributes:
        scale: of the noise.
        norm: of the ball.
        dimension: number of entries of an input.
        radius: the one asked about, if one is.
    """

    certificate: RadiusCertificate
    distribution: Distribution
    scale: Fraction
    norm: Norm
    dimension: int
    radius: Fraction = Fraction(0)

    def certified(self, probabilities: Probabilities) -> Fraction:
        """Compute a radius within which the top class cannot change, rounded down; 0 for none."""
        lower, upper = probabilities
        # NaN fails; so do 0 and 1, which only rounding can give.
        if not (0 < upper < lower < 1) or self.scale <= 0:
            return Fraction(0)
        return max(
            inscribed(self._own_radius(probabilities, own), self.norm, self.dimension, own)
            for own in self.distribution.own
        )

    def reached(self, probabilities: Probabilities) -> bool:
        """Tell whether a pair of bounds gives the radius asked about."""
        return self.certified(probabilities) >= self.radius

    def _own_radius(self, probabilities: Probabilities, own: Norm) -> Fraction:
        """Find by bisection the largest radius in one of the distribution's own norms."""

        def kept(steps: int) -> bool:
            distance = float_above(Fraction(steps, RESOLUTION) / self.scale)
            shift = Shift(distance, own, self.dimension)
            return self.certificate.keeps(self.distribution, probabilities, shift)

        low, high = 0, max(1, math.floor(self.scale * RESOLUTION))
        while high <= _MOST_STEPS and kept(high):
            low, high = high, 2 * high
        if high > _MOST_STEPS:
            return Fraction(0)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if kept(middle) else (low, middle)
        return Fraction(low, RESOLUTION)

    @cached_property
    def needed(self) -> float:
        """The least one-sided lower bound, rounded up, that reaches `radius`; inf if none does.

        A bound of at least this gives at least `radius`, up to the float next to it.
        """
        radii = [
            (own, outer(self.radius, self.norm, self.dimension, own))
            for own in self.distribution.own
        ]
        shifts = [Shift(float_above(r / self.scale), own, self.dimension) for own, r in radii]

        def bounds(lower: float) -> Probabilities:
            # The difference is exact: `lower` is at least 1/2.
            return Probabilities(lower, 1.0 - lower)

        def kept(lower: float) -> bool:
            keeps = self.certificate.keeps
            return any(keeps(self.distribution, bounds(lower), shift) for shift in shifts)

        low, high = 0.5, math.nextafter(1.0, 0.0)
        if not kept(high):
            return math.inf
        while (middle := (low + high) / 2) not in (low, high):
            low, high = (low, middle) if kept(middle) else (middle, high)
        # The radius is found by another search; make sure that it sees this too.
        step = 2.0**-53
        while high < 1:
            if self.reached(bounds(high)):
                return high
            high, step = high + step, 2 * step
        return math.inf
