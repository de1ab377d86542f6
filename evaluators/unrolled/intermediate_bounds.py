"""Unrolling a network around an example: bounds and units of every layer, from the input up.

Entries that intervals leave unstable (and zonotopes, where inputs are few and no evidence is
wanted: it has no place for them) are written out as rows over the earlier units; their bounds are
CROWN's, then those of optimised slopes (α-CROWN, Xu et al. 2021, arXiv 2011.13824), the better of
all. What is still unstable becomes units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used
import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, Gather
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network, Product
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.errors import ContradictionError
from evaluators.numerics.memory import fitting
from evaluators.numerics.single import for_search
from evaluators.propagation.intervals import Interval, propagate
from evaluators.propagation.zonotopes import Zonotopes
from evaluators.question.certificate import LayerBounds
from evaluators.question.region import Region
from evaluators.unrolled.ascent import Rates, ascend
from evaluators.unrolled.product_units import product_layers, varying
from evaluators.unrolled.proof import ROOM, prove, stored
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Layer, Rows, Unrolled, nonzero

ROWS_AT_ONCE = 512
"""Rows whose bounds are computed together: on the MNIST CNN-A-Adv 128 take half as long again, and
2,048 no less time but four times the memory."""

NEAR = 64
"""Rows of one neighbourhood. More share more products, fewer depend on fewer columns: on the MNIST
CNN-A-Adv 16 take 15 % longer, 256 take 45 % longer."""

LOCAL = 0.5
"""Share of nonzero coefficients below which rows have neighbourhoods: without any, the MNIST
CNN-A-Adv takes 70 % longer; the rows of a dense network have none."""

PATIENCE = 0.25
"""Share of the tolerance for an ascent with curves, whose first steps gain less than later ones:
on trained sigmoid and tanh networks margins grow by up to 0.5 % in 10 % more time."""

MOST_COEFFICIENTS = 2**27
"""Largest number of coefficients of an unrolled network (1 GB in float64)."""

MOST_PRODUCTS = 2**26
"""Largest number of products of a network whose matrices are written out (1 GB as sparse ones)."""


Optimizer = Callable[[Unrolled, UnitLines, Rows, Deadline], Tensor]
"""Chooses slopes `[rows, units]` for rows over an unrolled network instead of an ascent."""

Refiner = Callable[[Unrolled, UnitLines, Rows, Tensor, Region, Tensor], Tensor]
"""Proves lower bounds `[rows]` over an unrolled network, around an example `[1, *shape]` in its
region, starting from the slopes `[rows, units]` that an ascent chose."""

Unstable = Callable[[Tensor, Tensor], Tensor]
"""Which entries tighter bounds help, from their bounds."""


class UnrollingError(Exception):
    """The network cannot be unrolled within time and memory, or is none for a method.

    The message says why.
    """


@dataclass
class Unrolling:
    """The work of unrolling one network around one example.

    Attributes:
        network: in float64 on the CPU, without max-pooling.
        x, region: the example `[1, *shape]` in float64, and its region.
        rates: of the ascent on intermediate bounds.
        deadline: past it, the unrolling fails.
        evidence: of the bounds, by elementwise node; collected if it is not None.
        complete: whether the evidence has to prove every bound; else zonotopes may decide entries.
        deployed: whether bounds hold for the values of float32 runs, too.
        optimize: chooses the slopes of intermediate bounds; None for the ascent.
        known: proved bounds of pre-activations, by position, where there are some already, no
            looser than CROWN's; evidence has no place for them.
        chosen: entries that an ascent is worth its time for, by position; None for all.
        products: whether the caller takes products' units only together (`product_units.py`).
        refine: bounds what an ascent leaves unstable once more; evidence has no place for it.
    """

    network: Network
    x: Tensor
    region: Region
    rates: Rates
    deadline: Deadline
    evidence: dict[int, LayerBounds] | None = None
    complete: bool = True
    deployed: bool = False
    optimize: Optimizer | None = None
    known: Mapping[int, Interval] = field(default_factory=dict)
    chosen: Mapping[int, Tensor] | None = None
    products: bool = False
    refine: Refiner | None = None
    result: Unrolled = field(init=False)
    _final: set[int] = field(default_factory=lambda: {0})

    def __call__(self) -> Unrolled:
        """Bounds of every node, and all layers.

        Raises:
            UnrollingError: it is too large, too many neurons are unstable, or the time is up.
        """
        products = any(isinstance(node.operation, Product) for node in self.network.nodes)
        if products and not self.products:
            raise UnrollingError("unsupported: the method unrolls no products of two branches")
        if _products(self.network) > fitting(MOST_PRODUCTS, 16, 1 / 4):
            raise UnrollingError("network too large to be unrolled")
        first = [Interval(*self.region.hull(self.x))]
        self.result = Unrolled(self.network, first, deployed=self.deployed)
        bounds = self.result.bounds
        zonotopes = None
        if not self.complete:
            zonotopes = Zonotopes.of(self.network, bounds[0], deployed=self.deployed)
        for position, node in enumerate(self.network.nodes[1:], start=1):
            if isinstance(node.operation, Elementwise):
                self._bound(node.parents[0], position, node.operation, zonotopes)
            elif isinstance(node.operation, Product):
                self._multiply(position, zonotopes)
            parents = [bounds[p] for p in node.parents]
            bounds.append(propagate(node.operation, parents, deployed=self.deployed))
            if zonotopes is not None:
                zonotopes.step(position, bounds)
        return self.result

    def _bound(
        self, position: int, reader: int, function: Elementwise, zonotopes: Zonotopes | None
    ) -> None:
        """Tighten a pre-activation's bounds and make its layer.

        The input's bounds are exact, and those that an earlier function's layer was made with
        stay: the entries that its layer has are unstable for every function that reads the node.
        """
        task = self._tightened(position, function.unstable, zonotopes)
        if self.evidence is not None:
            self.evidence[reader] = task.evidence()
        entries = function.unstable(task.lower, task.upper).nonzero()[:, 0]
        if len(entries):
            rows = task.rows_of(entries)
            lower, upper = task.lower[entries], task.upper[entries]
            self.result.layers.append(Layer(reader, function, entries, rows, lower, upper))

    def _tightened(self, position: int, unstable: Unstable, zonotopes: Zonotopes | None) -> "_Task":
        """Tighten a node's bounds where a reader is unstable, if they are not final."""
        interval = self.result.bounds[position]
        cheap = zonotopes.interval(position) if zonotopes else None
        for other in (cheap, self.known.get(position)):
            if other is not None and position not in self._final:
                interval = interval.meet(other)
        task = _Task(self, position, unstable, *(bound.flatten() for bound in interval))
        if position in self._final:
            task.keep()
        else:
            task.run()
            self._final.add(position)
        shape = interval.lower.shape
        self.result.bounds[position] = Interval(
            task.lower.reshape(shape), task.upper.reshape(shape)
        )
        return task

    def _multiply(self, reader: int, zonotopes: Zonotopes | None) -> None:
        """Tighten a product's factors, and make its layers."""
        result, nodes = self.result, self.network.nodes
        parents = nodes[reader].parents
        for position in parents:
            path = [position]
            while isinstance(nodes[path[-1]].operation, Gather):  # entries are tightened once
                path.append(nodes[path[-1]].parents[0])
            source = path.pop()
            if source not in self._final:
                self._tightened(source, _varies, zonotopes)
            for place in reversed(path):
                (parent,) = nodes[place].parents
                again = propagate(
                    nodes[place].operation, [result.bounds[parent]], deployed=self.deployed
                )
                result.bounds[place] = result.bounds[place].meet(again)
                if place in self.known:
                    result.bounds[place] = result.bounds[place].meet(self.known[place])
        centers = result.center(parents[0]), result.center(parents[1])
        entries = varying(*centers).nonzero()[:, 0]
        if not len(entries):
            return
        size = result.bounds[parents[0]].lower.numel()
        if 2 * len(entries) * result.columns > fitting(MOST_COEFFICIENTS, 12, 1 / 4):
            raise UnrollingError("too many unstable neurons")
        units = (np.ones(len(entries)), (np.arange(len(entries)), entries.numpy()))
        rows = scipy.sparse.csr_array(units, shape=(len(entries), size))
        factors = result.express(parents[0], rows), result.express(parents[1], rows)
        result.layers.extend(product_layers(reader, entries, factors, centers, result.magnitudes()))


