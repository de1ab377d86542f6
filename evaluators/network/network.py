"""The canonical graph: a network as five kinds of node in topological order.

On import every linear operator becomes an affine map; what remains is elementwise functions, sums
and products of branches, and max-pooling. Bound-propagation methods are written for these kinds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from evaluators.network.affine import ALONE, AffineMap, Dense, NearbyConstants, Reshape
from evaluators.network.elementwise import Elementwise
from evaluators.numerics.arrays import Shape


@dataclass(frozen=True)
class Input:
    """The network's input; always node 0."""


@dataclass(frozen=True)
class Sum:
    """The sum of all parents, which have the same shape: residuals, concatenation of embeddings."""


@dataclass(frozen=True)
class Product:
    """The product of both parents, entry by entry: gates, attention, normalisation by an input.

    Bounded by McCormick's planes (1976), mixed as each asks (`propagation/product_planes.py`).
    """

    neighbours: NearbyConstants = ALONE


@dataclass(frozen=True)
class MaxPool:
    """The largest entry of each window of a `[channel, height, width]` tensor; padding never wins.

    Attributes:
        kernel, stride: of both dimensions.
        padding: at the beginning and at the end of both.
        ceil: whether a last, partial window counts.
    """

    input_shape: Shape
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    ceil: bool = False

    def __call__(self, x: Float[Tensor, "rows c h w"]) -> Float[Tensor, "rows c h2 w2"]:
        """Compute the maxima."""
        return F.max_pool2d(x, self.kernel, self.stride, self.padding, ceil_mode=self.ceil)

    @cached_property
    def windows(self) -> Int64[Tensor, "outputs size"]:
        """List the flat input positions that each flat output entry sees; -1 is padding."""
        channels, height, width = self.input_shape
        _, rows, columns = self.output_shape
        tall = (rows - 1) * self.stride[0] + self.kernel[0] - height - self.padding[0]
        wide = (columns - 1) * self.stride[1] + self.kernel[1] - width - self.padding[1]
        places = torch.arange(prod(self.input_shape)).reshape(self.input_shape)
        pads = self.padding[1], max(wide, 0), self.padding[0], max(tall, 0)
        places = F.pad(places, pads, value=-1)
        views = places.unfold(1, self.kernel[0], self.stride[0])
        views = views.unfold(2, self.kernel[1], self.stride[1])[:, :rows, :columns]
        return views.reshape(channels * rows * columns, prod(self.kernel))

    @cached_property
    def output_shape(self) -> Shape:
        """Shape of the result without the row dimension."""
        return tuple(self(torch.zeros(1, *self.input_shape)).shape[1:])


FileRun = Callable[[NDArray[np.float32]], NDArray[np.float32]]

Operation = Input | AffineMap | Elementwise | Sum | Product | MaxPool


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a network.

    Attributes:
        name: as in the model's file, for messages.
        parents: positions of its inputs, all smaller than its own.
        shape: of its result, without the row dimension.
    """

    name: str
    operation: Operation
    parents: tuple[int, ...]
    shape: Shape


class Network:
    """A deterministic classifier: the last node's entries are the logits.

    Weights are held in float64, into which float32 weights convert exactly; `to` gives copies.

    Attributes:
        nodes: in topological order, the input first.
        runtime: the file that it was read from, as a deployed runtime runs it: logits of one input
            in row-major order. None where there is no file.
        notes: what the file says beyond these nodes, and was left out; a sentence each.
        operators: of each kind of operator in the file the nodes that compute its results; empty
            where there is no file.
    """

    notes: tuple[str, ...] = ()
    operators: Mapping[str, frozenset[int]] = MappingProxyType({})

    def __init__(self, nodes: tuple[Node, ...], runtime: FileRun | None = None) -> None:
        if not nodes or not isinstance(nodes[0].operation, Input):
            raise ValueError("A network begins with its input.")
        for position, node in enumerate(nodes):
            if any(not 0 <= parent < position for parent in node.parents):
                raise ValueError(f"Node '{node.name}' does not come after its inputs.")
        if len(nodes[-1].shape) != 1:
            raise ValueError(f"The output has shape {nodes[-1].shape}, not one logit per class.")
        self.nodes = nodes
        self.runtime = runtime
        self._copies: dict[tuple[torch.dtype | None, torch.device], Network] = {}

    @property
    def input_shape(self) -> Shape:
        """Shape of one input."""
        return self.nodes[0].shape

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.nodes[-1].shape[0]

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """For each node the position of the last node that reads it (itself when none does)."""
        last = list(range(len(self.nodes)))
        for position, node in enumerate(self.nodes):
            for parent in node.parents:
                last[parent] = position
        return tuple(last)

    @cached_property
    def first_matrix(self) -> int:
        """The matrix that the input alone, perhaps reshaped, goes into and nothing else; else 0."""
        position = 0
        while True:
            readers = [at for at, node in enumerate(self.nodes) if position in node.parents]
            operation = self.nodes[readers[0]].operation if len(readers) == 1 else None
            if not isinstance(operation, Dense | Reshape):
                return 0
            (position,) = readers
            if isinstance(operation, Dense):
                return position

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "Network":
        """Copy the network, once, with weights of another type or on another device."""
        key = (dtype, torch.device(device))
        return self._copied(key, lambda operation: operation.to(*key))

    def for_search(self, device: torch.device | str = "cpu") -> "Network":
        """Copy the network, once, in float32 without weights that are nearly nothing.

        For attacks and other searches, whose finds are checked by the network itself: it is faster.
        """
        where = torch.device(device)
        return self._copied((None, where), lambda operation: operation.for_search(where))

    def _copied(
        self, key: tuple[torch.dtype | None, torch.device], copy: Callable[[AffineMap], AffineMap]
    ) -> "Network":
        if key not in self._copies:
            # The copy outlives its first use: made in inference mode it could never be attacked.
            with torch.inference_mode(False):
                nodes = tuple(
                    Node(node.name, copy(node.operation), node.parents, node.shape)
                    if isinstance(node.operation, AffineMap)
                    else node
                    for node in self.nodes
                )
            self._copies[key] = Network(nodes)
        return self._copies[key]

    def __call__(self, x: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows classes"]:
        """Compute the logits; `x` has this network's type and device."""
        values: dict[int, Tensor] = {0: x}
        for position, node in enumerate(self.nodes[1:], start=1):
            values[position] = apply(node.operation, [values[parent] for parent in node.parents])
            for parent in set(node.parents):
                if self.last_use[parent] == position:
                    del values[parent]
        return values[len(self.nodes) - 1]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        tensors = (
            getattr(node.operation, name, None)
            for node in self.nodes
            for name in ("weight", "scale", "bias")
        )
        return sum(tensor.numel() for tensor in tensors if isinstance(tensor, Tensor))


def apply(operation: Operation, inputs: list[Tensor]) -> Tensor:
    """Compute the value of one operation."""
    if isinstance(operation, Sum):
        total = inputs[0]
        for value in inputs[1:]:
            total = total + value
        return total
    if isinstance(operation, Product):
        return inputs[0] * inputs[1]
    if isinstance(operation, Input):
        raise TypeError("The input is not computed.")
    result: Tensor = operation(inputs[0])
    return result
