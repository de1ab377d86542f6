"""Carriers of coefficients: the linear algebra of a backward walk on one representation of rows.

The walk (`backward.py`) knows what is done at which node, and what rounding is charged for it; a
carrier only knows how its rows are stored: whole planes (`dense_rows.py`), windows of
convolutional planes (`window_rows.py`), or a sparse matrix (`unrolled/sparse_rows.py`). It knows
nothing of slack.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.propagation.relaxation import PoolPlanes

R = TypeVar("R")
"""How rows are stored."""


class Carrier(ABC, Generic[R]):
    """Rows of linear functions of nodes' entries, each row about one example of a batch.

    Values of a node are `[batch or 1, *shape]`; what is one number for each row has the shape of
    the walk's constant.
    """

    @abstractmethod
    def terms(self, rows: R) -> int:
        """The number of coefficients of a row."""

    @abstractmethod
    def each(self, numbers: Tensor) -> Tensor:
        """A number of each example, `[batch]`, for each row, broadcastable to the constant."""

    @abstractmethod
    def absolute(self, rows: R) -> R:
        """The absolute coefficients."""

    @abstractmethod
    def total(self, rows: R) -> Tensor:
        """The sum of each row's coefficients."""

    def norm(self, rows: R) -> Tensor:
        """The sum of each row's absolute coefficients."""
        return self.total(self.absolute(rows))

    def norm_of(self, rows: R, parts: tuple[R, ...]) -> Tensor:  # noqa: ARG002
        """The same of rows whose parts are known."""
        return self.norm(rows)

    @abstractmethod
    def dot(self, rows: R, values: Tensor, position: int) -> Tensor:
        """Each row times its own example's values of a node."""

    @abstractmethod
    def dot_shared(self, rows: R, values: Tensor, position: int) -> Tensor:
        """Each row, of a node's own entries alone, times values `[*shape]` of all examples."""

    @abstractmethod
    def plus(self, rows: R, others: R) -> R:
        """The sum of rows."""

    @abstractmethod
    def adjoint(self, rows: R, operation: AffineMap, position: int) -> R:
        """Rows times an affine node's matrix: coefficients of its parent's entries."""

    @abstractmethod
    def parts(self, rows: R) -> tuple[R, ...]:
        """What takes each of the node's lines: positive and negative coefficients."""

    @abstractmethod
    def scaled(self, parts: tuple[R, ...], slopes: list[Tensor], position: int) -> R:
        """The sum of all parts, each times its slopes `[batch, *shape]`; it may overwrite them."""

    def own(self, rows: R, position: int) -> R:  # noqa: ARG002
        """Rows without coefficients of entries that the node does not have."""
        return rows

    def moved(self, rows: R, position: int, parent: int) -> R:  # noqa: ARG002
        """Rows that came from a node, in the form that rows have at its parent."""
        return rows

    def pooled(self, parts: tuple[R, ...], planes: PoolPlanes, parent: int) -> R:  # noqa: ARG002
        """Positive and negative coefficients times the weights of their planes."""
        raise TypeError(f"{type(self).__name__} do not pass through max-pooling.")

    def kept(self, rows: R, entries: Tensor) -> Tensor:  # noqa: ARG002
        """The coefficients of some flat entries of a node, `[rows, entries]`."""
        raise TypeError(f"{type(self).__name__} keep no entries.")


class TensorRows(Carrier[Tensor]):
    """Rows that are tensors: the first dimensions are those of the constant.

    Attributes:
        leading: the number of these dimensions.
    """

    leading: int

    @abstractmethod
    def at(self, values: Tensor, position: int) -> Tensor:
        """A node's values for each row, broadcastable to the rows."""

    def terms(self, rows: Tensor) -> int:
        """The number of entries of one row."""
        return int(rows.shape[self.leading :].numel())

    def absolute(self, rows: Tensor) -> Tensor:
        """The absolute coefficients."""
        return rows.abs()

    def total(self, rows: Tensor) -> Tensor:
        """The sum over all dimensions but the leading ones."""
        return rows.flatten(self.leading).sum(self.leading)

    def plus(self, rows: Tensor, others: Tensor) -> Tensor:
        """The sum of rows."""
        return rows + others

    def parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Positive coefficients, which take the line below, and negative ones."""
        return rows.clamp(min=0), rows.clamp(max=0)

    def norm_of(self, rows: Tensor, parts: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG002
        """The difference of the sums of both parts: absolute values are not needed."""
        positive, negative = parts
        return self.total(positive) - self.total(negative)

    def scaled(self, parts: tuple[Tensor, ...], slopes: list[Tensor], position: int) -> Tensor:
        """The sum of both parts times their slopes, in place of the first."""
        (positive, negative), (below, above) = parts, slopes
        positive.mul_(self.at(below, position))
        return positive.addcmul_(negative, self.at(above, position))
