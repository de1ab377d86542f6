"""Rows that hold a window of each convolutional plane instead of the whole plane.

One entry of a convolution depends on a small window of each earlier plane (`receptive_fields.py`);
carrying only that window through the backward walk does the same arithmetic as `dense_rows.py` on
a tenth of the memory. Where a window reaches over the edge of a plane, there is nothing but
padding: coefficients there are made zero as soon as they meet values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.network.affine import AffineMap, Convolution, Diagonal
from evaluators.network.network import Network
from evaluators.propagation.backward import Walk, settled
from evaluators.propagation.carrier import TensorRows
from evaluators.propagation.receptive_fields import ReceptiveField
from evaluators.propagation.relaxed import Relaxed


def window_lower_bounds(
    relaxed: Relaxed,
    start: int,
    fields: dict[int, ReceptiveField],
    owner: Tensor,
    entry: Tensor,
    sign: float,
) -> Tensor:
    """Sound lower bounds of `sign` times single entries of a node, `[rows]`.

    Args:
        relaxed: bounds of all earlier nodes.
        start: the node.
        fields: its receptive fields.
        owner: the batch position that each row is about, `[rows]`.
        entry: the flat entry of the node that each row is about, `[rows]`.
        sign: 1 for lower bounds of the entries, -1 for the negatives of upper bounds.
    """
    node = relaxed.network.nodes[start]
    channels, height, width = node.shape
    channel, pixel = entry // (height * width), entry % (height * width)
    # Rows of different channels at one pixel of one example see the same windows.
    spots, spot = torch.unique(owner * (height * width) + pixel, return_inverse=True)
    examples, pixel = spots // (height * width), spots % (height * width)
    carrier = WindowRows(relaxed.network, fields, spot, examples, pixel // width, pixel % width)
    units = torch.eye(channels, dtype=torch.float64, device=entry.device)[..., None, None]
    constant = units.new_zeros(len(entry))
    at = start
    if isinstance(node.operation, Convolution):
        # The first step is to look up weights: of a unit vector it is exact.
        at, units = node.parents[0], carrier.adjoint(units, node.operation, start)
        if node.operation.bias is not None:
            constant = sign * node.operation.bias.expand(node.shape).reshape(-1)[entry]
    walk = Walk(relaxed, carrier, constant)
    error = relaxed.run_error(start)
    if at != start and error is not None:
        walk.slack += error.flatten(1)[owner, entry]
    walk.go(at, (sign * units)[channel])
    return settled(walk, relaxed, carrier)


class WindowRows(TensorRows):
    """Rows `[rows, channels, height, width]`.

    Attributes:
        network: whose nodes they are functions of.
        fields: where the windows lie in each node's plane.
        spot: which of the spots below each row starts at, `[rows]`.
        examples, y, x: batch position and place of each spot.
        over: the nodes at which rows may have coefficients beyond the edge of the plane.
    """

    leading = 1

    def __init__(
        self,
        network: Network,
        fields: dict[int, ReceptiveField],
        spot: Tensor,
        examples: Tensor,
        y: Tensor,
        x: Tensor,
    ) -> None:
        self.network, self.fields = network, fields
        self.spot, self.examples, self.y, self.x = spot, examples, y, x
        self.owner = examples[spot]
        self.over: set[int] = set()

    def each(self, numbers: Tensor) -> Tensor:
        """`[rows]`."""
        return numbers[self.owner]

    def at(self, values: Tensor, position: int) -> Tensor:
        """Each row's window of `[batch or 1, *shape]` values of a node; zero beyond the edge."""
        field = self.fields[position]
        own = self.examples
        if len(values) == 1:
            own = torch.zeros_like(own)
        else:  # Only the examples at hand are worth padding.
            first, last = int(own.min()), int(own.max())
            values, own = values[first : last + 1], own - first
        (above, below), (left, right) = self.overhang(position)
        padded = F.pad(values, (left, right, above, below))
        views = padded.unfold(2, field.size[0], 1).unfold(3, field.size[1], 1)
        top = field.scale[0] * self.y + field.offset[0] + above
        start = field.scale[1] * self.x + field.offset[1] + left
        return views[own, :, top, start].index_select(0, self.spot)

    def overhang(self, position: int) -> list[tuple[int, int]]:
        """How far any window reaches over the edges of a node's plane: before and after."""
        field, shape = self.fields[position], self.network.nodes[position].shape[1:]
        pads = []
        for size, scale, offset, length, at in zip(
            shape, field.scale, field.offset, field.size, (self.y, self.x), strict=True
        ):
            last = scale * int(at.max()) + offset + length
            pads.append((max(0, -(scale * int(at.min()) + offset)), max(0, last - size)))
        return pads

    def dot(self, rows: Tensor, values: Tensor, position: int) -> Tensor:
        """Each row times its window of its example's values; beyond the edge there are none."""
        return self.total(self.at(values, position).mul_(rows))

    def dot_shared(self, rows: Tensor, values: Tensor, position: int) -> Tensor:
        """One product of all rows with one window, where all windows of the values are the same."""
        if values.stride()[1:] != (0, 0):
            return self.dot(rows, values[None], position)
        window = values[:, :1, :1].expand(-1, *rows.shape[2:])
        return rows.flatten(1) @ window.reshape(-1)

    def own(self, rows: Tensor, position: int) -> Tensor:
        """Rows with zero where the window lies beyond the edge of the node's plane."""
        if position not in self.over or self.overhang(position) == [(0, 0), (0, 0)]:
            return rows
        self.over.discard(position)
        shape = self.network.nodes[position].shape
        return rows * self.at(rows.new_ones(1, 1, *shape[1:]), position)

    def adjoint(self, rows: Tensor, operation: AffineMap, position: int) -> Tensor:
        """The adjoint on windows, which grow by a convolution."""
        if not isinstance(operation, Convolution):
            assert isinstance(operation, Diagonal)
            if operation.scale is None:
                return rows
            scale = operation.scale.expand(operation.input_shape)[None]
            return rows * self.at(scale, position)
        pairs = zip(rows.shape[2:], operation.stride, operation.dilation, strict=True)
        kernel = operation.weight.shape[2:]
        size = [(n - 1) * s + d * (k - 1) + 1 for (n, s, d), k in zip(pairs, kernel, strict=True)]
        self.over.update(self.network.nodes[position].parents)
        return operation.spread(rows, (0, 0), tuple(size))

    def scaled(self, parts: tuple[Tensor, ...], slopes: list[Tensor], position: int) -> Tensor:
        """Scale and add the parts; beyond the edge there are no slopes, and nothing remains."""
        self.over.discard(position)
        return super().scaled(parts, slopes, position)

    def moved(self, rows: Tensor, position: int, parent: int) -> Tensor:
        """Rows that came from a node, in the parent's window, which may be larger."""
        operation = self.network.nodes[position].operation
        here = self.fields[position]
        field = here.before(operation) if isinstance(operation, Convolution) else here
        target = self.fields[parent]
        if position in self.over:
            self.over.add(parent)
        top, left = (a - b for a, b in zip(field.offset, target.offset, strict=True))
        below, right = (target.size[i] - field.size[i] - (top, left)[i] for i in (0, 1))
        if (top, left, below, right) == (0, 0, 0, 0):
            return rows
        return F.pad(rows, (left, right, top, below))
