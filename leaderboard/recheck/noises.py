"""Noises of smoothed models once more: what a shift does to events under them, in mpmath.

Noise has scale one, shifts are measured in its own norms. Nothing here is shared with the
evaluators. Every noise has a *place* for a probability: let an event of probability q lose at most
Φ(q) per unit of shift; then place(p) is the integral of dq/Φ(q) from 1/2 to p, and a shift by t
leaves an event of probability p no less than the probability whose place is place(p) - t. So the
answer cannot change for shifts of less than half of the distance between the places of the top
class's probability and another's (Yang et al. 2020, arXiv 2002.08118, section 4.2).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import mpmath
from mpmath import mpf

_DIGITS = 40
"""Of a direction's entry: one minus it may be as small as a probability to a high power."""
_TINY = mpf(10) ** -36
_STEPS = 2000
"""Newton's method needs some thirty."""


def inner(norm: str, own: str, dimension: int) -> mpf:
    """The radius of the largest ball of `norm` inside the ball of radius one of `own`.

    ‖δ‖₂ <= √d ‖δ‖∞, ‖δ‖₁ <= √d ‖δ‖₂ and ‖δ‖₁ <= d ‖δ‖∞, with equality in a corner; a norm that
    comes earlier in ℓ∞, ℓ2, ℓ1 is never larger, with equality on an axis.
    """
    order = ("linf", "l2", "l1")
    steps = order.index(own) - order.index(norm)
    return 1 / mpmath.sqrt(mpf(dimension) ** max(steps, 0))


@dataclass(frozen=True)
class Noise(ABC):
    """Noise of scale one on inputs of `dimension` entries, shifted in `norm`, one of its `own`."""

    own: ClassVar[tuple[str, ...]]

    norm: str
    dimension: int

    @abstractmethod
    def place(self, p: mpf) -> mpf:
        """The integral of dq/Φ(q) from 1/2 to `p`, in (0, 1)."""

    @abstractmethod
    def steepest(self) -> mpf:
        """Φ(1/2): the most that an event's probability can change per unit of shift."""

    def unseen(self, change: mpf) -> mpf:
        """The shift up to which no event's probability changes by more than `change` <= 1/2.

        Changes are largest around 1/2: from (1 - change)/2 to (1 + change)/2.
        """
        return 2 * self.place((1 + change) / 2)

    def apart(self, lower: mpf, upper: mpf) -> mpf:
        """The shift at which the lemma of Neyman and Pearson lets the two probabilities meet."""
        return (self.place(lower) - self.place(upper)) / 2


class Gaussian(Noise):
    """Half-spaces lose most: places are quantiles (Cohen et al. 2019, arXiv 1902.02918)."""

    own = ("l2",)

    def place(self, p: mpf) -> mpf:
        """Φ⁻¹(p)."""
        return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)

    def steepest(self) -> mpf:
        """The normal density at 0."""
        return 1 / mpmath.sqrt(2 * mpmath.pi)


class LogLipschitz(Noise):
    """Log densities change by at most the shift, so that Φ(q) = min(q, 1 - q) at most."""

    def place(self, p: mpf) -> mpf:
        """Laplace's quantile."""
        return mpmath.log(2 * p) if p < 0.5 else -mpmath.log(2 * (1 - p))

    def steepest(self) -> mpf:
        """min(q, 1 - q) at 1/2."""
        return mpf(1) / 2


class Laplace(LogLipschitz):
    """Independent entries of density exp(-|z|)/2 (Teng et al. 2020)."""

    own = ("l1",)


class ExponentialL2(LogLipschitz):
    """Density proportional to exp(-‖z‖₂): slopes are entries u of a uniform direction.

    Events {u >= a} lose most, by E[u; u >= a], which has the slope a in their probability; along
    the way arctanh(a) falls by 1/(d - 1) per unit. In one dimension this is Laplace's noise.
    """

    own = ("l2",)

    def place(self, p: mpf) -> mpf:
        """(d - 1) arctanh(a) with P(u <= a) = p."""
        if self.dimension == 1:
            return super().place(p)
        if p < 0.5:
            return -self.place(1 - p)
        with mpmath.workdps(_DIGITS):
            return (self.dimension - 1) * mpmath.atanh(reach(p - mpf(1) / 2, self.dimension - 1))

    def steepest(self) -> mpf:
        """E|u|/2."""
        if self.dimension == 1:
            return super().steepest()
        return height(self.dimension - 1) / (self.dimension - 1)


