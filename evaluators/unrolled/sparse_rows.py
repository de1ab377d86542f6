"""Rows of one example as a sparse matrix, which becomes a dense one where that is cheaper."""

from typing import Any

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.propagation.carrier import Carrier

Matrix = Any
"""A sparse `csr_array` or a float64 array; SciPy's sparse arrays carry no types."""

DENSE = 0.15
"""Share of nonzero entries from which a matrix is handled as a dense one: on the MNIST CNN-A-Adv
0.03 takes a third longer, 0.5 no less."""


class SparseRows(Carrier[Matrix]):
    """Rows `[rows, entries]`, all about the only example of a batch."""

    def terms(self, rows: Matrix) -> int:
        """The number of columns."""
        return int(rows.shape[1])

    def each(self, numbers: Tensor) -> Tensor:
        """The example's number."""
        return numbers[0]

    def absolute(self, rows: Matrix) -> Matrix:
        """The absolute coefficients."""
        return abs(rows)

    def total(self, rows: Matrix) -> Tensor:
        """The sum of each row's coefficients."""
        return torch.from_numpy(np.asarray(rows.sum(axis=1)).reshape(-1))

    def dot(self, rows: Matrix, values: Tensor, position: int) -> Tensor:
        """Each row times the example's values."""
        return self.dot_shared(rows, values, position)

    def dot_shared(self, rows: Matrix, values: Tensor, position: int) -> Tensor:  # noqa: ARG002
        """Each row times values; no number where these are not finite, which proves nothing."""
        with np.errstate(all="ignore"):
            return torch.from_numpy(rows @ values.reshape(-1).numpy())

    def plus(self, rows: Matrix, others: Matrix) -> Matrix:
        """The sum; dense unless both are sparse."""
        if scipy.sparse.issparse(rows) and scipy.sparse.issparse(others):
            return rows + others
        return dense(rows) + dense(others)

    def adjoint(self, rows: Matrix, operation: AffineMap, position: int) -> Matrix:  # noqa: ARG002
        """Rows times the map's matrix; dense once they are no longer sparse."""
        if not scipy.sparse.issparse(rows):
            # A map's own adjoint uses all cores, products of sparse with dense matrices one.
            image = operation.adjoint(torch.from_numpy(rows).reshape(-1, *operation.output_shape))
            return image.flatten(1).numpy()
        result = scipy.sparse.csr_array(rows @ operation.matrix)
        full = result.shape[0] * result.shape[1]
        return result.toarray() if result.nnz > DENSE * full else result

    def parts(self, rows: Matrix) -> tuple[Matrix, ...]:
        """All coefficients: entries are equal to their lines."""
        return (rows,)

    def scaled(self, parts: tuple[Matrix, ...], slopes: list[Tensor], position: int) -> Matrix:  # noqa: ARG002
        """Every column times its slope; columns that vanish are dropped from sparse rows."""
        (rows,), (slope,) = parts, slopes
        factors = slope.reshape(-1).numpy()
        if not scipy.sparse.issparse(rows):
            return rows * factors
        result = scipy.sparse.csr_array(rows.multiply(factors))
        result.eliminate_zeros()
        return result

    def kept(self, rows: Matrix, entries: Tensor) -> Tensor:
        """The coefficients of some entries, dense."""
        return torch.from_numpy(dense(rows[:, entries.numpy()]))


def dense(rows: Matrix) -> NDArray[np.float64]:
    """The rows as a dense array."""
    array: NDArray[np.float64] = rows.toarray() if scipy.sparse.issparse(rows) else rows
    return array
