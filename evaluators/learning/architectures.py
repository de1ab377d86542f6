"""Networks to train: canonical graphs whose weights are float32 leaves of automatic derivatives."""

from math import pi, prod, sqrt

import torch
from torch import Tensor

from evaluators.network.affine import Convolution, Dense, Reshape
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Input, Network, Node, Operation, Sum
from evaluators.numerics.arrays import Shape


def small_cnn(shape: Shape, classes: int, seed: int, for_intervals: bool) -> Network:
    """Chain two convolutions (16 and 32 channels, 4 by 4, stride 2) and layers (100, `classes`).

    Weights are normal with variance 2 / fan-in (He et al. 2015), or, `for_intervals`, with
    standard deviation √(2π) / fan-in, which keeps the width of interval bounds the same from
    layer to layer (Shi et al. 2021, arXiv 2103.17268, section 4.1). Biases are zero.
    """
    builder = _Builder(shape, seed, for_intervals)
    builder.convolution(16)
    builder.convolution(32)
    return builder.classifier(100, classes)


def residual_cnn(shape: Shape, classes: int, seed: int, for_intervals: bool) -> Network:
    """Chain convolutions of 32, 64 and 128 channels (4 by 4, stride 2) and layers (128, `classes`).

    After the second comes a residual block of two convolutions, 3 by 3. Weights start as in
    `small_cnn`, except that the block's last are zero: it begins as the identity, so that no
    normalisation is needed (Zhang et al. 2019, arXiv 1901.09321). For images of 32 by 32 pixels
    in three channels: 8.8 million products and 503,018 weights.
    """
    builder = _Builder(shape, seed, for_intervals)
    builder.convolution(32)
    builder.convolution(64)
    builder.residual_block()
    builder.convolution(128)
    return builder.classifier(128, classes)


def parameters(network: Network) -> list[Tensor]:
    """List the tensors to train."""
    tensors = (
        getattr(node.operation, name, None) for node in network.nodes for name in ("weight", "bias")
    )
    return [tensor for tensor in tensors if isinstance(tensor, Tensor)]


class _Builder:
    """A chain of nodes, with residual blocks."""

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

    def residual_block(self) -> None:
        """x -> ReLU(x + W₂ ReLU(W₁ x)) with 3 by 3 convolutions that keep the shape; W₂ is zero."""
        first = len(self.nodes) - 1
        shape = self.nodes[first].shape
        self.same_size(self.weight(shape[0], shape[0], 3, 3))
        self.add(LeakyReLU(), shape)
        zeros = torch.zeros(shape[0], shape[0], 3, 3).contiguous(memory_format=torch.channels_last)
        self.same_size(zeros.requires_grad_())
        position = len(self.nodes)
        self.nodes.append(Node(f"node_{position}", Sum(), (first, position - 1), shape))
        self.add(LeakyReLU(), shape)

    def same_size(self, weight: Tensor) -> None:
        """A convolution, 3 by 3 with padding 1, that keeps the shape."""
        shape = self.nodes[-1].shape
        bias = torch.zeros(shape[0], 1, 1, requires_grad=True)
        self.add(Convolution(shape, shape, bias, weight, (1, 1), (1, 1), (1, 1)), shape)

    def classifier(self, hidden: int, classes: int) -> Network:
        """End with a hidden layer and the logits."""
        before = self.nodes[-1].shape
        self.add(Reshape(before, (prod(before),), None), (prod(before),))
        self.dense(hidden)
        self.add(LeakyReLU(), (hidden,))
        self.dense(classes)
        return Network(tuple(self.nodes))

    def dense(self, outputs: int) -> None:
        before = self.nodes[-1].shape
        bias = torch.zeros(outputs, requires_grad=True)
        self.add(Dense(before, (outputs,), bias, self.weight(outputs, *before)), (outputs,))
