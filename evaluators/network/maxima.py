"""Largest entries written with ReLUs: max(a, b) = a + relu(b - a), pair by pair.

So written, max-pooling is part of a piecewise linear network like any other: its lines can be
optimised, and methods that split ReLUs are complete for it.
"""

from dataclasses import dataclass
from math import prod
from weakref import WeakKeyDictionary

import torch

from evaluators.network.affine import Diagonal, Gather
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import MaxPool, Network, Node, Operation, Sum


@dataclass
class GraphBuilder:
    """A network's nodes while others are appended.

    Attributes:
        nodes: so far.
        prefix: of the names of those that are appended.
    """

    nodes: list[Node]
    prefix: str

    def add(
        self,
        name: str,
        operation: Operation,
        parents: tuple[int, ...] = (),
        shape: tuple[int, ...] = (),
    ) -> int:
        """Append a node, behind the last one unless parents are given."""
        parents = parents or (len(self.nodes) - 1,)
        shape = shape or getattr(operation, "output_shape", ())
        self.nodes.append(Node(f"{self.prefix}/{name}", operation, parents, shape))
        return len(self.nodes) - 1

    def largest(self, sizes: list[int]) -> None:
        """Replace the last node's entries, so many of each group in turn, by their maxima."""
        while max(sizes) > 1:
            start = 0
            kept: list[int] = []
            places: list[int] = []
            firsts: list[int] = []
            for size in sizes:
                for first in range(start, start + size, 2):
                    paired = first + 1 < start + size
                    places.append(len(firsts) if paired else -1)
                    firsts += [first] if paired else []
                    kept.append(first)
                start += size
            self._level(start, torch.tensor(kept), torch.tensor(places), torch.tensor(firsts))
            sizes = [(size + 1) // 2 for size in sizes]

    def _level(
        self, count: int, kept: torch.Tensor, places: torch.Tensor, firsts: torch.Tensor
    ) -> None:
        """One round of the knock-out: a + relu(b - a) for each pair, a alone for one left over."""
        source, pairs, left = len(self.nodes) - 1, (len(firsts),), (len(kept),)
        winners = self.add("first", Gather((count,), left, None, kept))
        second = self.add("second", Gather((count,), pairs, None, firsts + 1), (source,))
        self.add("paired", Gather((count,), pairs, None, firsts), (source,))
        minus = -torch.ones((), dtype=torch.float64)
        negative = self.add("negative", Diagonal(pairs, pairs, None, minus))
        self.add("difference", Sum(), (second, negative), pairs)
        self.add("excess", LeakyReLU(), shape=pairs)
        excess = self.add("spread", Gather(pairs, left, None, places))
        self.add("larger", Sum(), (winners, excess), left)


def without_max_pools(network: Network) -> Network:
    """Write every max-pooling of a network with ReLUs; return the network if it has none."""
    if not any(isinstance(node.operation, MaxPool) for node in network.nodes):
        return network
    if network not in _WRITTEN:
        _WRITTEN[network] = _written(network)
    return _WRITTEN[network]


_WRITTEN: WeakKeyDictionary[Network, Network] = WeakKeyDictionary()
"""What was rewritten, so that its copies and matrices are made once."""


def _written(network: Network) -> Network:
    graph, moved = GraphBuilder([], ""), list[int]()
    for node in network.nodes:
        parents = tuple(moved[parent] for parent in node.parents)
        if isinstance(node.operation, MaxPool):
            moved.append(_append_pool(graph, node.name, node.operation, parents))
        else:
            graph.nodes.append(Node(node.name, node.operation, parents, node.shape))
            moved.append(len(graph.nodes) - 1)
    return Network(tuple(graph.nodes))


def _append_pool(graph: GraphBuilder, name: str, pool: MaxPool, parents: tuple[int, ...]) -> int:
    graph.prefix = name
    windows = pool.windows.cpu()
    inside = windows >= 0
    index, flat = windows[inside], (int(inside.sum()),)
    graph.add("windows", Gather(pool.input_shape, flat, None, index), parents)
    graph.largest(inside.sum(1).tolist())
    outputs = (prod(pool.output_shape),)
    index = torch.arange(outputs[0])
    return graph.add("pooled", Gather(outputs, pool.output_shape, None, index))
