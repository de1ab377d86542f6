"""Bounds of a network's nodes and margins, put together from intervals and backward passes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, Diagonal
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import MaxPool, Network, Product, Sum
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.errors import ContradictionError
from evaluators.propagation.backward import lower_bounds, unit_rows
from evaluators.propagation.coupling import NodeBall
from evaluators.propagation.intervals import Interval, propagate
from evaluators.propagation.receptive_fields import ReceptiveField, receptive_fields
from evaluators.propagation.relaxation import ADAPTIVE, Relaxation
from evaluators.propagation.relaxed import Relaxed
from evaluators.propagation.rounding_charge import settle
from evaluators.propagation.window_rows import window_lower_bounds
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem

Nonlinear = Elementwise | MaxPool | Product

NodeFilter = Callable[[Network, int], bool]
"""Whether a node that feeds a non-linearity is bounded by a backward pass too."""

Balls = Mapping[int, NodeBall]
"""Balls of l2 that nodes' values lie in, by position."""

NOWHERE: Balls = {}
"""No balls."""

KnownBounds = Mapping[int, Interval]
"""Bounds of nodes that are proved already, by position."""

UNKNOWN: KnownBounds = {}
"""None."""

CHUNK_BYTES = 3 * 2**20
"""Size of the largest tensor of a backward pass: past the caches, larger is not faster."""


def interval_relaxation(problem: Problem, relaxation: Relaxation = ADAPTIVE) -> Relaxed:
    """Intervals of every node (IBP); for l2 and l1 the first layer's by the dual norm."""
    return _relaxed(problem, relaxation, _first_layer(problem.region.norm))


def linear_relaxation(
    problem: Problem,
    relaxation: Relaxation = ADAPTIVE,
    balls: Balls = NOWHERE,
    known: KnownBounds = UNKNOWN,
    deadline: Deadline | None = None,
) -> Relaxed:
    """Intervals of every node, those that feed non-linearities tightened by backward passes.

    Args:
        problem: the question.
        relaxation: the lines of non-linearities.
        balls: that nodes' values lie in, by position, where they are known.
        known: sound bounds over each example's region or one that holds it, which are met.
        deadline: when it has passed, what is not tightened yet stays as wide as intervals are.
    """
    return _relaxed(problem, relaxation, _everywhere, balls, known, deadline)


def margins(relaxed: Relaxed, labels: Tensor, to_input: bool) -> Tensor:
    """Lower bounds of label's logit minus each other's, `[batch, classes - 1]`, classes in order.

    With `to_input` rows are walked to the input; else only to the nearest non-linearity, which
    is interval propagation with the last linear layers merged.
    """
    return least_of_logits(relaxed, margin_rows(labels, relaxed.network.classes), to_input)


def least_of_logits(relaxed: Relaxed, rows: Tensor, to_input: bool) -> Tensor:
    """Lower bounds `[batch, rows]` of linear functions of the logits, `[batch, rows, classes]`.

    Args:
        relaxed: bounds of all nodes.
        rows: the functions of each example, exact.
        to_input: as of `margins`.
    """
    nodes, last = relaxed.network.nodes, len(relaxed.network.nodes) - 1

    def nearest(position: int) -> bool:
        return not isinstance(nodes[position].operation, AffineMap | Sum)

    passed = {last}
    for position in range(last, 0, -1):
        if position in passed and not nearest(position):
            passed.update(nodes[position].parents)
    found = _in_chunks(relaxed, rows, _fitting(relaxed, passed), nearest)
    if to_input:
        walked = _in_chunks(relaxed, rows, _row_capacity(relaxed, last))
        found = torch.maximum(found, walked)
    return found


