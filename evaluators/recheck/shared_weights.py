"""Matrices whose rows are the same weights at many places, as those of a convolution.

A sparse matrix holds each weight once for every place, for a residual network on 32 by 32 pixels
half a gigabyte. Proofs need it; to be applied to a few vectors, the places are looked up and
multiplied by the weights as they stand.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used
from numpy.typing import NDArray

Array = NDArray[Any]
_AT_ONCE = 2**21
"""Numbers that are looked up at once."""


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """A matrix of `width` columns; row (g, c, p) has weights[g, c, t] in column columns[g, p, t].

    Attributes:
        columns: `[groups, places, terms]`, -1 where a term is none; in each place they ascend.
        weights: `[groups, channels, terms]`, float64.
        width: the number of columns.
    """

    columns: Array
    weights: Array
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return prod(self.weights.shape[:2]) * self.columns.shape[1], self.width

    def __abs__(self) -> "SharedWeights":
        """The matrix of the absolute entries."""
        return replace(self, weights=np.abs(self.weights))

    def __matmul__(self, vectors: Array) -> Array:
        """The matrix times float64 vectors `[width, n]`."""
        (groups, places, terms), n = self.columns.shape, vectors.shape[1]
        # Of the column -1 it reads the last row.
        padded = np.concatenate((vectors, np.zeros((1, n))))
        found = np.empty((groups, self.weights.shape[1], places, n))
        size = max(1, _AT_ONCE // max(1, groups * terms * n))
        for first in range(0, places, size):
            some = self.columns[:, first : first + size].transpose(0, 2, 1)
            products = self.weights @ padded[some].reshape(groups, terms, -1)
            found[:, :, first : first + size] = products.reshape(*found.shape[:2], -1, n)
        return found.reshape(-1, n)

    def tocsr(self) -> "scipy.sparse.csr_matrix":
        """Every entry that is not zero, each row's in the order of its columns."""
        inside = self.columns >= 0
        data, indices, counts = list[Array](), list[Array](), list[Array]()
        channels = self.weights.shape[1]
        for columns, weights, held in zip(self.columns, self.weights, inside, strict=True):
            data.append(np.take(weights, held.nonzero()[1], axis=1).reshape(-1))
            indices.append(np.tile(columns[held].astype(np.int32), channels))
            counts.append(np.tile(held.sum(1), channels))
        ends = np.append(0, np.cumsum(np.concatenate(counts)))
        parts = np.concatenate(data), np.concatenate(indices), ends
        found = scipy.sparse.csr_matrix(parts, self.shape)
        found.eliminate_zeros()
        return found


def ascend(columns: Array) -> bool:
    """Whether columns grow from term to term, but for those that are none: none is named twice."""
    before = np.maximum.accumulate(columns, axis=-1)[..., :-1]
    later = columns[..., 1:]
    return bool(((later > before) | (later < 0)).all())
