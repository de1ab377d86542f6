"""Architectures to train, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import pi, prod, sqrt

import torch
from torch import Tensor, nn

from evaluators.learning.distance import Distances
from evaluators.learning.isometric import BlockOrthogonal, HalfAbsolute
from evaluators.learning.layers import Affine, Flatten, LearnedLayer, ReLU, Residual
from evaluators.learning.learner import Learner
from evaluators.learning.lipschitz import RESCALINGS, SLL
from evaluators.numerics.arrays import Shape


@dataclass(frozen=True)
class Style:
    """How the weights of an architecture begin, and what stands between its layers.

    Attributes:
        for_intervals: whether weights have the standard deviation √(2π) / fan-in, which keeps the
            width of interval bounds the same from layer to layer (Shi et al. 2021, arXiv
            2103.17268, section 4.1), instead of √(2 / fan-in) (He et al. 2015).
        normalised: whether every hidden layer has batch normalisation.
        width: multiplies the channels of an architecture.
        rescaling: the name of one for every map, so that it stretches no ℓ2 distance; weights then
            begin as orthogonal, kernels at one place. Empty for none.
        residual: how many 1-Lipschitz residual layers (SLL) follow the hidden layer.
        isometric: whether convolutions are orthogonal, with absolute values of half the channels in
            place of ReLUs, and rows of the last matrix have norm 1.
    """

    for_intervals: bool = False
    normalised: bool = False
    width: float = 1.0
    rescaling: str = ""
    residual: int = 0
    isometric: bool = False


PLAIN = Style()
"""Neither for intervals nor normalised."""


def small_cnn(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain two convolutions (16 and 32 channels, 4 by 4, stride 2) and layers (100, `classes`)."""
    chain = _Chain(shape, seed, style)
    chain.convolution(16)
    chain.convolution(32)
    return chain.classifier(100, classes)


