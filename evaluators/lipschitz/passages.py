"""Parts of a network that move no more than one number says, though their branches add up to more.

Two kinds are recognised in the graph, between a node that all its ways lead through and a sum:

- entries put in other places, negated, and compared: each result is a signed maximum of signed
  entries of the start. Where every entry serves one result, or the same two entries serve one
  maximum and, with both signs turned, another (the larger and the smaller of two: MaxMin,
  GroupSort of two, each round of a sorting network), the constant is 1 in every norm: results fall
  into groups of disjoint entries, a maximum moves by no more than the entry that moves most, and
  two numbers in order move by no more than the two numbers;
- one function of each entry, the sum of two lines with a kink each or none (an absolute value, a
  leaky ReLU of any slope): the steepest of its sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.affine import Diagonal, Gather, Reshape
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import MaxPool, Network, Operation, Sum

MOST = 64
"""Nodes of a passage."""
ROUNDED = 1e-12
"""More than the relative rounding of two products and a sum."""


@dataclass(frozen=True)
class Passage:
    """A part of a network.

    Attributes:
        start: the node that all of it depends on.
        nodes: its nodes in order, the sum last.
        constant: its Lipschitz constant in each of l1, l2 and linf.
    """

    start: int
    nodes: tuple[int, ...]
    constant: float


def passages_of(network: Network) -> dict[int, Passage]:
    """Find the passages of a network in float64, by the position of their sum."""
    found = {}
    for position, node in enumerate(network.nodes):
        if isinstance(node.operation, Sum):
            passage = _passage(network, position)
            if passage is not None:
                found[position] = passage
    return found


def _passage(network: Network, position: int) -> Passage | None:
    """Go back until all ways have met, as often as they do."""
    frontier, region = {position}, list[int]()
    while len(region) < MOST:
        last = max(frontier)
        if region and len(frontier) == 1:
            nodes = tuple(reversed(region))
            constant = 1.0 if _rearranges(network, last, nodes) else _steepest(network, last, nodes)
            if constant is not None:
                return Passage(last, nodes, constant)
        operation = network.nodes[last].operation
        if not isinstance(operation, Gather | Reshape | Diagonal | Sum | MaxPool | LeakyReLU):
            return None
        frontier.remove(last)
        region.append(last)
        frontier.update(network.nodes[last].parents)
    return None


class _Entries(NamedTuple):
    """Each entry as outer · max(inner · start[places]); places of -1 are none, all of them zero."""

    outer: Tensor
    places: Tensor
    inner: Tensor


def _rearranges(network: Network, start: int, nodes: Sequence[int]) -> bool:
    size = torch.Size(network.nodes[start].shape).numel()
    ones = torch.ones(size, dtype=torch.float64)
    known = {start: _Entries(ones, torch.arange(size)[:, None], ones[:, None])}
    for position in nodes:
        node = network.nodes[position]
        made = _moved(node.operation, [known[parent] for parent in node.parents], node.shape)
        if made is None:
            return False
        known[position] = made
    return _moves_at_most_once(known[nodes[-1]], size)


def _moved(operation: Operation, given: list[_Entries], shape: tuple[int, ...]) -> _Entries | None:
    outer, places, inner = given[0]
    if isinstance(operation, Reshape):
        return given[0] if operation.bias is None else None
    if isinstance(operation, Gather):
        if operation.bias is not None:
            return None
        index = operation.index.cpu()
        kept = (index >= 0)[:, None]
        at = index.clamp(min=0)
        return _Entries(outer[at], torch.where(kept, places[at], -1), inner[at])
    if isinstance(operation, Diagonal):
        scale = operation.scale
        if operation.bias is not None or scale is None or not bool((scale.abs() == 1).all()):
            return None
        return given[0]._replace(outer=outer * scale.double().cpu().expand(shape).reshape(-1))
    if isinstance(operation, MaxPool):
        windows = operation.windows.cpu()
        if places.shape[1] > 1 or bool((windows < 0).any()) or bool((places < 0).any()):
            return None
        signs = (outer * inner[:, 0])[windows]
        return _Entries(outer.new_ones(len(windows)), places[:, 0][windows], signs)
    return _together(given) if isinstance(operation, Sum) else None


def _together(given: list[_Entries]) -> _Entries | None:
    """The sum of values of which at each place all but one are zero."""
    width = max(entries.places.shape[1] for entries in given)
    outer, places, inner = (
        given[0].outer.clone(),
        *(
            torch.full((len(given[0].outer), width), fill, dtype=kind)
            for fill, kind in ((-1, torch.int64), (0, torch.float64))
        ),
    )
    filled = torch.zeros(len(outer), dtype=torch.bool)
    for entries in given:
        here = (entries.places >= 0).any(1)
        if bool((here & filled).any()):
            return None
        filled |= here
        own = entries.places.shape[1]
        outer[here] = entries.outer[here]
        places[here, :own] = entries.places[here]
        inner[here, :own] = entries.inner[here]
    return _Entries(outer, places, inner)


def _moves_at_most_once(entries: _Entries, size: int) -> bool:
    """Whether each entry of the start serves one result, or two of a pair in order."""
    _, places, inner = entries
    used = places >= 0
    uses = torch.bincount(places[used], minlength=size)
    twice = (uses[places.clamp(min=0)] == 2) & used
    if int(uses.max()) > 2:
        return False
    rows = twice.any(1)
    if not bool(rows.any()):
        return True
    if places.shape[1] < 2 or not bool((twice[rows].sum(1) == 2).all()):
        return False
    if not bool((used[rows].sum(1) == 2).all()) or not bool(used[rows, :2].all()):
        return False
    pair, order = places[rows, :2].sort(dim=1)
    signs = inner[rows, :2].gather(1, order)
    turn = (pair[:, 0] * size + pair[:, 1]).argsort()
    pair, signs = pair[turn], signs[turn]
    if len(pair) % 2 or bool((pair[:, 0] == pair[:, 1]).any()):
        return False
    same = (pair[0::2] == pair[1::2]).all() & (signs[0::2] == -signs[1::2]).all()
    return bool(same)


def _steepest(network: Network, start: int, nodes: Sequence[int]) -> float | None:
    """The constant of a sum of two ways of factors, each of which bends at most once."""
    ways = [_way(network, parent, start) for parent in network.nodes[nodes[-1]].parents]
    if len(ways) != 2 or None in ways:
        return None
    first, second = (_slopes(*way) for way in ways if way is not None)
    # Wherever the kinks are, the slope is one of the first way's plus one of the second's.
    sides = [(one + other, one.abs() + other.abs()) for one in first for other in second]
    return float(torch.stack([side.abs() + size * ROUNDED for side, size in sides]).max())


def _slopes(factor: Tensor, leak: float | None) -> list[Tensor]:
    return [factor] if leak is None else [factor, factor * leak]


def _way(network: Network, position: int, start: int) -> tuple[Tensor, float | None] | None:
    """The product of the factors on a way back to the start, and the leak of its one ReLU."""
    factor, leak = torch.ones((), dtype=torch.float64), None
    while position != start:
        node = network.nodes[position]
        if isinstance(node.operation, LeakyReLU):
            if leak is not None or not 0 <= node.operation.leak <= 1:
                return None
            leak = float(node.operation.leak)
        elif isinstance(node.operation, Diagonal):
            scale = node.operation.scale
            factor = factor if scale is None else factor * scale.double().cpu()
        else:
            return None
        (position,) = node.parents
    return factor, leak
