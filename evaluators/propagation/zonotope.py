"""Zonotopes: cheap first bounds of every node, where a network has few inputs.

A node's entries are written as

    center + sum over j of generators_j · e_j + error,    e_j in [-1, 1],    |error| <= lost,

with one symbol e_j for each input and, from where it is made, for each unstable (leaky) ReLU: on
[l, u] its value is slope · z plus an interval, which becomes the new symbol (DeepZ, Singh et al.
2018, "Fast and Effective Robustness Certification", theorem 3.1). One pass forward bounds all
entries, where a backward pass is needed for each; its bounds are those of Fast-Lin's relaxation.
What they decide needs no backward pass. `lost` holds all rounding, and grows as intervals do.
"""

from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.network.deployment import run_error
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import Input, Network, Sum
from evaluators.numerics.rounding import UNDERFLOW, UNIT, gamma, up
from evaluators.propagation.intervals import Interval

FEW_INPUTS = 64
"""Inputs up to which the pass is cheaper than the backward passes that it spares."""

MOST_COEFFICIENTS = 2**26
"""Largest number of coefficients of one node's generators (512 MB); past it there are none."""

AT_ONCE = 2**15
"""Coefficients that an affine map is applied to at once: past the caches, twice as slow."""


@dataclass(frozen=True)
class Zonotope:
    """The entries of a node, float64.

    Attributes:
        center: `[1, *shape]`.
        generators: `[symbols so far, *shape]`.
        reach: at least the sum of the generators' absolute values, `[1, *shape]`.
        lost: `[1, *shape]`: largest distance to the values meant.
    """

    center: Tensor
    generators: Tensor
    reach: Tensor
    lost: Tensor

    @property
    def interval(self) -> Interval:
        """Bounds of the entries."""
        spread = (self.reach + self.lost) * (1 + 4 * UNIT)
        spread = spread + (self.center.abs() + spread) * (4 * UNIT) + UNDERFLOW
        return Interval(self.center - spread, self.center + spread)

    @classmethod
    def of_box(cls, box: Interval) -> "Zonotope":
        """A box `[1, *shape]`: one symbol an entry."""
        center = box.lower / 2 + box.upper / 2
        radius = up(torch.maximum(box.upper - center, center - box.lower))
        generators = torch.diag(radius.flatten()).reshape(-1, *center.shape[1:])
        return cls(center, generators, radius, torch.zeros_like(center))

    def affine(self, operation: AffineMap) -> "Zonotope":
        """Its image; `|W|(|center| + reach)` bounds what rounding does to all products."""
        center, count = operation(self.center), len(self.generators)
        generators = center.new_empty(count, *center.shape[1:])
        reach = torch.zeros_like(center)
        rows = max(1, AT_ONCE // prod(operation.output_shape))
        for first in range(0, count, rows):
            part = operation.linear(self.generators[first : first + rows])
            generators[first : first + rows] = part
            reach += part.abs_().sum(0, keepdim=True)
        error = 2 * gamma(operation.fan_in + 4)
        size = self.lost + (self.center.abs() + self.reach) * error
        lost = operation.absolute(size * (1 + 4 * UNIT)) * (1 + error)
        lost = lost + center.abs() * (8 * UNIT) + UNDERFLOW * (count + 2)
        return Zonotope(center, generators, reach * (1 + 2 * gamma(count + 4)), lost)

    def plus(self, other: "Zonotope") -> "Zonotope":
        """The sum of two nodes' entries; they share their symbols."""
        few, many = sorted((self, other), key=lambda part: len(part.generators))
        generators = many.generators.clone()
        generators[: len(few.generators)] += few.generators
        center = self.center + other.center
        reach = generators.abs().sum(0, keepdim=True) * (1 + 2 * gamma(len(generators) + 4))
        lost = self.lost + other.lost
        rounded = (center.abs() + reach + lost) * (4 * UNIT)
        return Zonotope(center, generators, reach, lost + rounded)

    def bent(self, function: LeakyReLU, within: Interval, symbols: int) -> "Zonotope":
        """The function's values; new symbols come after the first `symbols`.

        Args:
            function: max(z, leak·z).
            within: bounds of these entries.
            symbols: number of all symbols so far, which other nodes may have more of than this.
        """
        lower, upper = within
        unstable = function.unstable(lower, upper)
        width = torch.where(unstable, upper - lower, 1.0)
        slope = ((upper - function.leak * lower) / width).clamp(function.leak, 1.0)
        # Of two numbers `where` would make a float32 tensor.
        decided = torch.where(lower >= 0, 1.0, torch.full_like(lower, function.leak))
        slope = torch.where(unstable, slope, decided)
        # On [l, u] the function less slope·z is convex: least at 0, where it is 0, and greatest
        # at an end. Half of that is the distance of a line in the middle.
        top = torch.maximum((slope - function.leak) * -lower, (1 - slope) * upper)
        half = torch.where(unstable, top * (0.5 + 8 * UNIT) + UNDERFLOW, 0.0)
        center = slope * self.center + half
        size = slope * (self.center.abs() + self.reach) + half
        lost = (slope * self.lost + size * (4 * UNIT)) * (1 + 8 * UNIT)
        lost = lost + UNDERFLOW * (len(self.generators) + 2)
        reach = (slope * self.reach + half) * (1 + 8 * UNIT)
        entries = unstable.flatten().nonzero()[:, 0]
        count = len(self.generators)
        generators = slope.new_zeros(symbols + len(entries), *center.shape[1:])
        torch.mul(self.generators, slope, out=generators[:count])
        rows = torch.arange(symbols, len(generators))
        generators.flatten(1)[rows, entries] = half.flatten()[entries]
        return Zonotope(center, generators, reach, lost)


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
        operation = node.operation
        first, *others = (self._known[parent] for parent in node.parents)
        if isinstance(operation, AffineMap):
            if len(first.generators) * prod(node.shape) <= MOST_COEFFICIENTS:
                self._known[position] = first.affine(operation)
        elif isinstance(operation, Sum):
            for other in others:
                first = first.plus(other)
            self._known[position] = first
        else:
            assert isinstance(operation, Elementwise)
            assert isinstance(operation, LeakyReLU)
            within = bounds[node.parents[0]]
            new = int(operation.unstable(*within).sum())
            if (self.symbols + new) * prod(node.shape) <= MOST_COEFFICIENTS:
                self._known[position] = first.bent(operation, within, self.symbols)
            self.symbols += new
        if self.deployed and position in self._known:
            error = run_error(operation, [bounds[p].magnitude for p in node.parents])
            if error is not None:
                known = self._known[position]
                self._known[position] = replace(known, lost=up(known.lost + error))
