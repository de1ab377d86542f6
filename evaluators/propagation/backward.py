"""Backward propagation of linear bounds through the canonical graph: the backward pass of CROWN.

A row is a linear function of one node's entries; walking towards the input, each node replaces it
by a function of its parents that is nowhere larger, until it can be concretised (Zhang et al.
2018, arXiv 1811.00866, section 3). There is one walk, over any `Bounded` network; how coefficients
are stored is left to a `Carrier`, and what rounding is charged to `rounding_charge.py`.

Where the bounds are to hold for float32 runs, too, a row also loses at each node the sum of its
absolute coefficients times that node's `Bounded.deviation`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Generic, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.network.affine import AffineMap, Dense, Diagonal
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import MaxPool, Network, Product, Sum
from evaluators.propagation import rounding_charge as charge
from evaluators.propagation.bounded import Bounded
from evaluators.propagation.carrier import Carrier, R, TensorRows
from evaluators.propagation.concretization import (
    least_over_box,
    least_over_region,
    least_through_matrix,
)
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.relaxed import Relaxed

Coefficients = Float[Tensor, "groups rows *shape"]
LowerBounds = Float[Tensor, "groups rows"]


def lower_bounds(
    relaxed: Relaxed,
    start: int,
    rows: Coefficients,
    examples: Tensor,
    stop: Callable[[int], bool] = lambda _: False,
    constant: LowerBounds | None = None,
) -> LowerBounds:
    """Sound lower bounds of linear functions of one node over each example's region.

    Args:
        relaxed: bounds of all nodes before `start` that are not `start` itself.
        start: position of the node whose entries `rows` multiplies.
        rows: `[groups, rows, *shape of start]`, exact.
        examples: the batch position that each group is about, `[groups]`.
        stop: at which nodes to concretise with their interval instead of going on.
        constant: what is added to each function, `[groups, rows]`, exact; zero if not given.

    Returns:
        `[groups, rows]`; NaN or -inf where nothing finite can be said.
    """
    carrier = DenseRows(relaxed.network, examples)
    constant = rows.new_zeros(rows.shape[:2]) if constant is None else constant
    walk = Walk(relaxed, carrier, constant)
    front = relaxed.front
    walk.go(start, rows, lambda at: at == front or (stop(at) and at != start))
    if front and front in walk.waiting:
        value, slack = least_through_matrix(carrier, walk.waiting.pop(front).rows, relaxed, front)
        walk.add(value)
        walk.slack += slack
    return settled(walk, relaxed, carrier)


def settled(walk: "Walk[Tensor]", relaxed: Relaxed, carrier: TensorRows) -> Tensor:
    """The bounds of a walk that came to its end: what waits anywhere takes its least value."""
    for position in sorted(walk.waiting, reverse=True):
        rows, center = walk.waiting.pop(position).rows, relaxed.center(position)
        if position == 0:
            rows = carrier.own(rows, 0)
            value, slack = least_over_region(carrier, rows, relaxed.x, relaxed.region, center)
        else:
            value, slack = least_over_box(carrier, rows, position, center)
        walk.add(value)
        walk.slack += slack
    return charge.settle(walk.constant, walk.slack)


class Planes(NamedTuple):
    """Planes a·x + c below functions of the input, over each example's region.

    Attributes:
        slopes: a, `[groups, rows, *shape]`.
        least: at most their least values over the region, `[groups, rows]`.
    """

    slopes: Tensor
    least: Tensor


def planes_below(relaxed: Relaxed, start: int, rows: Coefficients, examples: Tensor) -> Planes:
    """The planes below linear functions of one node.

    Args:
        relaxed, start, rows, examples: as of `lower_bounds`.
    """
    carrier = DenseRows(relaxed.network, examples)
    walk = Walk(relaxed, carrier, rows.new_zeros(rows.shape[:2]))
    walk.go(start, rows)
    slopes = rows.new_zeros(*rows.shape[:2], *relaxed.network.input_shape)
    if 0 in walk.waiting:
        slopes = carrier.own(walk.waiting[0].rows, 0)
    return Planes(slopes, settled(walk, relaxed, carrier))


def unit_rows(
    network: Network, position: int, index: Tensor
) -> tuple[int, Coefficients, LowerBounds]:
    """The functions that are single entries of a node: `(start, rows, constant)`.

    They start at the node, or at its parent where the first step is to look up rows of a matrix.

    Args:
        network: the network.
        position: the node.
        index: flat entries, `[groups, rows]`.
    """
    node = network.nodes[position]
    operation = node.operation
    if isinstance(operation, Dense) and len(node.shape) == 1:
        weight = operation.weight[index]
        if operation.bias is None:
            return node.parents[0], weight, weight.new_zeros(index.shape)
        return node.parents[0], weight, operation.bias.expand(node.shape)[index]
    units = torch.zeros(*index.shape, prod(node.shape), dtype=torch.float64, device=index.device)
    units.scatter_(2, index[..., None], 1.0)
    return position, units.reshape(*index.shape, *node.shape), units.new_zeros(index.shape)


@dataclass(frozen=True)
class Waiting(Generic[R]):
    """Rows that wait at a node, and a bound on their one-norms where it is known already."""

    rows: R
    known: Tensor | None = None


class Walk(Generic[R]):
    """The state of one backward pass.

    Attributes:
        bounded: the network, and what stands for its non-linear nodes.
        carrier: the algebra of rows.
        waiting: the rows that wait at each node.
        constant: of each row so far.
        slack: at least what each row has lost so far, `rounding_charge.py` says why.
        kept: the coefficients of entries that are kept as variables, by node.
    """

    def __init__(self, bounded: Bounded, carrier: Carrier[R], constant: Tensor) -> None:
        self.bounded, self.carrier, self.constant = bounded, carrier, constant
        self.waiting: dict[int, Waiting[R]] = {}
        self.kept: dict[int, Tensor] = {}
        self.slack = torch.zeros_like(constant)

    def go(self, start: int, rows: R, stop: Callable[[int], bool] = lambda _: False) -> None:
        """Walk from a node to the input; rows stay waiting there and where the walk is to stop."""
        self.waiting[start] = Waiting(rows)
        self.go_on(start, stop)

    def go_on(self, start: int, stop: Callable[[int], bool] = lambda _: False) -> None:
        """Walk on from where rows wait, none of them beyond `start`."""
        for position in range(start, 0, -1):
            if position in self.waiting and not stop(position):
                self.step(position, self.waiting.pop(position))

    def step(self, position: int, current: Waiting[R]) -> None:
        """Replace rows at a node by rows at its parents."""
        node = self.bounded.network.nodes[position]
        operation = node.operation
        error = self.bounded.deviation(position)
        if error is not None:
            absolute = self.carrier.absolute(current.rows)
            self.slack += self.carrier.dot(absolute, error, position)
            known = self.carrier.total(absolute) if current.known is None else current.known
            current = Waiting(current.rows, known)
            del absolute
        if isinstance(operation, AffineMap):
            current = self.affine(position, operation, current)
        elif isinstance(operation, Elementwise):
            current = self.elementwise(position, current)
        elif isinstance(operation, MaxPool):
            current = self.pool(position, current)
        elif isinstance(operation, Product):
            self.product(position, current)
            return
        else:
            assert isinstance(operation, Sum)
        for parent in node.parents:
            self.deposit(parent, position, current)

    def norm(self, current: Waiting[R]) -> Tensor:
        """A bound on the one-norm of each row."""
        return self.carrier.norm(current.rows) if current.known is None else current.known

    def add(self, value: Tensor) -> None:
        """Add to the constant (one rounding)."""
        self.constant = self.constant + value
        self.slack += charge.addition(self.constant)

    def deposit(self, parent: int, position: int, arriving: Waiting[R]) -> None:
        """Bring rows from a node to its parent, and add them to those already waiting there."""
        rows = self.carrier.moved(arriving.rows, position, parent)
        if parent not in self.waiting:
            self.waiting[parent] = Waiting(rows, arriving.known)
            return
        total = self.carrier.plus(self.waiting[parent].rows, rows)
        norm = self.carrier.norm(total)
        self.slack += charge.meeting(norm, self.carrier.each(self.bounded.largest(parent)))
        self.waiting[parent] = Waiting(total, norm)

    def affine(self, position: int, operation: AffineMap, current: Waiting[R]) -> Waiting[R]:
        """A·(Wz + b) = (WᵀA)·z + A·b."""
        carrier, exact = self.carrier, operation.fan_out == 0
        rows, known = carrier.own(current.rows, position), current.known
        if operation.bias is not None or not exact:
            known = self.norm(Waiting(rows, known))
            size, terms = carrier.each(self.bounded.size(position)), carrier.terms(rows)
            self.slack += charge.affine_step(known, size, operation.fan_out, terms)
        if operation.bias is not None:
            bias = operation.bias.expand(operation.output_shape)
            self.add(carrier.dot_shared(rows, bias, position))
        if not exact:
            parent = self.bounded.network.nodes[position].parents[0]
            self.slack += charge.underflow(carrier.each(self.bounded.largest(parent)))
        moved = carrier.adjoint(rows, operation, position)
        if exact:
            return Waiting(moved, known)
        if isinstance(operation, Diagonal):
            assert known is not None
            return Waiting(moved, known * operation.largest)
        return Waiting(moved)

    def elementwise(self, position: int, current: Waiting[R]) -> Waiting[R]:
        """Positive coefficients take the line below, negative ones the line above."""
        carrier, rows = self.carrier, current.rows
        units = self.bounded.units(position)
        if units is not None:
            self.kept[position] = carrier.kept(rows, units)
        sides, steepest = self.bounded.replacement(position)
        parts, slopes = carrier.parts(rows), [side.slope for side in sides]
        if steepest is None:
            return Waiting(carrier.scaled(parts, slopes, position))
        norm = carrier.norm_of(rows, parts) if current.known is None else current.known
        together = self.bounded.together(carrier, rows, position)
        before = None if together is None else (self.constant, self.slack.clone())
        for part, side in zip(parts, sides, strict=True):
            if bool((side.height != 0).any()):
                self.add(carrier.dot(part, side.intercept, position))
                share = charge.products(carrier.terms(rows))
                self.slack += norm * carrier.each(side.height) * share
        if together is not None and before is not None:
            self.choose(*before, *together)
        norm = norm * carrier.each(steepest)
        self.slack += charge.scaling(norm, carrier.each(self.bounded.size(position)))
        moved = carrier.scaled(parts, slopes, position)
        # Without the coefficients that are kept, the norm may be far less.
        return Waiting(moved, norm if units is None else None)

    def product(self, position: int, current: Waiting[R]) -> None:
        """Positive coefficients take the plane below, negative ones the plane above.

        The planes hold up to the node's deviation (`product_planes.py`), or to what is kept.
        """
        carrier, bounded, norm = self.carrier, self.bounded, self.norm(current)
        parents, units = bounded.network.nodes[position].parents, bounded.units(position)
        if units is not None:
            self.kept[position] = carrier.kept(current.rows, units)
        sides, sizes, height = bounded.product_planes(position)
        for part, plane in zip(carrier.parts(current.rows), sides, strict=True):
            self.add(carrier.dot(part, plane.constant, position))
        share = charge.products(carrier.terms(current.rows) + 8)
        self.slack += norm * carrier.each(height) * share
        for place, (parent, size) in enumerate(zip(parents, sizes, strict=True)):
            slopes = [plane[place] for plane in sides]
            rows = carrier.scaled(carrier.parts(current.rows), slopes, position)
            scaled = norm * carrier.each(size)
            # Of each coefficient, the plane's own operations and one more.
            self.slack += charge.scaling(3 * scaled, carrier.each(bounded.largest(parent)))
            self.deposit(parent, position, Waiting(rows, scaled))

    def choose(self, constant: Tensor, slack: Tensor, value: Tensor, its: Tensor) -> None:
        """Take another value and its slack in place of all that came since, where it is better."""
        constant, slack = constant + value, slack + its
        slack += charge.addition(constant)
        better = constant - slack > self.constant - self.slack
        self.constant = torch.where(better, constant, self.constant)
        self.slack = torch.where(better, slack, self.slack)

    def pool(self, position: int, current: Waiting[R]) -> Waiting[R]:
        """Positive coefficients take the plane below, negative ones the plane above.

        A coefficient is shared among the inputs of its window by weights of at most one.
        """
        carrier, planes = self.carrier, self.bounded.pool_planes(position)
        parts = carrier.parts(current.rows)
        floor, ceiling = planes.lower_intercept, planes.upper_intercept
        for part, intercept in zip(parts, (floor, ceiling), strict=True):
            self.add(carrier.dot(part, intercept, position))
        highest = torch.maximum(floor.abs(), ceiling.abs()).amax(1)
        size = carrier.each(torch.maximum(self.bounded.size(position), highest))
        terms, shared = carrier.terms(current.rows), planes.entry.shape[2]
        self.slack += charge.pooling(self.norm(current), size, terms, shared)
        parent = self.bounded.network.nodes[position].parents[0]
        return Waiting(carrier.pooled(parts, planes, parent))
