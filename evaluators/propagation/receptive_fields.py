"""Receptive fields: where the windows lie that an entry of a convolutional layer depends on.

The window of the entry at (y, x) begins, in an earlier plane, at `scale·(y, x) + offset`; it may
reach over the plane's edge.
"""

from typing import NamedTuple

from evaluators.network.affine import Convolution, Diagonal
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network, Operation, Sum


class ReceptiveField(NamedTuple):
    """Where the windows of all entries of a layer lie in one plane; rows first, then columns."""

    scale: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]

    def before(self, convolution: Convolution) -> "ReceptiveField":
        """The field in the input plane of a convolution."""
        triples = zip(
            self.scale,
            self.offset,
            self.size,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.weight.shape[2:],
            strict=True,
        )
        moved = [
            (scale * s, offset * s - pad, (size - 1) * s + d * (kernel - 1) + 1)
            for scale, offset, size, s, pad, d, kernel in triples
        ]
        (a, b), (c, d), (e, f) = zip(*moved, strict=True)
        return ReceptiveField((a, b), (c, d), (e, f))

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The smallest field that covers both; they have the same scale."""
        start = [min(a, b) for a, b in zip(self.offset, other.offset, strict=True)]
        ends = [max(p.offset[i] + p.size[i] for p in (self, other)) for i in (0, 1)]
        size = (ends[0] - start[0], ends[1] - start[1])
        return ReceptiveField(self.scale, (start[0], start[1]), size)


def receptive_fields(network: Network, start: int) -> dict[int, ReceptiveField] | None:
    """The fields in every plane between a node and the input; None where windows do not pay.

    They pay when every operation on the way is local and the windows are well below the planes.
    """
    fields = {start: ReceptiveField((1, 1), (0, 0), (1, 1))}
    window = plane = 0
    for position in range(start, 0, -1):
        if position not in fields:
            continue
        node, field = network.nodes[position], fields[position]
        local = node.operation
        if len(node.shape) != 3 or not _is_local(local):
            return None
        earlier = field.before(local) if isinstance(local, Convolution) else field
        for parent in node.parents:
            if parent in fields and fields[parent].scale != earlier.scale:
                return None
            fields[parent] = fields[parent].union(earlier) if parent in fields else earlier
            channels, height, width = network.nodes[parent].shape
            window += channels * fields[parent].size[0] * fields[parent].size[1]
            plane += channels * height * width
    return fields if 2 * window < plane else None


def _is_local(operation: Operation) -> bool:
    if isinstance(operation, Convolution):
        return len(operation.stride) == 2
    return isinstance(operation, Diagonal | Elementwise | Sum)