def _in_chunks(
    relaxed: Relaxed, rows: Tensor, capacity: int, stop: Callable[[int], bool] = lambda _: False
) -> Tensor:
    """Lower bounds of functions of the logits, of so many rows at once."""
    last, size = len(relaxed.network.nodes) - 1, max(1, capacity // rows.shape[1])
    places = torch.split(torch.arange(len(rows), device=rows.device), size)
    return torch.cat([lower_bounds(relaxed, last, rows[some], some, stop) for some in places])


def margin_rows(labels: Tensor, classes: int) -> Tensor:
    """`[batch, classes - 1, classes]`: +1 at the label, -1 at each other class in turn."""
    unit = torch.eye(classes, dtype=torch.float64, device=labels.device)
    others = torch.ones(len(labels), classes, dtype=torch.bool, device=labels.device)
    others.scatter_(1, labels[:, None], False)
    rows = unit[labels][:, None] - unit
    return rows[others].reshape(len(labels), classes - 1, classes)


def _everywhere(_network: Network, _position: int) -> bool:
    """Every node is bounded by a backward pass."""
    return True


def _first_layer(norm: Norm) -> NodeFilter:
    """Which nodes IBP bounds by a backward pass: none for a box, else affine ones of the input."""

    def wanted(network: Network, position: int) -> bool:
        if norm is Norm.LINF:
            return False
        while position and isinstance(network.nodes[position].operation, AffineMap):
            position = network.nodes[position].parents[0]
        return position == 0

    return wanted


def _relaxed(
    problem: Problem,
    relaxation: Relaxation,
    wanted: NodeFilter,
    balls: Balls = NOWHERE,
    known: KnownBounds = UNKNOWN,
    deadline: Deadline | None = None,
) -> Relaxed:
    assert isinstance(problem.network, Network)
    network = problem.network.to(torch.float64, problem.x.device)
    hull = Interval(*problem.region.hull(problem.x))
    deployed = problem.deployed
    x, region = problem.x.double(), problem.region
    relaxed = Relaxed(network, [hull], x, region, relaxation, deployed=deployed, balls=balls)
    refinable = _nonlinear_parents(network)
    for position, node in enumerate(network.nodes[1:], start=1):
        parents = [relaxed.bounds[parent] for parent in node.parents]
        relaxed.bounds.append(propagate(node.operation, parents, deployed=deployed))
        if position in known:
            relaxed.bounds[position] = relaxed.bounds[position].meet(known[position])
        if position in refinable and wanted(network, position):
            if problem.region.norm is Norm.LINF and _interval_is_exact(network, position):
                continue
            relaxed.bounds[position] = _refine(relaxed, position, refinable[position], deadline)
    return relaxed


def _nonlinear_parents(network: Network) -> dict[int, Nonlinear]:
    """The nodes whose bounds a relaxation reads, with one of the operations that reads them.

    Of several it is one that every entry matters to, if there is one.
    """
    found: dict[int, Nonlinear] = {}
    for node in network.nodes:
        for parent in node.parents:
            if isinstance(node.operation, MaxPool | Product):
                found[parent] = node.operation
            elif isinstance(node.operation, Elementwise):
                found.setdefault(parent, node.operation)
    return found


def _interval_is_exact(network: Network, position: int) -> bool:
    """Whether interval propagation over a box is already the best bound of a node.

    So it is when only one map between the node and the input mixes entries.
    """
    mixing = 0
    while position:
        operation = network.nodes[position].operation
        if not isinstance(operation, AffineMap):
            return False
        mixing += (
            not isinstance(operation, Diagonal) and max(operation.fan_in, operation.fan_out) > 1
        )
        position = network.nodes[position].parents[0]
    return mixing <= 1


def _refine(
    relaxed: Relaxed, position: int, reader: Nonlinear, deadline: Deadline | None
) -> Interval:
    """Tighten the entries of a node at which the operation that reads it is unstable.

    Upper bounds come first: an entry that they decide, such as a ReLU's that is never positive,
    needs no lower bound of its own.
    """
    interval = relaxed.bounds[position]
    lower, upper = interval.lower.flatten(1).clone(), interval.upper.flatten(1).clone()
    fields = receptive_fields(relaxed.network, position)
    for sign, bound in ((-1.0, upper), (1.0, lower)):
        if not isinstance(reader, Elementwise):
            unstable = torch.ones_like(lower, dtype=torch.bool)
        else:
            unstable = reader.unstable(lower, upper)
        if fields is None:
            _refine_by_planes(relaxed, position, unstable, bound, sign, deadline)
        else:
            _refine_by_windows(relaxed, position, fields, unstable, bound, sign, deadline)
    if bool((lower > upper).any()):
        name = relaxed.network.nodes[position].name
        raise ContradictionError(f"Two sound bounds of node '{name}' exclude each other.")
    return Interval(lower.reshape_as(interval.lower), upper.reshape_as(interval.upper))


def _tighten(bound: Tensor, owner: Tensor, entry: Tensor, found: Tensor, sign: float) -> None:
    """Take lower bounds of `sign` times some entries into account; NaN stays NaN."""
    better = torch.maximum if sign > 0 else torch.minimum
    bound[owner, entry] = better(bound[owner, entry], sign * found)


def _refine_by_windows(
    relaxed: Relaxed,
    position: int,
    fields: dict[int, ReceptiveField],
    unstable: Tensor,
    bound: Tensor,
    sign: float,
    deadline: Deadline | None,
) -> None:
    """Tighten `bound` in place where `unstable`, both `[batch, entries]`."""
    nodes = relaxed.network.nodes
    # Rows of one pixel after another, whose windows see the same lines.
    channels = nodes[position].shape[0]
    pixels_first = unstable.reshape(len(unstable), channels, -1).transpose(1, 2)
    owner, pixel, channel = pixels_first.nonzero(as_tuple=True)
    entry = channel * pixels_first.shape[1] + pixel
    widest = max(nodes[p].shape[0] * prod(field.size) for p, field in fields.items())
    step = max(1, CHUNK_BYTES // (8 * widest))
    for first in range(0, len(owner), step):
        if deadline is not None and deadline.passed:
            return
        own, at = owner[first : first + step], entry[first : first + step]
        found = window_lower_bounds(relaxed, position, fields, own, at, sign)
        _tighten(bound, own, at, found, sign)


def _refine_by_planes(
    relaxed: Relaxed,
    position: int,
    unstable: Tensor,
    bound: Tensor,
    sign: float,
    deadline: Deadline | None,
) -> None:
    """Tighten `bound` in place where `unstable`, both `[batch, entries]`."""
    for examples, index, real in _groups(unstable, _row_capacity(relaxed, position)):
        if deadline is not None and deadline.passed:
            return
        start, rows, constant = unit_rows(relaxed.network, position, index)
        found = lower_bounds(relaxed, start, sign * rows, examples, constant=sign * constant)
        error = relaxed.run_error(position)
        if start != position and error is not None:
            found = settle(found, error.flatten(1)[examples[:, None], index])
        owner = examples[:, None].expand_as(index)[real]
        _tighten(bound, owner, index[real], found[real], sign)


def _groups(unstable: Tensor, capacity: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Cut the unstable entries `[batch, entries]` into groups of examples with equal row counts.

    Yields `(examples [g], index [g, k], real [g, k])`; examples with similar counts go together,
    and rows that only fill up are not `real`.
    """
    counts = unstable.sum(1)
    order = torch.argsort(counts, descending=True).tolist()
    counts_list = counts.tolist()
    order = [example for example in order if counts_list[example]]
    while order:
        most = counts_list[order[0]]
        if most > capacity:
            example = order.pop(0)
            places = unstable[example].nonzero()[:, 0]
            for first in range(0, most, capacity):
                index = places[None, first : first + capacity]
                yield (index.new_tensor([example]), index, torch.ones_like(index, dtype=torch.bool))
            continue
        size = max(1, capacity // most)
        members, order = order[:size], order[size:]
        examples = torch.tensor(members, device=unstable.device)
        ranks = unstable[examples].to(torch.int8).argsort(dim=1, descending=True, stable=True)
        real = torch.arange(most, device=unstable.device) < counts[examples, None]
        yield examples, ranks[:, :most], real


def _row_capacity(relaxed: Relaxed, position: int) -> int:
    """How many rows fit into a chunk on their way from a node to where a walk ends."""
    return _fitting(relaxed, range(relaxed.front, position + 1))


def _fitting(relaxed: Relaxed, positions: Iterable[int]) -> int:
    """How many rows fit into a chunk at any of these nodes."""
    largest = max(prod(relaxed.network.nodes[position].shape) for position in positions)
    return max(2, CHUNK_BYTES // (8 * largest))
