"""Lipschitz constants through a network's graph, and what float32 runs add at each node.

Around an example x every node's value moves, within the region, by at most `moved` in the norm that
the region is measured in; and what a float32 run computes for it differs, on the same input, from
its value in real arithmetic by at most `lost`. Both grow along the graph: an operation with the
constant K gives K·moved and K·lost plus its own `run_error`, a sum of branches the sums; a residual
block that `blocks.py` knows, and a passage that `passages.py` knows, has a constant of its own,
smaller than its branches'.
"""

import math
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from evaluators.lipschitz.blocks import Block, blocks_of
from evaluators.lipschitz.lengths import PAD, SMALLEST, length
from evaluators.lipschitz.operators import constant_of
from evaluators.lipschitz.passages import Passage, passages_of
from evaluators.lipschitz.run_losses import known_losses
from evaluators.network.affine import AffineMap, Dense
from evaluators.network.deployment import run_error
from evaluators.network.network import Network, Sum
from evaluators.numerics.rounding import down, float_above, gamma, up
from evaluators.propagation.intervals import Interval, propagate
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball


@dataclass
class Reach:
    """How far the values of a network's nodes may be from those at the examples of a batch.

    Attributes:
        network: in float64.
        norm: that distances are measured in.
        values: each node's value at the examples, in real arithmetic.
        moved: how far it moves at most within the region, `[batch]`.
        lost: how far a float32 run is from it at most, on the same input, `[batch]`.
        own: that part of it which arises at the node itself.
    """

    network: Network
    norm: Norm
    values: list[Interval] = field(default_factory=list)
    moved: list[Tensor] = field(default_factory=list)
    lost: list[Tensor] = field(default_factory=list)
    own: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, problem: Problem, *, with_blocks: bool = True) -> "Reach":
        """Walk through the network once; with the constants of residual blocks or without."""
        assert isinstance(problem.network, Network)
        network = problem.network.to(torch.float64, problem.x.device)
        reach = cls(network, problem.region.norm)
        reach.walk(problem, with_blocks=with_blocks)
        return reach

    def walk(self, problem: Problem, *, with_blocks: bool = True) -> None:
        """Fill all lists, a node after the other."""
        network = self.network
        self.values, self.moved = [self.first(problem.x)], [_radii(problem)]
        self.lost, self.own = ([torch.zeros_like(self.moved[0])] for _ in range(2))
        blocks = known_blocks(network) if with_blocks and self.norm is Norm.L2 else {}
        passages = known_passages(network) if with_blocks else {}
        for position in range(1, len(network.nodes)):
            self._step(position, problem.deployed)
            if position in blocks:
                self._shorten(position, blocks[position])
            if position in passages:
                self._pass(position, passages[position])

    def first(self, x: Tensor) -> Interval:
        """The input's values."""
        return Interval(x.double(), x.double())

    def value(self, position: int) -> Interval:
        """A node's values, from those before it."""
        node = self.network.nodes[position]
        return propagate(node.operation, [self.values[parent] for parent in node.parents])

    def loss(self, position: int, deployed: bool) -> Tensor:
        """What a run loses at the node itself, `[batch]`."""
        node = self.network.nodes[position]
        none = torch.zeros_like(self.moved[0])
        if not deployed:
            return none
        known = known_losses(self.network, self.norm)[position]
        apart = self.norm is not Norm.LINF and isinstance(node.operation, AffineMap)
        if apart and known is not None and math.isfinite(known.growth):
            (parent,) = node.parents
            error = run_error(node.operation, [self.values[parent].magnitude])
            # How far a run's values are from these is known in norm, and so is what comes of it.
            more = known.of_more((self.moved[parent] + self.lost[parent]) * PAD)
        else:
            error, more = run_error(node.operation, [self.magnitude(p) for p in node.parents]), none
        if error is None:
            return none
        return length(error.expand(len(none), *node.shape), self.norm) + more

    def magnitude(self, position: int) -> Tensor:
        """Bound the entries of a node in all runs, `[batch, *shape]`."""
        value = self.values[position].magnitude
        apart = (self.moved[position] + self.lost[position]) * PAD
        return (value + apart.reshape(-1, *[1] * (value.dim() - 1))) * PAD

    def _step(self, position: int, deployed: bool) -> None:
        node = self.network.nodes[position]
        self.values.append(self.value(position))
        own = self.loss(position, deployed)
        constant = 1.0
        if not isinstance(node.operation, Sum):
            constant = constant_of(node.operation, self.norm)
        moved, lost = (
            torch.stack([known[p] for p in node.parents]).sum(0)
            for known in (self.moved, self.lost)
        )
        # Nothing moves by nothing, whatever the constant is.
        self.moved.append((moved * constant * PAD).nan_to_num(torch.inf, torch.inf))
        self.lost.append(((lost * constant + own) * PAD).nan_to_num(torch.inf, torch.inf))
        self.own.append(own)

    def _shorten(self, position: int, block: Block) -> None:
        """Bound a residual block's sum by the block's constant."""
        within = self.own[position]
        for branch in block.branches:
            lost = torch.zeros_like(within)
            for p in branch:
                constant = constant_of(self.network.nodes[p].operation, self.norm)
                lost = (lost * constant + self.own[p]) * PAD
            within = within + lost
        through = [known[block.start] * block.constant for known in (self.moved, self.lost)]
        self.moved[position] = torch.minimum(self.moved[position], through[0] * PAD)
        self.lost[position] = torch.minimum(self.lost[position], (through[1] + within) * PAD)

    def _pass(self, position: int, passage: Passage) -> None:
        """Bound a passage's sum by the passage's constant."""
        within = {passage.start: torch.zeros_like(self.own[position])}
        for p in passage.nodes:
            node, constant = self.network.nodes[p], 1.0
            if not isinstance(node.operation, Sum):
                constant = constant_of(node.operation, self.norm)
            before = torch.stack([within[parent] for parent in node.parents]).sum(0)
            within[p] = (before * constant + self.own[p]) * PAD
        moved, lost = (
            known[passage.start] * passage.constant * PAD for known in (self.moved, self.lost)
        )
        lost = (lost + within[position]) * PAD
        self.moved[position] = torch.fmin(self.moved[position], moved)
        self.lost[position] = torch.fmin(self.lost[position], lost)


