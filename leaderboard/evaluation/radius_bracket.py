"""Between which radii the largest certified one of an example lies, and where to look next.

Radii are counted in 1/GRID of the largest one tried. Nothing here is a proof: what is certified
was certified by an evaluator at exactly that radius, and guesses only choose where to ask.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from math import asinh, isfinite

GRID = 1024
MOST_STEPS = 12
"""Bisection alone takes 10; two more may be lost to wrong guesses."""
_COARSE = 16


@dataclass
class Bracket:
    """What is known about one example.

    Attributes:
        certified: the largest radius that was certified; 0 if none was.
        failed: a larger one that was not, as far as known the smallest.
        margins: proved lower bounds of the margin by radius, where there are any; at 0 the margin
            of the example itself.
        steps: how often an evaluator was asked.
        growing: whether to begin near what is certified, with strides that double until one fails:
            for a method to which a radius too large costs its time, and an easy one next to none.
    """

    certified: int = 0
    failed: int = GRID
    margins: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    growing: bool = False
    stride: int = 0

    def __post_init__(self) -> None:
        self.stride = (self.certified // 16 or self.failed // 64 or 1) if self.growing else 0

    def learn(self, k: int, certified: bool, margin: float | None) -> None:
        """Take in what an evaluator answered about the radius k."""
        self.steps += 1
        self.note(k, margin)
        if certified:
            self.certified = max(self.certified, k)
            self.stride *= 2
        else:
            self.fail(k)
            self.stride = 0

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

        While it grows, a stride beyond what is certified. Else where the margin is guessed to
        vanish; the middle where there is nothing to guess from, or where only bisection ends within
        `MOST_STEPS`.
        """
        if self.width <= 1:
            return None
        middle = (self.certified + self.failed) // 2
        halvings = (self.width - 1).bit_length()
        spare = MOST_STEPS - self.steps > halvings
        if spare and self.stride:
            return min(self.certified + self.stride, middle)
        zero = self._zero() if spare else None
        if zero is None:
            return middle
        # A little beyond the guess, seen from the nearer end, so that both ends come close to it.
        if zero <= middle:
            guess = zero + (zero - self.certified) // 8
        else:
            guess = zero - (self.failed - zero) // 8
        # Examples that are asked about the same radius are asked together.
        coarse = max(1, self.width // _COARSE)
        guess = round(guess / coarse) * coarse
        return max(self.certified + 1, min(guess, self.failed - 1))

    def _zero(self) -> int | None:
        """Where the polynomial through the margins at both ends and next to them vanishes."""
        above = self.margins.get(self.certified, 0.0)
        below = self.margins.get(self.failed, 0.0)
        if not above > 0 > below:
            return None
        # Bounds lose much in wide balls: without a scale that grows slowly, they would draw every
        # guess to the lower end.
        scale = max(self.margins.values())
        ends = [self.certified, self.failed]
        others = sorted(set(self.margins) - set(ends), key=lambda k: min(abs(k - e) for e in ends))
        points = [(k, asinh(self.margins[k] / scale)) for k in ends + others[:1]]
        inside = range(self.certified, self.failed)
        return self.certified + bisect_left(inside, True, key=lambda k: _through(points, k) <= 0)


def _through(points: list[tuple[int, float]], k: int) -> float:
    """The value at k of the polynomial through the points."""
    total = 0.0
    for one, value in points:
        for other, _ in points:
            if other != one:
                value *= (k - other) / (one - other)
        total += value
    return total
