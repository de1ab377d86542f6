"""What float32 runs lose at a node by the norms of its parents' values, of a whole network once.

An operator with weights W and a bias b loses at most

    gamma·(|W||v| + |b|),   in norm   gamma·(‖|W|‖‖v‖ + ‖b‖)

(`deployment.run_error`), whatever v with that norm came in.
"""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from evaluators.lipschitz.lengths import PAD, length
from evaluators.lipschitz.operators import constant_of
from evaluators.network.affine import AffineMap, absolute_of
from evaluators.network.deployment import (
    FLUSHED,
    LARGEST,
    ROOM,
    UNIT32,
    flushed_error,
    gamma32,
    products_error,
    small_weights,
)
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import MaxPool, Network, Node, Sum
from evaluators.question.norm import Norm


class RunLoss(NamedTuple):
    """What a run loses at a node: at most share·(growth·size + base) + floor, in norm.

    Attributes:
        share: of all products and sums, in float32; 0 where it is exact.
        growth: by how much absolute weights make the parents' values larger.
        base: the size of its bias.
        floor: what numbers that are flushed to zero may take besides.
        most: from where on a sum may overflow.
    """

    share: float = 0.0
    growth: float = 0.0
    base: float = 0.0
    floor: float = 0.0
    most: float = LARGEST

    def of(self, size: Tensor) -> Tensor:
        """Bound the loss for parents' values of these norms; infinite where a sum may overflow."""
        reached = (self.growth * size + self.base) * PAD
        lost = (self.share * reached + self.floor) * ROOM
        return torch.where(reached < self.most, lost, torch.inf)

    def of_more(self, size: Tensor) -> Tensor:
        """Bound what is lost besides for values that are off by these norms."""
        reached = self.growth * size * PAD
        # With what the values themselves reach, half as much again is still far from overflow.
        return torch.where(reached < self.most / 2, self.share * reached * ROOM, torch.inf)


_LOSSES: WeakKeyDictionary[Network, dict[Norm, list[RunLoss | None]]] = WeakKeyDictionary()


def known_losses(network: Network, norm: Norm) -> list[RunLoss | None]:
    """Bound what a run loses at each node of a network in float64, once; None where it cannot."""
    known = _LOSSES.setdefault(network, {})
    if norm not in known:
        known[norm] = [RunLoss(), *(loss_of(node, norm) for node in network.nodes[1:])]
    return known[norm]


def loss_of(node: Node, norm: Norm) -> RunLoss | None:
    """Bound what a run loses at a node, as `run_error` does; None where it has no such bound."""
    operation, one = node.operation, torch.ones(1, dtype=torch.float64)
    width = float(length(one.expand(1, *node.shape), norm))
    if isinstance(operation, AffineMap):
        share = products_error(operation)
        if not share:
            return RunLoss()
        # Of weights that float32 keeps as subnormal numbers, if at all, it may lose a part.
        fan = max(operation.fan_in, operation.fan_out)
        small = max(fan * FLUSHED, small_weights(operation) * fan / max(1, operation.fan_in))
        growth = constant_of(absolute_of(operation), norm) + small / share
        before = float(length(one.expand(1, *operation.input_shape), norm))
        bias = operation.bias
        base = 0.0 if bias is None else float(length(bias.expand(1, *node.shape), norm))
        floor = (growth * before * FLUSHED + flushed_error(operation) * width) * PAD
        return RunLoss(share, growth, base, floor, LARGEST * operation.neighbours.low)
    if isinstance(operation, Sum):
        count = len(node.parents)
        return RunLoss(gamma32(count), 1.0, 0.0, count * FLUSHED * width)
    if isinstance(operation, LeakyReLU):
        # The leak is rounded, and its product; a subnormal one may be taken for zero.
        leak = operation.leak
        share = 3 * UNIT32 * leak if leak >= FLUSHED else leak
        return RunLoss(share, 1.0, 0.0, FLUSHED * width) if leak else RunLoss()
    return RunLoss() if isinstance(operation, MaxPool) else None
