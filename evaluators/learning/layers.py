"""Layers to train: each computes on a batch, and writes itself into a canonical graph.

What it writes depends on its parameters differentiably, so that a loss of the evaluators' bounds
reaches them, through normalisation and rescaling too. Normalisation is folded into the map.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from evaluators.network.affine import AffineMap, Convolution, Dense, Reshape
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import Sum
from evaluators.numerics.arrays import Shape

MOMENTUM, EPSILON = 0.1, 1e-5
"""Of batch normalisation: the share of a batch in the running statistics; added to variances."""

Rescaling = Callable[[Tensor], Tensor]
"""From the weight that is trained to the one that is used."""


class LearnedLayer(nn.Module):
    """A part of a chain; `write` appends what it does to the end of a graph."""

    @abstractmethod
    def write(self, graph: GraphBuilder) -> None:
        """Append this layer's nodes, as it is now."""


class Affine(LearnedLayer):
    """A matrix or a convolution, with batch normalisation behind it where asked for.

    In training the mean and variance of each channel of the last batch normalise, else running
    averages.

    Attributes:
        settled: whether running averages normalise in training too, and stay as they are.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(
        self,
        shapes: tuple[Shape, Shape],
        weight: Tensor,
        layout: tuple[int, int] = (1, 0),
        *,
        normalised: bool = False,
        rescaling: Rescaling | None = None,
    ) -> None:
        """Make a convolution of stride and padding `layout`, or a matrix where `weight` is one."""
        super().__init__()
        self.shapes, self.layout, self.rescaling = shapes, layout, rescaling
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)))
        self.gain = nn.Parameter(torch.ones(len(weight))) if normalised else None
        self._seen: Tensor | None = None
        self._statistics: tuple[Tensor, Tensor] | None = None
        self.settled = False
        if normalised:
            self.register_buffer("running_mean", torch.zeros(len(weight)))
            self.register_buffer("running_variance", torch.ones(len(weight)))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer on a batch, and in training its statistics."""
        if self.gain is None:
            return self._linear(x, self.used_weight(), self.bias)
        y = self._linear(x, self.used_weight(), None)
        if self.training and not self.settled:
            self._seen, self._statistics = y, None
            running = self.running_mean, self.running_variance
            return F.batch_norm(y, *running, self.gain, self.bias, True, MOMENTUM, EPSILON)
        scale, shift = self._normalisation()
        view = (1, -1) + (1,) * (y.dim() - 2)
        return y * scale.view(view) + shift.view(view)

    def used_weight(self) -> Tensor:
        """Compute the weight before normalisation."""
        return self.weight if self.rescaling is None else self.rescaling(self.weight)

    def write(self, graph: GraphBuilder) -> None:
        """Append one affine map, normalisation folded in."""
        weight, bias = self.used_weight(), cast("Tensor", self.bias)
        if self.gain is not None:
            scale, bias = self._normalisation()
            weight = weight * scale.view(-1, *(1,) * (weight.dim() - 1))
        graph.add("affine", self._map(weight, bias))

    def _map(self, weight: Tensor, bias: Tensor) -> AffineMap:
        if weight.dim() == 2:
            return Dense(*self.shapes, bias, weight)
        (stride, padding), bias = self.layout, bias[:, None, None]
        return Convolution(*self.shapes, bias, weight, (stride,) * 2, (padding,) * 2, (1, 1))

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight, bias, *self.layout)

    def batch_statistics(self) -> tuple[Tensor, Tensor]:
        """The mean and variance of each channel of the last batch, with their derivatives."""
        if self._statistics is None:
            assert self._seen is not None
            seen = self._seen.float()
            self._statistics = _Statistics.apply(seen)  # type: ignore[no-untyped-call]
        assert self._statistics is not None
        return self._statistics

    def _normalisation(self) -> tuple[Tensor, Tensor]:
        """The factor and the shift of each channel."""
        assert self.gain is not None
        mean, variance = self.running_mean, self.running_variance
        if self.training and not self.settled and self._seen is not None:
            mean, variance = self.batch_statistics()
        scale = self.gain / (variance + EPSILON).sqrt()
        return scale, self.bias - mean * scale


class _Statistics(torch.autograd.Function):
    """The mean and variance of each channel, ten times as fast as `torch.var_mean`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = torch.batch_norm_update_stats(y, None, None, MOMENTUM)
        ctx.save_for_backward(y, mean)
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        y, mean = ctx.saved_tensors
        count = y.numel() // len(mean)
        slope = of_variance * (2 / count)
        view = (1, -1) + (1,) * (y.dim() - 2)
        return torch.addcmul((of_mean / count - slope * mean).view(view), y, slope.view(view))


class ReLU(LearnedLayer):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute it."""
        return F.relu(x)

    def write(self, graph: GraphBuilder) -> None:
        """Append one node."""
        graph.add("relu", LeakyReLU(), shape=graph.nodes[-1].shape)


class Flatten(LearnedLayer):
    """An image as one row."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute it."""
        return x.flatten(1)

    def write(self, graph: GraphBuilder) -> None:
        """Append one node."""
        shape = graph.nodes[-1].shape
        graph.add("flatten", Reshape(shape, (prod(shape),), None))


class Residual(LearnedLayer):
    """x + the chain of `layers` on x."""

    def __init__(self, layers: Sequence[LearnedLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Compute it."""
        y = x
        for layer in self.layers:
            y = layer(y)
        return x + y

    def write(self, graph: GraphBuilder) -> None:
        """Append the layers' nodes and a sum."""
        first = len(graph.nodes) - 1
        for layer in self.layers:
            assert isinstance(layer, LearnedLayer)
            layer.write(graph)
        last = len(graph.nodes) - 1
        graph.add("sum", Sum(), (first, last), graph.nodes[first].shape)
