"""Layers of ℓ∞ distances: every entry is the input's distance from a learned point.

None of them moves by more than the input does in ℓ∞ (Zhang et al. 2021, arXiv 2102.05363).
"""

from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.learning.layers import MOMENTUM, LearnedLayer
from evaluators.network.affine import Convolution, Diagonal, Reshape
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import MaxPool, Sum

ROWS = 4
"""Examples whose differences are held at once: more do not fit into a processor's cache."""


class PowerNorm(torch.autograd.Function):
    """The norms of all differences of rows, of an order that is a power of two, at least 4.

    Powers come of squaring, which takes a tenth of the time of `torch.cdist` with its derivatives.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, order: float) -> Tensor:
        """Compute ‖x - w‖ of each row of two matrices; what is raised to powers is at most 1."""
        y = torch.cdist(x, weight, p=inf).clamp_min_(1e-30)
        for few, its in zip(torch.split(x, ROWS), torch.split(y, ROWS), strict=True):
            apart = torch.sub(few[:, None], weight).div_(its[:, :, None])
            for _ in range(_doublings(order)):
                apart.square_()
            its *= apart.sum(2).pow_(1 / order)
        ctx.save_for_backward(x, weight, y)
        ctx.order = order
        return y

    @staticmethod
    def backward(ctx: Any, *rates: Tensor) -> tuple[Tensor, Tensor, None]:
        """Each difference over the norm, to the power of the order less one, is a derivative."""
        x, weight, y = ctx.saved_tensors
        of_x, of_weight = torch.empty_like(x), torch.zeros_like(weight)
        parts = (torch.split(tensor, ROWS) for tensor in (x, y, rates[0], of_x))
        for few, its, rate, here in zip(*parts, strict=True):
            apart = torch.sub(few[:, None], weight).div_(its[:, :, None])
            square = apart.square()
            apart *= square
            for _ in range(_doublings(ctx.order) - 2):
                apart *= square.square_()
            apart *= rate[:, :, None]
            here.copy_(apart.sum(1))
            of_weight -= apart.sum(0)
        return of_x, of_weight, None


def _doublings(order: float) -> int:
    return int(order).bit_length() - 1


class Distances(LearnedLayer):
    """‖x - w‖∞ of each row w of a matrix, less a mean that is learned as it is met.

    Attributes:
        order: of the norm in training, a power of two from 4 or infinite; a finite one has
            derivatives by all entries, not by one alone. What is written is the ℓ∞ norm whatever
            the order.
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
        if self.training and self.order < inf:
            y: Tensor = PowerNorm.apply(x, self.weight, self.order)  # type: ignore[no-untyped-call]
        else:
            y = torch.cdist(x, self.weight, p=inf)
        y = self.sign * y
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