def cnn4(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain convolutions of 32, 64 and 128 channels (4 by 4, stride 2) and layers (128, `classes`).

    For images of 32 by 32 pixels in three channels: 4.9 million products and 429,162 weights.
    """
    chain = _Chain(shape, seed, style)
    for channels in (32, 64, 128):
        chain.convolution(channels)
    return chain.classifier(128, classes)


def cnn5(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain three convolutions (16, 32 and 64 channels) and layers (256, `classes`).

    The first is 3 by 3, the others 4 by 4 with stride 2.
    """
    chain = _Chain(shape, seed, style)
    chain.convolution(16, 3, 1)
    chain.convolution(32)
    chain.convolution(64)
    return chain.classifier(256, classes)


def cnn7(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain five convolutions (16, 16, 32, 32, 32 channels) and layers (128, `classes`).

    All are 3 by 3; the third has stride 2. It is the network of Shi et al. 2021 with a quarter of
    its width.
    """
    chain = _Chain(shape, seed, style)
    for channels, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (32, 1)):
        chain.convolution(channels, 3, stride)
    return chain.classifier(128, classes)


def wide_cnn7(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain five convolutions (32, 64, 64, 128, 128 channels) and layers (256, `classes`).

    The first and third are 3 by 3, the others 4 by 4 with stride 2. For images of 32 by 32 pixels
    in three channels: 32 million products and 991,242 weights as written.
    """
    chain = _Chain(shape, seed, style)
    for channels, kernel, stride in ((32, 3, 1), (64, 4, 2), (64, 3, 1), (128, 4, 2), (128, 4, 2)):
        chain.convolution(channels, kernel, stride)
    return chain.classifier(256, classes)


def residual_cnn(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain convolutions of 32, 64 and 128 channels (4 by 4, stride 2) and layers (128, `classes`).

    After the second comes a residual block of two convolutions, 3 by 3. The block's last weights
    are zero: it begins as the identity, so that no normalisation is needed (Zhang et al. 2019,
    arXiv 1901.09321). For images of 32 by 32 pixels in three channels: 8.8 million products and
    503,018 weights.
    """
    chain = _Chain(shape, seed, style)
    chain.convolution(32)
    chain.convolution(64)
    chain.residual_block()
    chain.convolution(128)
    return chain.classifier(128, classes)


def residual_cnn8(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain convolutions of 32, 64 and 128 channels, and means over the image of `classes` more.

    The first is 3 by 3, the others 4 by 4 with stride 2; after each of these comes a residual block
    of two convolutions, 3 by 3; the last is of one tap. For images of 32 by 32 pixels in three
    channels: 55 million products and 541,652 weights as written, of them 6,400 in the means.
    """
    chain = _Chain(shape, seed, style)
    chain.convolution(32, 3, 1)
    for channels in (64, 128):
        chain.convolution(channels)
        chain.residual_block()
    return chain.mean_logits(classes)


def unshuffled_cnn(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain three convolutions (32 channels, 3 by 3) and layers (256, `classes`).

    Before the first and the third, each 2 by 2 pixels become channels, so that nothing is lost
    where an image is halved: for networks whose layers cannot stretch distances.
    """
    chain = _Chain(shape, seed, style)
    chain.unshuffle()
    chain.convolution(32, 3, 1)
    chain.convolution(32, 3, 1)
    chain.unshuffle()
    chain.convolution(32, 3, 1)
    return chain.classifier(256, classes)


def orthogonal_cnn(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain five convolutions (48, 96, 96, 96 and 128 channels) and the logits.

    They are 3 by 3 but the second and the last, 1 by 1. Before the first, second and last each 2 by
    2 pixels become channels. For images of 32 by 32 pixels in three channels: 14 million products.
    """
    chain = _Chain(shape, seed, style)
    for stage in (((48, 3),), ((96, 1), (96, 3), (96, 3)), ((128, 1),)):
        chain.unshuffle()
        for channels, kernel in stage:
            chain.convolution(channels, kernel, 1)
    return chain.logits(classes)


def linf_distance(shape: Shape, classes: int, seed: int, style: Style = PLAIN) -> Learner:
    """Chain three layers of ℓ∞ distances (256, 256, `classes`)."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (prod(shape), *[round(256 * style.width)] * 2, classes)
    layers: list[LearnedLayer] = [Flatten()]
    for before, after in pairwise(sizes):
        last = len(layers) == len(sizes) - 1
        weight = torch.randn(after, before, generator=generator)
        layers.append(Distances(weight, -1.0 if last else 1.0, centred=not last))
    return Learner(shape, layers)


Architecture = Callable[[Shape, int, int, Style], Learner]
"""From the shape of an image, the number of classes, a seed and a style."""

ARCHITECTURES: dict[str, Architecture] = {
    "small-cnn": small_cnn,
    "cnn4": cnn4,
    "cnn5": cnn5,
    "cnn7": cnn7,
    "wide-cnn7": wide_cnn7,
    "residual-cnn": residual_cnn,
    "residual-cnn8": residual_cnn8,
    "unshuffled-cnn": unshuffled_cnn,
    "orthogonal-cnn": orthogonal_cnn,
    "linf-distance": linf_distance,
}


class _Chain:
    """A chain of layers, with residual blocks."""

    def __init__(self, shape: Shape, seed: int, style: Style) -> None:
        self.input_shape = self.shape = shape
        self.layers: list[LearnedLayer] = []
        self.generator = torch.Generator().manual_seed(seed)
        self.style = style

    def weight(self, *shape: int) -> Tensor:
        if self.style.rescaling:
            weight = torch.zeros(shape)
            core = weight if len(shape) == 2 else weight[:, :, shape[2] // 2, shape[3] // 2]
            nn.init.orthogonal_(core, generator=self.generator)
            return weight
        fan_in = prod(shape[1:])
        scale = sqrt(2 * pi) / fan_in if self.style.for_intervals else sqrt(2 / fan_in)
        return torch.randn(*shape, generator=self.generator) * scale

    def convolution(self, channels: int, kernel: int = 4, stride: int = 2) -> None:
        """With padding 1 but of one tap, so that stride 2 halves the image, and an activation."""
        activation = HalfAbsolute() if self.style.isometric else ReLU()
        convolution = self._conv(round(channels * self.style.width), kernel, stride)
        self.layers += [convolution, activation]

    def unshuffle(self) -> None:
        """Make each 2 by 2 pixels channels, by a fixed convolution."""
        channels, height, width = self.shape
        weight = torch.eye(4 * channels).reshape(4 * channels, channels, 2, 2)
        old, self.shape = self.shape, (4 * channels, height // 2, width // 2)
        layer = Affine((old, self.shape), weight, (2, 0))
        self.layers.append(layer.requires_grad_(False))

    def residual_block(self) -> None:
        """x -> ReLU(x + W₂ ReLU(W₁ x)) with 3 by 3 convolutions that keep the shape; W₂ is zero."""
        first, channels = self._conv(self.shape[0], 3, 1), self.shape[0]
        zero = Affine((self.shape, self.shape), torch.zeros(channels, channels, 3, 3), (1, 1))
        self.layers += [Residual([first, ReLU(), zero]), ReLU()]

    def classifier(self, hidden: int, classes: int) -> Learner:
        """End with a hidden layer and the logits."""
        self.layers.append(Flatten())
        size, hidden = prod(self.shape), round(hidden * self.style.width)
        self.layers += [self._affine((size,), (hidden,), self.weight(hidden, size)), ReLU()]
        for _ in range(self.style.residual):
            self.layers.append(SLL((hidden,), (hidden,), self.weight(hidden, hidden)))
        self.shape = (hidden,)
        return self._ended(classes)

    def logits(self, classes: int) -> Learner:
        """End with the logits, without a hidden layer."""
        self.layers.append(Flatten())
        self.shape = (prod(self.shape),)
        return self._ended(classes)

    def mean_logits(self, classes: int) -> Learner:
        """End with the means over the image of a convolution of one tap to the logits."""
        self.layers += [self._logit_maps(classes), Flatten(), self._means()]
        return Learner(self.input_shape, self.layers)

    def _logit_maps(self, classes: int) -> Affine:
        (before, *sides), old = self.shape, self.shape
        self.shape = (classes, *sides)
        return Affine((old, self.shape), self.weight(classes, before, 1, 1))

    def _means(self) -> Affine:
        """The mean of each channel of a flattened image, fixed."""
        channels, pixels = self.shape[0], prod(self.shape[1:])
        weight = torch.eye(channels).repeat_interleave(pixels, 1) / pixels
        return Affine(((channels * pixels,), (channels,)), weight).requires_grad_(False)

    def _ended(self, classes: int) -> Learner:
        weight = self.weight(classes, *self.shape)
        if self.style.isometric:
            # Entries of a tenth, as those of kernels: Adam turns rows of a long matrix no faster.
            weight = torch.randn(weight.shape, generator=self.generator) / 10
        rescaling = RESCALINGS.get("unit-rows" if self.style.isometric else self.style.rescaling)
        self.layers.append(Affine((self.shape, (classes,)), weight, rescaling=rescaling))
        return Learner(self.input_shape, self.layers)

    def _conv(self, channels: int, kernel: int, stride: int) -> Affine:
        before, height, width = self.shape
        padding = min(kernel - 1, 1)
        sides = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
        old, self.shape = self.shape, (channels, *sides)
        if self.style.isometric:
            return BlockOrthogonal((old, self.shape), kernel, self.generator)
        weight = self.weight(channels, before, kernel, kernel)
        return self._affine(old, self.shape, weight, (stride, padding))

    def _affine(
        self, before: Shape, after: Shape, weight: Tensor, layout: tuple[int, int] = (1, 0)
    ) -> Affine:
        """A hidden map in the chain's style."""
        normalised, rescaling = self.style.normalised, RESCALINGS.get(self.style.rescaling)
        return Affine((before, after), weight, layout, normalised=normalised, rescaling=rescaling)
