"""The zonotopes of all nodes of a network, one pass forward."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from math import prod

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, Dense
from evaluators.network.deployment import run_error
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import Input, Network, Product, Sum
from evaluators.numerics.memory import fitting
from evaluators.numerics.rounding import float_above, up
from evaluators.propagation.intervals import Interval, propagate
from evaluators.propagation.zonotope import Zonotope
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Region

FEW_INPUTS = 64
"""Inputs up to which the pass is cheaper than the backward passes that it spares."""

MOST_COEFFICIENTS = 2**26
"""Largest number of coefficients of one node's generators (512 MB); past it there are none."""


@dataclass
class Zonotopes:
    """The zonotopes of a network's nodes, made one after the other in its order.

    Attributes:
        network: in float64 on the CPU.
        symbols: number of symbols so far.
        deployed: whether they hold for the values of float32 runs, too.
    """

    network: Network
    symbols: int
    _known: dict[int, Zonotope] = field(default_factory=dict)
    deployed: bool = False

    @classmethod
    def of(cls, network: Network, box: Interval, *, deployed: bool = False) -> "Zonotopes | None":
        """Start from the input's box; None where they do not pay or do not cover the network."""
        inputs = box.lower.numel()
        covered = all(
            isinstance(node.operation, AffineMap | LeakyReLU | Sum | Input)
            for node in network.nodes
        )
        if inputs > FEW_INPUTS or not covered:
            return None
        return cls(network, inputs, {0: Zonotope.of_box(box)}, deployed)

    @classmethod
    def around(
        cls, network: Network, x: Tensor, region: Region, *, deployed: bool = False
    ) -> "Zonotopes":
        """Start from the region around an example x `[1, *shape]`, whatever it costs."""
        hull = Interval(*region.hull(x))
        first = Zonotope.of_box(hull)
        if isinstance(region, Ball) and region.norm is not Norm.LINF:
            radius = float_above(region.radius)
            first = Zonotope.of_ball(x.double(), hull, radius, region.norm)
        return cls(network, x.numel(), {0: first}, deployed)

    def interval(self, position: int) -> Interval | None:
        """Bounds of a node, if its zonotope is known."""
        known = self._known.get(position)
        return None if known is None else known.interval

    def alone(self) -> Zonotope | None:
        """The logits', each function's input bounded by its zonotope and nothing else."""
        bounds = [self._known[0].interval] * len(self.network.nodes)
        for position, node in enumerate(self.network.nodes[1:], start=1):
            for parent in node.parents:
                bounds[parent] = self.interval(parent) or bounds[parent]
            self.step(position, bounds)
        return self._known.get(len(self.network.nodes) - 1)

    def least(self, rows: Tensor, known: Sequence[Interval] = ()) -> Tensor:
        """Bound linear functions of the logits from below, `[1, rows]`; -inf where none is known.

        Args:
            rows: exact coefficients, `[rows, classes]`.
            known: further bounds of the first nodes, or of all.
        """
        bounds = list(known[:1]) or [self._known[0].interval]
        for position, node in enumerate(self.network.nodes[1:], start=1):
            self.step(position, bounds)
            parents = [bounds[parent] for parent in node.parents]
            found = [propagate(node.operation, parents, deployed=self.deployed)]
            found += [known[position]] if position < len(known) else []
            mine = self.interval(position)
            found += [mine] if mine is not None else []
            bounds.append(reduce(Interval.meet, found))
        logits, last = bounds[-1], self._known.get(len(bounds) - 1)
        apart = propagate(Dense((rows.shape[1],), (len(rows),), None, rows), [logits]).lower
        if last is None:
            return apart
        together = last.affine(Dense((rows.shape[1],), (len(rows),), None, rows))
        return torch.maximum(apart, together.interval.lower)

    def step(self, position: int, bounds: list[Interval]) -> None:
        """Make a node's zonotope, and forget those that no later node reads.

        Args:
            bounds: of all nodes before.
        """
        node = self.network.nodes[position]
        if all(parent in self._known for parent in node.parents):
            self._make(position, bounds)
        for parent in set(node.parents):
            if self.network.last_use[parent] == position:
                self._known.pop(parent, None)

    def _make(self, position: int, bounds: list[Interval]) -> None:
        node = self.network.nodes[position]
        if isinstance(node.operation, Product):
            return  # from here on intervals alone
        operation, most = node.operation, fitting(MOST_COEFFICIENTS, 16, 1 / 4)
        first, *others = (self._known[parent] for parent in node.parents)
        if isinstance(operation, AffineMap):
            if len(first.generators) * prod(node.shape) <= most:
                self._known[position] = first.affine(operation)
        elif isinstance(operation, Sum):
            for other in others:
                first = first.plus(other)
            self._known[position] = first
        else:
            assert isinstance(operation, Elementwise)
            within = bounds[node.parents[0]]
            new = int(operation.unstable(*within).sum())
            if (self.symbols + new) * prod(node.shape) <= most:
                self._known[position] = first.bent(operation, within, self.symbols)
            self.symbols += new
        if self.deployed and position in self._known:
            before = [bounds[parent] for parent in node.parents]
            error = run_error(operation, [its.magnitude for its in before], before[0])
            if error is not None:
                known = self._known[position]
                self._known[position] = replace(known, lost=up(known.lost + error))
