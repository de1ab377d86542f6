"""What a runtime may multiply in another order than a file says: constants that stand together.

A runtime may multiply a convolution's weights by the scale behind it (a folded normalisation), a
matrix's by the scale before it, or a matrix's result by the number before it (onnxruntime's
MatMulScaleFusion). In real arithmetic that is the same; but products that the file never computes
may be subnormal, and lose their bits, or overflow, where all of the file's own are of usual size.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from evaluators.network.affine import ALONE, AffineMap, Diagonal, NearbyConstants
from evaluators.network.network import Node, Product

SMALLEST = 2.0**-124
"""Products of two constants from here up are normal numbers, however they are rounded."""


def with_neighbours(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes, whose operations know the constants that theirs may be multiplied with."""
    before, after = _before(nodes), _after(nodes)
    return tuple(_told(node, before, its) for node, its in zip(nodes, after, strict=True))


def _told(node: Node, before: list[NearbyConstants], after: float) -> Node:
    operation = node.operation
    if not isinstance(operation, AffineMap | Product):
        return node
    found = operation.neighbours
    if not (isinstance(operation, Diagonal) or _is_exact(operation)):
        for parent in node.parents:
            its = before[parent]
            found = found._replace(low=found.low * its.low, high=found.high * its.high)
    if isinstance(operation, AffineMap) and after < 1 and operation.least_weight < inf:
        small = operation.least_weight * after < SMALLEST
        found = found._replace(after=found.after * after if small else found.after)
    if found == operation.neighbours:
        return node
    return replace(node, operation=replace(operation, neighbours=found))


def _is_exact(operation: object) -> bool:
    """Whether it moves entries without arithmetic."""
    return isinstance(operation, AffineMap) and operation.fan_in == 0 and operation.bias is None


def _before(nodes: Sequence[Node]) -> list[NearbyConstants]:
    """The least and the largest products of numbers that each value was just multiplied by."""
    found = list[NearbyConstants]()
    for node in nodes:
        operation, its = node.operation, ALONE
        if _is_exact(operation):
            its = found[node.parents[0]]
        elif isinstance(operation, Diagonal) and operation.bias is None:
            assert operation.scale is not None
            if operation.scale.numel() == 1 and bool(operation.scale.any()):
                size, above = operation.largest, found[node.parents[0]]
                low, high = min(1.0, size, size * above.low), max(1.0, size, size * above.high)
                its = NearbyConstants(low=low, high=high)
        found.append(its)
    return found


def _after(nodes: Sequence[Node]) -> list[float]:
    """The least product of constants that each map's own may be multiplied with, at most 1.

    Of scales one behind the other; to a scale also a matrix behind them counts.
    """
    scales, both = [1.0] * len(nodes), [1.0] * len(nodes)
    for position in range(len(nodes) - 1, 0, -1):
        node = nodes[position]
        operation = node.operation
        if not isinstance(operation, AffineMap):
            continue
        least = min(1.0, operation.least_weight)
        passed = (scales[position], both[position])
        if isinstance(operation, Diagonal):
            own = tuple(min(least, least * further) for further in passed)
        else:
            own = passed if operation.fan_in == 0 else (1.0, least)
        (parent,) = node.parents
        scales[parent], both[parent] = min(scales[parent], own[0]), min(both[parent], own[1])
    pairs = zip(nodes, scales, both, strict=True)
    return [two if isinstance(node.operation, Diagonal) else one for node, one, two in pairs]