def _radii(problem: Problem) -> Tensor:
    """How far the input moves at most, `[batch]`."""
    if isinstance(problem.region, Ball):
        radius = float_above(problem.region.radius)
        return problem.x.new_full((len(problem),), radius, dtype=torch.float64)
    x, (low, high) = problem.x.double(), problem.region.hull(problem.x)
    return up(torch.maximum(high - x, x - low).flatten(1).amax(1))


_BLOCKS: WeakKeyDictionary[Network, dict[int, Block]] = WeakKeyDictionary()


def known_blocks(network: Network) -> dict[int, Block]:
    """Find the residual blocks of a network in float64, once."""
    if network not in _BLOCKS:
        _BLOCKS[network] = blocks_of(network)
    return _BLOCKS[network]


_PASSAGES: WeakKeyDictionary[Network, dict[int, Passage]] = WeakKeyDictionary()


def known_passages(network: Network) -> dict[int, Passage]:
    """Find the passages of a network in float64, once."""
    if network not in _PASSAGES:
        _PASSAGES[network] = passages_of(network)
    return _PASSAGES[network]


def margins(reach: Reach, labels: Tensor, *, by_pairs: bool = True) -> Tensor:
    """Bound each margin from below over the regions, in all runs, `[batch, classes - 1]`.

    Args:
        reach: of all nodes.
        labels: `[batch]`.
        by_pairs: see `apart`.
    """
    moved, lost = (apart(reach, labels, part, by_pairs=by_pairs) for part in ("moved", "lost"))
    return down(here(reach.values[-1], labels) - up(moved + lost))


def here(logits: Interval, labels: Tensor) -> Tensor:
    """Bound each margin at the examples from below, in real arithmetic, `[batch, classes - 1]`."""
    lower, upper = logits
    return _of_others(down(lower.gather(1, labels[:, None]) - upper), labels)


def apart(reach: Reach, labels: Tensor, part: str, *, by_pairs: bool = True) -> Tensor:
    """Bound how far each margin may move (or be lost in a float32 run), `[batch, classes - 1]`.

    Args:
        reach: of all nodes.
        labels: `[batch]`.
        part: "moved" or "lost".
        by_pairs: whether a last dense layer counts by the difference of two of its rows, which
            says how fast a margin can move; else the logits' constant does, times the norm that
            is dual to the region's of the vector (1, -1).
    """
    network, norm, known = reach.network, reach.norm, getattr(reach, part)
    widest = {Norm.LINF: 2.0, Norm.L2: 2**0.5 * PAD, Norm.L1: 1.0}[norm]
    found = (known[-1] * widest * PAD)[:, None].expand(-1, network.classes)
    last = network.nodes[-1]
    if by_pairs and isinstance(last.operation, Dense):
        weight = last.operation.weight
        pairs = length((weight[labels][:, None] - weight).flatten(0, 1), dual_of(norm))
        through = pairs.reshape(len(labels), -1) * PAD * known[last.parents[0]][:, None]
        own = reach.own[-1] * widest if part == "lost" else torch.zeros_like(reach.own[-1])
        found = torch.minimum(found, (through + own[:, None]) * PAD)
    return _of_others(found, labels)


def _of_others(values: Tensor, labels: Tensor) -> Tensor:
    """Those of all classes but the labels."""
    others = torch.ones_like(values, dtype=torch.bool).scatter(1, labels[:, None], False)
    return values[others].reshape(len(labels), -1)


def dual_of(norm: Norm) -> Norm:
    """The norm that bounds products with vectors measured in this one."""
    return {Norm.LINF: Norm.L1, Norm.L2: Norm.L2, Norm.L1: Norm.LINF}[norm]


def spread(problem: Problem, steepest: Tensor) -> Tensor:
    """How far functions move within the regions, `[batch, rows]`.

    Args:
        problem: with the regions.
        steepest: largest absolute derivatives by each input, `[batch, rows, *shape]`.
    """
    x, (low, high) = problem.x.double(), problem.region.hull(problem.x)
    room = up(torch.maximum(high - x, x - low)).flatten(1)[:, None]
    flat = steepest.flatten(2)
    # Inputs that cannot move count nothing, and none moves farther than its part of the hull.
    moved = (flat * room).sum(2) * (1 + 2 * gamma(flat.shape[2] + 8)) + SMALLEST
    region = problem.region
    if isinstance(region, Ball) and region.norm is not Norm.LINF:
        movable = (flat * (room > 0)).flatten(0, 1)
        sizes = length(movable, dual_of(region.norm)).reshape(moved.shape)
        moved = torch.minimum(moved, sizes * float_above(region.radius) * PAD)
    return moved
