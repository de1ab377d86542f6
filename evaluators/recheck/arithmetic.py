"""What the recheck computes with: float64 with its rounding errors bounded, or exact fractions.

**Float64.** u = 2^-53 and gamma(k) = k·u / (1 - k·u). A sum of k products, in any order and with or
without fused multiply-add, is off by at most gamma(k) · Σ|products| (Higham, Accuracy and
Stability, 2nd ed., section 3.1), plus k · 2^-1074 where products underflow; products with a zero
are exact and do not count. No error is carried along: that of a coefficient is at once charged, as
`slack`, against the largest magnitude of what it multiplies. A slack is a sum of at most 2^29 terms
>= 0, so its own relative error is below 1e-7; `settle` inflates it by 1e-6. All that underflow can
lose (fewer than 2^40 products, magnitudes below 1e100) is less than `TINY`.

**Fractions.** Nothing is rounded; only the roundings in which the importer computed a weight itself
(the 1/9 of an average) are charged: |true - w| <= gamma(2r) · |w| after r roundings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of float64, or of fractions as objects
TINY = 1e-200
LARGEST = 1e100  # values beyond are refused, so that underflow is covered by `TINY`
AT_ONCE = 2**22  # entries of coefficients that are held at once
SIDES = np.array([[1], [-1]])  # bounds are kept as *floors*: (l, -u) = SIDES · (l, u)
_fractions: Callable[..., Array] = np.vectorize(Fraction, otypes=[object])


@dataclass(frozen=True)
class Arithmetic:
    """One of the two."""

    exact: bool

    def array(self, values: Any) -> Array:
        """Floats of any size, which are exact in float64, too."""
        return _fractions(values) if self.exact else np.asarray(values, dtype=np.float64)

    def gamma(self, terms: int, imported: int = 0) -> Any:
        """Relative error of a sum of products, rounded up; `imported` counts in either case."""
        count = imported if self.exact else terms + imported
        assert count < 2**40, "too many terms for a rounding bound"
        gamma = Fraction(count, 2**53 - count)
        return gamma if self.exact else math.nextafter(float(gamma), math.inf)

    def below(self, values: list[Fraction]) -> Array:
        """Numbers not above these."""
        rounded = self.array(values)
        return np.where(_fractions(rounded) > values, self.down(rounded), rounded)

    def down(self, values: Array) -> Array:
        """Lower by at least one rounding."""
        return values if self.exact else np.asarray(np.nextafter(values, -np.inf))

    def operand(self, weights: Any) -> Any:
        """What rows are multiplied by for a sparse matrix; dense where that is faster."""
        dense = self.exact or weights.nnz > 0.3 * math.prod(weights.shape)
        return self.array(weights.toarray()) if dense else weights

    def settle(self, value: Array, slack: Array) -> Array:
        """A number not above value - slack; the slack is inflated, the difference rounded."""
        if not self.exact:
            return self.down(value - (slack * (1 + 1e-6) + TINY))
        found = np.asarray(value - slack)
        assert all(isinstance(number, Fraction | int) for number in found.flat), "a float"
        return found

    def two_norm(self, rows: Array) -> Array:
        """A number not below the Euclidean norm of each row."""
        if self.exact:
            return self.array([root_above(sum(row * row, Fraction(0))) for row in rows])
        # Scaled by the largest entry, so that squares that underflow are below u of the sum.
        scale = np.abs(rows).max(1, initial=0.0)
        scale[scale == 0] = 1.0
        norm = scale * np.sqrt(np.square(rows / scale[:, None]).sum(1))
        return -self.down(-norm * (1 + self.gamma(rows.shape[1] + 16)))


def root_above(square: Fraction) -> Fraction:
    """A fraction r with r² >= square, relatively within 2^-60: √(a/b) = √(ab) / b."""
    root = math.isqrt(square.numerator * square.denominator << 128) + 1
    return Fraction(root, square.denominator << 64) if square else square