class _Task:
    """Bounds of the entries of one node."""

    def __init__(
        self, work: Unrolling, position: int, unstable: Unstable, lower: Tensor, upper: Tensor
    ) -> None:
        self.work, self.position, self.unstable = work, position, unstable
        self.lower, self.upper = lower, upper
        self.lines = UnitLines.of(work.result.layers)
        self.kept: list[tuple[Tensor, Rows]] = []
        self.proofs: list[tuple[Tensor, float, Tensor]] = []

    def run(self) -> None:
        """Bound all unstable entries, a part at a time."""
        self.lower = self.lower - (1 + self.lower.abs()) * ROOM
        self.upper = self.upper + (1 + self.upper.abs()) * ROOM
        entries = self.unstable(self.lower, self.upper).nonzero()[:, 0]
        self._require_modest(0)
        for part in torch.split(entries, ROWS_AT_ONCE):
            if self.work.deadline.passed:
                raise UnrollingError("timeout")
            rows = self._express(part)
            if self.work.result.layers or not self._interval_is_exact():
                if self.position not in self.work.known:
                    part, rows = self._tighten(part, rows, None)
                optimized = self.work.rates.steps or self.work.optimize
                if optimized and len(part) and len(self.lines.leak):
                    part, rows = self._tighten_chosen(part, rows)
            self.kept.append((part, rows))
            self._require_modest(sum(len(kept) for kept, _ in self.kept))

    def keep(self) -> None:
        """Write out all unstable entries; their bounds stay."""
        entries = self.unstable(self.lower, self.upper).nonzero()[:, 0]
        for part in torch.split(entries, ROWS_AT_ONCE):
            if self.work.deadline.passed:
                raise UnrollingError("timeout")
            self.kept.append((part, self._express(part)))
            self._require_modest(sum(len(kept) for kept, _ in self.kept))

    def _interval_is_exact(self) -> bool:
        """Over a box, intervals through one affine map lose nothing."""
        node = self.work.network.nodes[self.position]
        first = isinstance(node.operation, AffineMap) and node.parents[0] == 0
        return first and self.work.region.norm == "linf"

    def _require_modest(self, rows: int) -> None:
        result = self.work.result
        size = sum(len(la) * la.first for la in result.layers) + rows * result.columns
        if size > fitting(MOST_COEFFICIENTS, 12, 1 / 4):
            raise UnrollingError("too many unstable neurons")

    def _express(self, entries: Tensor) -> Rows:
        """Rows for single entries."""
        count = len(entries)
        units = (np.ones(count), (np.arange(count), entries.numpy()))
        return self.work.result.express(
            self.position, scipy.sparse.csr_array(units, shape=(count, len(self.lower)))
        )

    def _tighten(self, entries: Tensor, rows: Rows, rates: Rates | None) -> tuple[Tensor, Rows]:
        """Improve the bounds of entries; what is still unstable goes on."""
        local = bool(nonzero(rows.weight).sum() < LOCAL * rows.weight.numel())
        size = NEAR if local else ROWS_AT_ONCE
        order = _by_place(rows, self.work.result.inputs)
        chosen = [
            self._tighten_near(entries[near], rows.select(near), rates)
            for near in torch.split(order, size)
        ]
        if rates is not None and self.work.refine is not None:
            self._refine(self.work.refine, entries[order], rows.select(order), chosen)
        if bool((self.lower > self.upper).any()):
            name = self.work.network.nodes[self.position].name
            raise ContradictionError(f"Two sound bounds of node '{name}' exclude each other.")
        left = self.unstable(self.lower[entries], self.upper[entries])
        return entries[left], rows.select(left)

    def _tighten_chosen(self, entries: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        """Improve the bounds of entries by ascents, where they are worth it."""
        if self.work.chosen is None or self.position not in self.work.chosen:
            return self._tighten(entries, rows, self.work.rates)
        worth = self.work.chosen[self.position][entries]
        if bool(worth.any()):
            self._tighten(entries[worth], rows.select(worth), self.work.rates)
        left = self.unstable(self.lower[entries], self.upper[entries])
        return entries[left], rows.select(left)

    def _tighten_near(
        self, entries: Tensor, rows: Rows, rates: Rates | None
    ) -> tuple[Tensor, Tensor]:
        """Improve the bounds of entries that depend on much the same.

        Returns:
            the units that they depend on, and the slopes of those that were chosen, for the lower
            bounds of all rows, then for the upper ones.
        """
        part = self.work.result.around(rows)
        x = self.work.x.flatten()[None, part.inputs]
        lines = self.lines.select(part.units)
        # Both signs at once: the same products, and half the calls.
        signed = part.rows.join(part.rows.times(-1.0))
        slopes = self._slopes(part.unrolled, lines, signed, x, rates)
        proved = prove(part.unrolled, lines, signed, x, self.work.region, slopes)
        proved = proved - (1 + proved.abs()) * ROOM
        slopes = slopes.expand(len(proved), -1)
        pairs = zip(proved.chunk(2), slopes.chunk(2), strict=True)
        for sign, (found, own) in zip((1.0, -1.0), pairs, strict=True):
            bound = self.lower if sign > 0 else -self.upper
            better = found > bound[entries]
            places = entries[better]
            if sign > 0:
                self.lower[places] = found[better]
            else:
                self.upper[places] = -found[better]
            if self.work.evidence is not None:
                every = stored(self.lines.start.expand(len(places), -1), self.lines)
                every = every.clone()
                every[:, part.units] = own[better]
                self.proofs.append((places, sign, every))
        return part.units, slopes

    def _refine(
        self,
        refine: Refiner,
        entries: Tensor,
        rows: Rows,
        chosen: Sequence[tuple[Tensor, Tensor]],
    ) -> None:
        """Improve the bounds of entries that an ascent left unstable, all of them together.

        Args:
            chosen: units and their slopes, as `_tighten_near` returns them, of some rows each.
        """
        left = self.unstable(self.lower[entries], self.upper[entries])
        if not bool(left.any()):
            return
        part = self.work.result.around(rows.select(left))
        x = self.work.x.flatten()[None, part.inputs]
        signed = part.rows.join(part.rows.times(-1.0))
        slopes = stored(self.lines.start, self.lines).expand(2, len(rows), -1).clone()
        first = 0
        for units, both in chosen:
            its = torch.stack(both.chunk(2))
            slopes[:, first : first + its.shape[1], units] = its
            first += its.shape[1]
        own = slopes[:, left][..., part.units].flatten(0, 1)
        lines = self.lines.select(part.units)
        found = refine(part.unrolled, lines, signed, x, self.work.region, own)
        lower, upper = (found - (1 + found.abs()) * ROOM).chunk(2)
        places = entries[left]
        self.lower[places] = torch.fmax(self.lower[places], lower)
        self.upper[places] = torch.fmin(self.upper[places], -upper)

    def _slopes(
        self, unrolled: Unrolled, lines: UnitLines, rows: Rows, x: Tensor, rates: Rates | None
    ) -> Tensor:
        """CROWN's slopes `[1, units]`, or the best that an ascent finds, `[rows, units]`."""
        if rates is None or self.work.deadline.passed:
            return stored(lines.start[None], lines)
        if self.work.optimize is not None:
            return stored(self.work.optimize(unrolled, lines, rows, self.work.deadline), lines)
        if lines.curves:
            rates = replace(rates, tolerance=PATIENCE * rates.tolerance)
        found = ascend(
            System.of(unrolled, x, self.work.region),
            lines,
            for_search(rows.weight),
            for_search(rows.bias),
            lines.start.float().expand(len(rows), -1),
            rates,
            self.work.deadline,
        )
        return stored(found.slopes, lines)

    def rows_of(self, entries: Tensor) -> Rows:
        """The rows of those entries that stayed unstable, all of them kept."""
        parts = [rows for _, rows in self.kept]
        known = torch.cat([part for part, _ in self.kept])
        place = torch.searchsorted(known, entries)
        joined = Rows.join(*parts)
        return joined if len(known) == len(entries) else joined.select(place)

    def evidence(self) -> LayerBounds:
        """The bounds, and the last proof of each that has one."""
        units = len(self.lines.leak)
        latest: dict[tuple[int, float], Tensor] = {}
        if not units:
            # Exact already, and rows all the same: clipping starts from them.
            entries = self.unstable(self.lower, self.upper).nonzero()[:, 0]
            none = torch.zeros(len(entries), 0).half()
            self.proofs += [(entries, sign, none) for sign in (1.0, -1.0)]
        for entries, sign, slopes in self.proofs:
            for entry, row in zip(entries.tolist(), slopes, strict=True):
                latest[entry, sign] = row
        rows = torch.stack(list(latest.values())) if latest else torch.zeros(0, units).half()
        return LayerBounds(
            lower=self.lower.numpy(),
            upper=self.upper.numpy(),
            rows=np.array([entry for entry, _ in latest], dtype=np.int64),
            signs=np.array([sign for _, sign in latest], dtype=np.int8),
            slopes=rows.numpy(),
        )


def _varies(lower: Tensor, upper: Tensor) -> Tensor:
    """Which entries are no constants."""
    return lower < upper


def _products(network: Network) -> int:
    """Nonzero entries of all affine maps, at most."""
    return sum(
        max(1, node.operation.fan_in) * prod(node.shape)
        for node in network.nodes
        if isinstance(node.operation, AffineMap)
    )


def _by_place(rows: Rows, inputs: int) -> Tensor:
    """An order of rows in which neighbours depend on much the same inputs."""
    weight = rows.weight[:, :inputs].abs()
    place = torch.arange(inputs, dtype=weight.dtype)
    return torch.argsort(weight @ place / weight.sum(1).clamp(min=1e-300), stable=True)
