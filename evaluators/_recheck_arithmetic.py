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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Of float64, or of fractions as objects."""

TINY = 1e-200
LARGEST = 1e100
"""Values beyond are refused, so that underflow is covered by `TINY`."""
AT_ONCE = 2**22
"""Entries of coefficients that are held at once."""
_fractions: Callable[..., Array] = np.vectorize(Fraction, otypes=[object])


@dataclass(frozen=True, eq=False)
class Matrix:
    """Float64 weights as a sparse matrix (CSR), `[outputs, inputs]`."""

    weights: Any

    @cached_property
    def parts(self) -> "list[Matrix]":
        """Transposed: the positive weights, the negative ones, and all without their signs."""
        parts = self.weights.maximum(0), self.weights.minimum(0), abs(self.weights)
        return [Matrix(part.T.tocsr()) for part in parts]

    @cached_property
    def operand(self) -> Any:
        """The weights, dense where that is faster."""
        dense = self.weights.nnz > 0.3 * math.prod(self.weights.shape)
        return self.weights.toarray() if dense else self.weights

    @cached_property
    def lists(self) -> list[tuple[Array, Array]]:
        """Columns and exact weights of each row."""
        start, exact = self.weights.indptr, _fractions(self.weights.data)
        return [(self.weights.indices[a:b], exact[a:b]) for a, b in pairwise(start)]


@dataclass(frozen=True)
class Arithmetic:
    """One of the two."""

    exact: bool

    def array(self, values: Array | Sequence[Fraction]) -> Array:
        """Floats of any size, which are exact in float64, too."""
        return _fractions(values) if self.exact else np.asarray(values, dtype=np.float64)

    def gamma(self, terms: int, imported: int = 0) -> Any:
        """Relative error of a sum of products, rounded up; `imported` counts in either case."""
        count = imported if self.exact else terms + imported
        if count >= 2**40:
            raise ValueError(f"{count} terms are too many for a rounding bound.")
        gamma = Fraction(count, 2**53 - count)
        return gamma if self.exact else math.nextafter(float(gamma), math.inf)

    def below(self, values: Sequence[Fraction]) -> Array:
        """Numbers not above these."""
        if self.exact:
            return self.array(values)
        pairs = ((float(value), value) for value in values)
        return np.array([f if f <= value else math.nextafter(f, -math.inf) for f, value in pairs])

    def next(self, values: Array, side: float) -> Array:
        """Farther towards an infinity, by at least one rounding."""
        return values if self.exact else np.asarray(np.nextafter(values, side))

    def product(self, rows: Array, matrix: Matrix) -> Array:
        """rows · W, for any number of rows, or for one alone."""
        if not self.exact:
            return np.asarray(rows @ matrix.operand)
        result = np.full((*rows.shape[:-1], matrix.weights.shape[1]), Fraction(0), dtype=object)
        for row, (columns, weights) in enumerate(matrix.lists):
            result[..., columns] += rows[..., row, None] * weights
        return result

    def settle(self, value: Array, slack: Array) -> Array:
        """A number not above value - slack; the slack is inflated, the difference rounded."""
        if not self.exact:
            return np.asarray(np.nextafter(value - (slack * (1 + 1e-6) + TINY), -np.inf))
        if not all(isinstance(number, Fraction | int) for number in (value - slack).flat):
            raise TypeError("exact arithmetic met a float")
        return np.asarray(value - slack)

    def two_norm(self, rows: Array) -> Array:
        """A number not below the Euclidean norm of each row."""
        if self.exact:
            return self.array([root_above(sum(row * row, Fraction(0))) for row in rows])
        # Scaled by the largest entry, so that squares that underflow are below u of the sum.
        scale = np.abs(rows).max(1, initial=0.0)
        scale[scale == 0] = 1.0
        norm = scale * np.sqrt(np.square(rows / scale[:, None]).sum(1))
        return self.next(norm * (1 + self.gamma(rows.shape[1] + 16)), np.inf)


def root_above(square: Fraction) -> Fraction:
    """A fraction r with r² >= square, relatively within 2^-60 of the root.

    √(a/b) = √(ab) / b, and isqrt(m) + 1 > √m.
    """
    root = math.isqrt(square.numerator * square.denominator << 128) + 1
    return Fraction(root, square.denominator << 64) if square else square
