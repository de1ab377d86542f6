"""Where the windows lie that an entry of a convolutional layer depends on.

A window of the entry at (y, x) begins, in an earlier plane, at `scale·(y, x) + offset`; it may
reach over the plane's edge.
"""

from typing import NamedTuple

from evaluators.network.affine import Convolution, Diagonal
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network, Operation, Sum

Pair = tuple[int, int]


class Place(NamedTuple):
    """Where the windows of all rows lie in one plane."""

    scale: Pair
    offset: Pair
    size: Pair

    def before(self, convolution: Convolution) -> "Place":
        """The place in the input plane of a convolution."""
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
        return Place((a, b), (c, d), (e, f))

    def union(self, other: "Place") -> "Place":
        """The smallest place that covers both; they have the same scale."""
        start = [min(a, b) for a, b in zip(self.offset, other.offset, strict=True)]
        ends = [max(p.offset[i] + p.size[i] for p in (self, other)) for i in (0, 1)]
        return Place(self.scale, (start[0], start[1]), (ends[0] - start[0], ends[1] - start[1]))


def places(network: Network, start: int) -> dict[int, Place] | None:
    """The windows in every plane between a node and the input; None where they do not pay.

    They pay when every operation on the way is local and the windows are well below the planes.
    """
    found = {start: Place((1, 1), (0, 0), (1, 1))}
    window = plane = 0
    for position in range(start, 0, -1):
        if position not in found:
            continue
        node = network.nodes[position]
        here = found[position]
        if len(node.shape) != 3 or not _is_local(node.operation):
            return None
        local = node.operation
        there = here.before(local) if isinstance(local, Convolution) else here
        for parent in node.parents:
            if parent in found and found[parent].scale != there.scale:
                return None
            found[parent] = found[parent].union(there) if parent in found else there
            channels, height, width = network.nodes[parent].shape
            window += channels * found[parent].size[0] * found[parent].size[1]
            plane += channels * height * width
    return found if 2 * window < plane else None


def _is_local(operation: Operation) -> bool:
    if isinstance(operation, Convolution):
        return len(operation.stride) == 2
    return isinstance(operation, Diagonal | Elementwise | Sum)
