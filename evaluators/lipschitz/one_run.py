"""Reach of a network's values by one float32 run at the examples, and norms of what runs lose.

`Reach` walks with intervals in float64, entry by entry: each operator three times, at several times
the price of a deployed run. Here the values are what one run computes, and all the rest are a few
numbers an example. On the same inputs two runs differ by no more than both lose (`run_losses.py`).
What both have lost since the input grows along the graph like `lost`, with the same constants; so
it is charged twice.
"""

import math
import os
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluators.lipschitz.constants import Reach
from evaluators.lipschitz.lengths import PAD
from evaluators.lipschitz.run_losses import RunLoss, known_losses
from evaluators.network.deployment import FLUSHED, gamma32
from evaluators.network.network import Network, apply
from evaluators.propagation.intervals import Interval
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem

NOTHING = Interval(torch.zeros(0), torch.zeros(0))
"""Of nodes that nothing reads any more."""


@dataclass
class OneRun(Reach):
    """How far any run within the regions may be from the one at the examples.

    Attributes:
        run: the network in float32.
        runs: that `lost` is about: ours, and where proofs are about deployed runs, theirs.
        losses: of all nodes.
        read: what nodes that lose something read.
        norms: of our values, of nodes that lossy ones read, `[batch]` each.
    """

    run: Network = field(kw_only=True)
    runs: int = field(kw_only=True)
    losses: list[RunLoss] = field(kw_only=True)
    read: set[int] = field(kw_only=True)
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
        known = known_losses(network, norm)
        losses = [loss for loss in known if loss is not None]
        if len(losses) < len(known):
            return None
        run, runs = problem.network.to(torch.float32, device), 2 if problem.deployed else 1
        pairs = zip(network.nodes, losses, strict=True)
        read = {parent for node, loss in pairs if loss != RunLoss() for parent in node.parents}
        found = cls(network, norm, run=run, runs=runs, losses=losses, read=read)
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
        if position in self.read:
            self.norms[position] = length32(value, self.norm)
        value = value.double() if position == len(self.run.nodes) - 1 else value
        return Interval(value, value)

    def loss(self, position: int, deployed: bool) -> Tensor:  # noqa: ARG002
        """What the runs lose at a node, in sum."""
        loss = self.losses[position]
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