class ExponentialLinf(LogLipschitz):
    """Density proportional to exp(-‖z‖∞). Along an axis, 1 of 2d slopes is 1 and one is -1.

    So in ℓ1 Φ(q) = min(q, 1 - q, 1/(2d)); in ℓ∞ as for all noise of this kind.
    """

    own = ("linf", "l1")

    def place(self, p: mpf) -> mpf:
        """In ℓ1 with a straight part in the middle."""
        if self.norm == "linf":
            return super().place(p)
        if p < 0.5:
            return -self.place(1 - p)
        end = mpf(1) / (2 * self.dimension)
        if 1 - p > end:
            return (p - mpf(1) / 2) / end
        return self.dimension - 1 + mpmath.log(end / (1 - p))

    def steepest(self) -> mpf:
        """1/2, or 1/(2d) along an axis."""
        return mpf(1) / (2 if self.norm == "linf" else 2 * self.dimension)


class Flat(Noise):
    """Uniform in a body: an event loses what of the body the shift leaves behind."""

    def place(self, p: mpf) -> mpf:
        """Φ is the same for all q: the body's shadow along the shift over its volume."""
        return (p - mpf(1) / 2) / self.steepest()

    def apart(self, lower: mpf, upper: mpf) -> mpf:
        """Both lose and gain all that is left behind."""
        return self.unseen((lower - upper) / 2)


class Uniform(Flat):
    """Entries uniform in [-1, 1]: an ℓ1 shift by t leaves t/2 behind, along an axis."""

    own = ("l1",)

    def steepest(self) -> mpf:
        """Of a slice of the cube."""
        return mpf(1) / 2


class UniformBall(Flat):
    """Uniform in the Euclidean unit ball, of which one entry has a density like (1 - s²)^((d-1)/2).

    Left behind by a shift along it is what the entry has within half of the shift of 0.
    """

    own = ("l2",)

    def steepest(self) -> mpf:
        """The entry's density at 0."""
        return height(self.dimension + 1)

    def unseen(self, change: mpf) -> mpf:
        """Concave, so not what `place` says."""
        return 2 * reach(change / 2, self.dimension + 1)


NOISES: dict[str, type[Noise]] = {
    "exponential-l2": ExponentialL2,
    "exponential-linf": ExponentialLinf,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "uniform": Uniform,
    "uniform-ball": UniformBall,
}
"""All that are sampled, by name."""


def height(twice: int) -> mpf:
    """At 0 the density on [-1, 1] that is proportional to (1 - s²)^(twice/2 - 1)."""
    half = mpf(twice) / 2
    with mpmath.workdps(_DIGITS):
        return mpmath.gammaprod([half + mpf(1) / 2], [half]) / mpmath.sqrt(mpmath.pi)


@lru_cache(maxsize=4096)
@mpmath.workdps(_DIGITS)  # type: ignore[untyped-decorator]
def reach(mass: mpf, twice: int) -> mpf:
    """How far from 0 this density has `mass`, in (0, 1/2), on one side: Newton's method.

    The mass is concave where the density falls, so that iterates rise to the solution; where it
    does not (twice < 2), steps that leave the interval halve it instead.
    """
    top, power = height(twice), mpf(twice) / 2 - 1
    low, high = mpf(0), mpf(1)
    at = min(mass / top, mpf(1) / 2)
    for _ in range(_STEPS):
        found = mass_within(at, twice, top)
        low, high = (at, high) if found < mass else (low, at)
        following = at + (mass - found) / (top * (1 - at * at) ** power)
        if not low <= following <= high:
            following = (low + high) / 2
        if abs(following - at) <= (1 - at) * at * _TINY * 10**6:
            return following
        at = following
    raise ArithmeticError(f"No place has the mass {mass}.")


def mass_within(at: mpf, twice: int, top: mpf) -> mpf:
    """The mass of this density, of height `top`, between 0 and `at` < 1.

    With k = twice/2 - 1 the integral of (1 - s²)^k from 0 to a is a series of positive terms,
    a (1 - a²)^(k+1) times the sum of products of (k + 3/2 + i) a²/(3/2 + i); for large a it is that
    from 0 to 1 less the rest, a series in 1 - a² (DLMF 8.17.8).
    """
    half, square = mpf(twice) / 2, at * at
    if square < mpf(1) / 2:
        return top * at * (1 - square) ** half * _series(half + mpf(1) / 2, mpf(3) / 2, square)
    rest = 1 - square
    series = _series(half + mpf(1) / 2, half + 1, rest)
    return mpf(1) / 2 - top * at * rest**half / twice * series


def _series(a: mpf, c: mpf, x: mpf) -> mpf:
    """The sum over i of x^i a(a+1)…(a+i-1) / (c(c+1)…(c+i-1)), for x < 1."""
    term = total = mpf(1)
    i = 0
    while True:
        ratio = x * (a + i) / (c + i)
        term *= ratio
        total += term
        i += 1
        # From here on ratios are at most the larger of this one and x.
        bound = max(ratio, x)
        if bound < 1 and term * bound < total * (1 - bound) * _TINY:
            return total
