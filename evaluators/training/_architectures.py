"""Networks to train: canonical graphs whose weights are float32 leaves of automatic derivatives."""

from math import pi, prod, sqrt

import torch
from torch import Tensor

from evaluators.affine import Convolution, Dense, Reshape, Shape
from evaluators.elementwise import LeakyReLU
from evaluators.network import Input, Network, Node, Operation


def small_cnn(shape: Shape, classes: int, seed: int, for_intervals: bool) -> Network:
    """Two convolutions (16 and 32 channels, 4 by 4, stride 2) and two layers (100, `classes`).

    Weights are normal with variance 2 / fan-in (He et al. 2015), or, `for_intervals`, with
    standard deviation √(2π) / fan-in, which keeps the width of interval bounds the same from
    layer to layer (Shi et al. 2021, arXiv 2103.17268, section 4.1). Biases are zero.
    """
    builder = _Builder(shape, seed, for_intervals)
    builder.convolution(16)
    builder.convolution(32)
    builder.flatten()
    builder.dense(100)
    builder.add(LeakyReLU(), (100,))
    builder.dense(classes)
    return Network(tuple(builder.nodes))


def parameters(network: Network) -> list[Tensor]:
    """The tensors to train."""
    tensors = (
        getattr(node.operation, name, None) for node in network.nodes for name in ("weight", "bias")
    )
    return [tensor for tensor in tensors if isinstance(tensor, Tensor)]


class _Builder:
    """A chain of nodes."""

    def __init__(self, shape: Shape, seed: int, for_intervals: bool) -> None:
        self.nodes = [Node("input", Input(), (), shape)]
        self.generator = torch.Generator().manual_seed(seed)
        self.for_intervals = for_intervals

    def add(self, operation: Operation, shape: Shape) -> None:
        position = len(self.nodes)
        self.nodes.append(Node(f"node_{position}", operation, (position - 1,), shape))

    def weight(self, *shape: int) -> Tensor:
        fan_in = prod(shape[1:])
        scale = sqrt(2 * pi) / fan_in if self.for_intervals else sqrt(2 / fan_in)
        weight = torch.randn(*shape, generator=self.generator) * scale
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        return weight.requires_grad_()

    def convolution(self, channels: int) -> None:
        """With padding 1, so that stride 2 halves the image, and a ReLU."""
        before = self.nodes[-1].shape
        shape = (channels, before[1] // 2, before[2] // 2)
        bias = torch.zeros(channels, 1, 1, requires_grad=True)
        weight = self.weight(channels, before[0], 4, 4)
        self.add(Convolution(before, shape, bias, weight, (2, 2), (1, 1), (1, 1)), shape)
        self.add(LeakyReLU(), shape)

    def flatten(self) -> None:
        before = self.nodes[-1].shape
        self.add(Reshape(before, (prod(before),), None), (prod(before),))

    def dense(self, outputs: int) -> None:
        before = self.nodes[-1].shape
        bias = torch.zeros(outputs, requires_grad=True)
        self.add(Dense(before, (outputs,), bias, self.weight(outputs, *before)), (outputs,))
