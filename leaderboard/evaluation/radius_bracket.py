"""Between which radii the largest certified one of an example lies, and where to look next.

Radii are decimals of few digits, numbered from the smallest on, the same ones whatever the largest
one asked about is. Nothing here is a proof: what is certified was certified by an evaluator at
exactly that radius, and guesses only choose where to ask.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import asinh, ceil, floor, isfinite

PRECISION = 200
"""Neighbouring radii differ by at most 1/200 of themselves: 0.0710, 0.07105, 0.0711."""
_DECADE = 9 * PRECISION
_SPARE = 2
"""Steps that wrong guesses may cost, besides those of bisection."""
_COARSE, _COARSEST = 16, 64
_FAR = 256
_SMALL, _BESIDE, _FASTEST = 64, 17 / 16, 2.0
"""Where growth begins: at 1/64 of the largest radius, or 1/16 beyond what is certified; and its
largest factor."""


@dataclass(frozen=True)
class RadiusScale:
    """The radii that are tried, by number from 1; 0 stands for none.

    Attributes:
        least: the power of ten that the first radius is.
    """

    least: int = -6

    @classmethod
    def below(cls, largest: Fraction) -> "RadiusScale":
        """Return the scale from 10⁻⁶ on, or from far below a tiny `largest`."""
        return cls(min(cls.least, len(str(floor(largest))) - len(str(floor(1 / largest))) - 4))

    def radius(self, k: int) -> Fraction:
        """Return the radius of number k."""
        decades, part = divmod(k - 1, _DECADE)
        return Fraction(10) ** (self.least + decades) * (PRECISION + part) / PRECISION * (k > 0)

    def number(self, radius: Fraction) -> int:
        """Return the number of the least radius that is no smaller."""
        ratio = radius / self.radius(1)
        decades = max(0, len(str(floor(ratio))) - 1)
        above = ceil(ratio * PRECISION / 10**decades) - PRECISION
        return int(max(1, decades * _DECADE + above + 1))

    def length(self, k: int) -> float:
        """Return the radius of number k as guesses use it."""
        return float(self.radius(k))


@dataclass
class Bracket:
    """What is known about one example; radii are numbers.

    Attributes:
        failed: the smallest radius that was tried and not certified, or that holds a witness.
        certified: the largest radius that was certified; 0 if none was.
        length: the radius that a number stands for; guesses follow it.
        margins: proved lower bounds of the margin by radius, where there are any; at 0 the margin
            of the example itself.
        steps: how often an evaluator was asked.
        growing: whether to begin near what is certified, with factors that grow until one fails:
            for a method to which a radius too large costs its time, and an easy one next to none.
    """

    failed: int
    certified: int = 0
    length: Callable[[int], float] = float
    margins: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    growing: bool = False

    def __post_init__(self) -> None:
        self.most = max(1, self.width).bit_length() + _SPARE
        self._factor = _BESIDE

    def learn(self, k: int, certified: bool, margin: float | None) -> None:
        """Take in what an evaluator answered about the radius k."""
        self.steps += 1
        self.note(k, margin)
        if certified:
            self.certified = max(self.certified, k)
            self._factor = min(self._factor**2, _FASTEST)
        else:
            self.fail(k)
            self.growing = False

    def note(self, k: int, margin: float | None) -> None:
        """Keep a margin."""
        if margin is not None and isfinite(margin):
            self.margins[k] = margin

    def fail(self, k: int) -> None:
        """Look only below k. (A larger radius may be certified already: then it stays so.)"""
        self.failed = min(self.failed, k)

    @property
    def width(self) -> int:
        """How far apart the ends are; 1 or less when nothing lies between them."""
        return self.failed - self.certified

    def next(self) -> int | None:
        """Return the radius to ask about, if there is one between the ends.

        While it grows, a factor beyond what is certified. Else where the margin is guessed to
        vanish; the middle where there is nothing to guess from, or where only bisection ends within
        `most` steps.
        """
        if self.width <= 1:
            return None
        middle = (self.certified + self.failed) // 2
        halvings = (self.width - 1).bit_length()
        spare = self.most - self.steps > halvings
        if spare and self.growing:
            return min(self._grown(), middle)
        # Orders of magnitude are halved: no curve reaches over so many.
        far = self.certified and self.length(self.failed) > _FAR * self.length(self.certified)
        zero = self._zero() if spare and not far else None
        if zero is None:
            return middle
        # A little beyond the guess, seen from the nearer end, so that both ends come close to it.
        if zero <= middle:
            guess = zero + min(_COARSEST, (zero - self.certified) // 8)
        else:
            guess = zero - min(_COARSEST, (self.failed - zero) // 8)
        # Examples that are asked about the same radius are asked together.
        coarse = max(1, min(self.width // _COARSE, _COARSEST))
        guess = round(guess / coarse) * coarse
        return max(self.certified + 1, min(guess, self.failed - 1))

    def _grown(self) -> int:
        """The largest radius within the factor, but a larger one than is certified."""
        proved = self.length(self.certified)
        most = proved * self._factor if self.certified else self.length(self.failed) / _SMALL
        inside = range(self.certified + 1, self.failed)
        beyond = bisect_left(inside, True, key=lambda k: self.length(k) > most)
        return self.certified + max(1, beyond)

    def _zero(self) -> int | None:
        """Where the polynomial through the margins at both ends and next to them vanishes."""
        above = self.margins.get(self.certified, 0.0)
        below = self.margins.get(self.failed, 0.0)
        if not above > 0 > below:
            return None
        ends = [self.certified, self.failed]
        if not self.certified:
            # A straight line leads from far above to the right order of magnitude.
            points = [(self.length(k), self.margins[k]) for k in ends]
        else:
            # Bounds lose much in wide balls: without a scale that grows slowly, they would draw
            # every guess to the lower end.
            scale = max(self.margins.values())
            others = set(self.margins) - set(ends)
            third = sorted(others, key=lambda k: min(abs(k - e) for e in ends))[:1]
            points = [(self.length(k), asinh(self.margins[k] / scale)) for k in ends + third]

        def below_zero(k: int) -> bool:
            return _through(points, self.length(k)) <= 0

        inside = range(self.certified, self.failed)
        return self.certified + bisect_left(inside, True, key=below_zero)


def _through(points: list[tuple[float, float]], at: float) -> float:
    """The value at a place of the polynomial through the points."""
    total = 0.0
    for one, value in points:
        for other, _ in points:
            if other != one:
                value *= (at - other) / (one - other)
        total += value
    return total
