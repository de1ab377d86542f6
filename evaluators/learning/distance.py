"""Layers of ℓ∞ distances: every entry is the input's distance from a learned point.

None of them moves by more than the input does in ℓ∞ (Zhang et al. 2021, arXiv 2102.05363).
"""

from math import inf

import torch
from torch import Tensor, nn

from evaluators.learning.layers import MOMENTUM, LearnedLayer
from evaluators.network.affine import Convolution, Diagonal, Reshape
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import MaxPool, Sum


def _distances(x: Tensor, weight: Tensor, order: float) -> Tensor:
    """The distances of rows in a norm, scaled so that no power overflows."""
    if order == inf:
        return torch.cdist(x, weight, p=inf)
    with torch.no_grad():
        size = x.abs().max() + weight.abs().max()
    return torch.cdist(x / size, weight / size, p=order) * size


class Distances(LearnedLayer):
    """‖x - w‖∞ of each row w of a matrix, less a mean that is learned as it is met.

    Attributes:
        order: of the norm in training; a finite one has derivatives by all entries, not by one
            alone. What is written is the ℓ∞ norm whatever the order.
        sign: of the result; -1 makes the nearest row the largest logit.
    """

    mean: Tensor

    def __init__(self, weight: Tensor, sign: float = 1.0, *, centred: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.order, self.sign, self.centred = inf, sign, centred
        self.register_buffer("mean", torch.zeros(len(weight)))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer, and in training the mean."""
        y = self.sign * _distances(x, self.weight, self.order if self.training else inf)
        mean = self.mean
        if self.training and self.centred:
            mean = y.mean(0)
            with torch.no_grad():
                self.mean.lerp_(mean, MOMENTUM)
        return y - mean

    def write(self, graph: GraphBuilder) -> None:
        """Append |x - w| as two ReLUs, of which interval bounds lose nothing, and the maxima."""
        count, size = self.weight.shape
        wide = (count, 1, size)
        graph.add("row", Reshape((size,), (1, 1, size), None), shape=(1, 1, size))
        ones = self.weight.new_ones(count, 1, 1, 1)
        layout = ((1, 1), (0, 0), (1, 1))
        graph.add("copies", Convolution((1, 1, size), wide, None, ones, *layout))
        apart = graph.add("apart", Diagonal(wide, wide, -self.weight[:, None], None))
        above = graph.add("above", LeakyReLU(), shape=wide)
        minus = self.weight.new_full((), -1.0)
        graph.add("negative", Diagonal(wide, wide, None, minus), (apart,))
        below = graph.add("below", LeakyReLU(), shape=wide)
        graph.add("sizes", Sum(), (above, below), wide)
        graph.add("largest", MaxPool(wide, (1, size), (1, size), (0, 0)))
        graph.add("distances", Reshape((count, 1, 1), (count,), None))
        scale = self.weight.new_full((), self.sign)
        graph.add("centred", Diagonal((count,), (count,), -self.mean, scale))
