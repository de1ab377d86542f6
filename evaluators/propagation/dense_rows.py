"""Rows with a coefficient for every entry of a node, in groups that share an example."""

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, Dense
from evaluators.network.network import Network
from evaluators.propagation.carrier import TensorRows
from evaluators.propagation.relaxation import PoolPlanes

FEW = 16
"""Rows of a group below which a product of its own does not pay."""

LARGE = 2**15
"""Entries of a matrix below which leaving out zeros costs more than it saves."""


class DenseRows(TensorRows):
    """Rows `[groups, rows, *shape]`, all rows of a group about one example.

    Attributes:
        network: whose nodes they are functions of.
        examples: the batch position that each group is about, `[groups]`.
    """

    leading = 2

    def __init__(self, network: Network, examples: Tensor) -> None:
        self.network, self.examples = network, examples

    def each(self, numbers: Tensor) -> Tensor:
        """`[groups, 1]`."""
        return numbers[self.examples, None]

    def at(self, values: Tensor, position: int) -> Tensor:  # noqa: ARG002
        """`[groups, 1, *shape]`."""
        return values[self.examples, None]

    def dot(self, rows: Tensor, values: Tensor, position: int) -> Tensor:  # noqa: ARG002
        """Each row times its group's values."""
        vectors = values[self.examples].flatten(1)
        # PyTorch's batched products with a vector are far slower the other way around.
        return torch.bmm(vectors[:, None], rows.flatten(2).mT)[:, 0]

    def dot_shared(self, rows: Tensor, values: Tensor, position: int) -> Tensor:  # noqa: ARG002
        """One product of all rows with one vector."""
        return rows.flatten(2) @ values.reshape(-1)

    def adjoint(self, rows: Tensor, operation: AffineMap, position: int) -> Tensor:  # noqa: ARG002
        """The map's adjoint of all rows at once; of a matrix, by its rows that matter."""
        large = isinstance(operation, Dense) and operation.weight.numel() >= LARGE
        if isinstance(operation, Dense) and large and rows.dim() == 3 and rows.shape[1] >= FEW:
            return self._without_zeros(rows, operation.weight)
        flat = rows.reshape(-1, *operation.output_shape)
        return operation.adjoint(flat).reshape(*rows.shape[:2], *operation.input_shape)

    def _without_zeros(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Rows `[groups, rows, outputs]` times a matrix, without entries that are 0 in a group.

        These are its example's inactive neurons, as a rule a third of all.
        """
        result = rows.new_empty(*rows.shape[:2], weight.shape[1])
        for own, some, out in zip(rows, rows.abs().sum(1), result, strict=True):
            places = some.nonzero()[:, 0]
            torch.mm(own.index_select(1, places), weight.index_select(0, places), out=out)
        return result

    def spread(self, rows: Tensor, absolute: Tensor, weight: Tensor, radius: Tensor) -> Tensor:
        """How far rows of a matrix's outputs move, all in all, as its inputs move by a radius.

        The widths are multiplied into the matrix, so that a sum of absolute values is all that is
        left to do: of an example's rows in the caches, rather than of all in passes over memory.

        Args:
            rows: `[groups, rows, outputs]`.
            absolute: their absolute coefficients.
            weight: W, `[outputs, inputs]`.
            radius: of the inputs, r, `[batch, *inputs]`.

        Returns:
            The sums of |(rows·W)·r|, `[groups, rows]`.
        """
        widths = radius.flatten(1)[self.examples]
        if rows.shape[1] < FEW:
            return (rows @ weight).mul_(widths[:, None]).abs_().sum(2)
        result = rows.new_empty(rows.shape[:2])
        moved = rows.new_empty(rows.shape[1], weight.shape[1])
        groups = zip(rows, absolute.sum(1), widths, result, strict=True)
        for own, some, width, out in groups:
            places = some.nonzero()[:, 0]
            scaled = weight.index_select(0, places).mul_(width)
            torch.mm(own.index_select(1, places), scaled, out=moved)
            # PyTorch's one-norm takes five times as long.
            torch.sum(moved.abs_(), 1, out=out)
        return result

    def pooled(self, parts: tuple[Tensor, ...], planes: PoolPlanes, parent: int) -> Tensor:
        """A coefficient is shared among the inputs of its window."""
        positive, negative = (part.flatten(2)[..., None] for part in parts)
        index, below, _, above, _ = (field[self.examples] for field in planes)
        shared = positive * below[:, None] + negative * above[:, None]
        shape = self.network.nodes[parent].shape
        result = shared.new_zeros(*shared.shape[:2], *shape)
        index = index.flatten(1)[:, None].expand(-1, shared.shape[1], -1)
        result.flatten(2).scatter_add_(2, index, shared.flatten(2))
        return result
