"""Reach of a network's values by one float32 run at the examples, and norms of what runs lose.

`Reach` walks with intervals in float64, entry by entry: each operator three times, at several times
the price of a deployed run. Here the values are what one run computes, and all the rest are a few
numbers an example. On the same inputs two runs differ by no more than both lose: an operator with
weights W and a bias b loses at most

    gamma·(|W||v| + |b|),   in norm   gamma·(‖|W|‖‖v‖ + ‖b‖)

(`deployment.run_error`), whatever v with that norm came in. What both have lost since the input
grows along the graph like `lost`, with the same constants; so it is charged twice.
"""

import math
import os
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from evaluators.lipschitz.constants import PAD, Reach, length
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
)
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import MaxPool, Network, Node, Sum, apply
from evaluators.propagation.intervals import Interval
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem


class RunLoss(NamedTuple):
    """What a run loses at a node: at most share·(growth·size + base) + floor, in norm.

    Attributes:
        share: of all products and sums, in float32; 0 where it is exact.
        growth: by how much absolute weights make the parents' values larger.
        base: the size of its bias.
        floor: what numbers that are flushed to zero may take besides.
    """

    share: float = 0.0
    growth: float = 0.0
    base: float = 0.0
    floor: float = 0.0

    def of(self, size: Tensor) -> Tensor:
        """Bound the loss for parents' values of these norms; infinite where a sum may overflow."""
        reached = (self.growth * size + self.base) * PAD
        lost = (self.share * reached + self.floor) * ROOM
        return torch.where(reached < LARGEST, lost, torch.inf)


class RunLosses(NamedTuple):
    """What a run loses at each node, and which nodes are read by those that lose something."""

    of: list[RunLoss]
    read: set[int]


NOTHING = Interval(torch.zeros(0), torch.zeros(0))
"""Of nodes that nothing reads any more."""


@dataclass
class OneRun(Reach):
    """How far any run within the regions may be from the one at the examples.

    Attributes:
        run: the network in float32.
        runs: that `lost` is about: ours, and where proofs are about deployed runs, theirs.
        losses: of all nodes.
        norms: of our values, of nodes that lossy ones read, `[batch]` each.
    """

    run: Network = field(kw_only=True)
    runs: int = field(kw_only=True)
    losses: RunLosses = field(kw_only=True)
    norms: dict[int, Tensor] = field(default_factory=dict, kw_only=True)

    @classmethod
    def within(cls, problem: Problem) -> "OneRun | None":
        """Walk through the network once; None where this has no bounds of what runs lose."""
        assert isinstance(problem.network, Network)
        device, norm = problem.x.device, problem.region.norm
        # Elsewhere float32 may mean fewer bits, or convolutions that are no sums of products.
        if device.type != "cpu" or problem.x.dtype != torch.float32 or not _has_all_bits():
            return None
        network = problem.network.to(torch.float64, device)
        losses = known_losses(network, norm)
        if losses is None:
            return None
        run, runs = problem.network.to(torch.float32, device), 2 if problem.deployed else 1
        found = cls(network, norm, run=run, runs=runs, losses=losses)
        with torch.backends.nnpack.flags(enabled=False):
            found.walk(problem)
        return found

    def first(self, x: Tensor) -> Interval:
        """The examples as a run reads them."""
        return self._measured(0, x)

    def value(self, position: int) -> Interval:
        """What the run computes; the logits in float64, in which margins are counted."""
        node = self.run.nodes[position]
        found = apply(node.operation, [self.values[parent].lower for parent in node.parents])
        for parent in node.parents:
            if self.run.last_use[parent] == position:
                self.values[parent] = NOTHING
        return self._measured(position, found)

    def _measured(self, position: int, value: Tensor) -> Interval:
        if position in self.losses.read:
            self.norms[position] = length32(value, self.norm)
        value = value.double() if position == len(self.run.nodes) - 1 else value
        return Interval(value, value)

    def loss(self, position: int, deployed: bool) -> Tensor:  # noqa: ARG002
        """What the runs lose at a node, in sum."""
        loss = self.losses.of[position]
        if loss == RunLoss():
            return torch.zeros_like(self.moved[0])
        sizes = [self.size(parent) for parent in self.network.nodes[position].parents]
        return loss.of(torch.stack(sizes).sum(0) * PAD) * self.runs

    def size(self, position: int) -> Tensor:
        """Bound the norm of a node in all runs, `[batch]`."""
        return (self.norms[position] + self.moved[position] + self.lost[position]) * PAD


FEWER_BITS = ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
"""Variables by which oneDNN computes float32 products in another type, unless they say STRICT."""


def _has_all_bits() -> bool:
    """Whether PyTorch's float32 products on the CPU are no products of fewer bits."""
    if any(os.environ.get(name, "STRICT").upper() != "STRICT" for name in FEWER_BITS):
        return False
    cpu = torch.backends.mkldnn
    parts = (torch.backends, cpu, getattr(cpu, "conv", None), getattr(cpu, "matmul", None))
    said = {getattr(part, "fp32_precision", "none") for part in parts}
    return torch.get_float32_matmul_precision() == "highest" and said <= {"none", "ieee"}


def length32(value: Tensor, norm: Norm) -> Tensor:
    """Norms of float32 `[batch, *shape]`, float64 `[batch]`, rounded up."""
    order = {Norm.LINF: torch.inf, Norm.L2: 2.0, Norm.L1: 1.0}[norm]
    entries = value[0].numel()
    sizes: Tensor = torch.linalg.vector_norm(value.flatten(1), order, dim=1).double()
    # Squares that underflow are below FLUSHED each.
    return sizes * (1 + 2 * gamma32(entries + 8)) + 2 * math.sqrt(entries * FLUSHED)


_LOSSES: WeakKeyDictionary[Network, dict[Norm, RunLosses | None]] = WeakKeyDictionary()


def known_losses(network: Network, norm: Norm) -> RunLosses | None:
    """Bound what a run loses at each node of a network in float64, once."""
    known = _LOSSES.setdefault(network, {})
    if norm not in known:
        found = [RunLoss(), *(loss_of(node, norm) for node in network.nodes[1:])]
        losses = [loss for loss in found if loss is not None]
        pairs = zip(network.nodes, found, strict=True)
        read = {parent for node, loss in pairs if loss != RunLoss() for parent in node.parents}
        known[norm] = RunLosses(losses, read) if len(losses) == len(found) else None
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
        growth = constant_of(absolute_of(operation), norm) + fan * FLUSHED / share
        before = float(length(one.expand(1, *operation.input_shape), norm))
        bias = operation.bias
        base = 0.0 if bias is None else float(length(bias.expand(1, *node.shape), norm))
        floor = (growth * before * FLUSHED + flushed_error(operation) * width) * PAD
        return RunLoss(share, growth, base, floor)
    if isinstance(operation, Sum):
        count = len(node.parents)
        return RunLoss(gamma32(count), 1.0, 0.0, count * FLUSHED * width)
    if isinstance(operation, LeakyReLU):
        # The leak is rounded, and its product; a subnormal one may be taken for zero.
        leak = operation.leak
        share = 3 * UNIT32 * leak if leak >= FLUSHED else leak
        return RunLoss(share, 1.0, 0.0, FLUSHED * width) if leak else RunLoss()
    return RunLoss() if isinstance(operation, MaxPool) else None
