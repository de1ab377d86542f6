"""Adam's steps, without the imports of a library of optimisers, which take seconds."""

import torch
from torch import Tensor

FIRST, SECOND = 0.9, 0.999
"""Decay of Adam's two moments (Kingma and Ba 2015, arXiv 1412.6980)."""

LEAST = 1e-37
"""Far below the square of what is added to roots: no sum changes in float32."""


class Adam:
    """Adam's step for one tensor.

    Attributes:
        first, second: decay of its two moments.
    """

    def __init__(self, like: Tensor, first: float = FIRST, second: float = SECOND) -> None:
        self.first, self.second = first, second
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)
        self.count = 0

    def step(self, gradient: Tensor) -> Tensor:
        """The direction, about one in size."""
        self.count += 1
        self.mean.mul_(self.first).add_(gradient, alpha=1 - self.first)
        self.square.mul_(self.second).addcmul_(gradient, gradient, value=1 - self.second)
        scale = (1 - self.second**self.count) ** 0.5 / (1 - self.first**self.count)
        # Without zeros, of which a vectorised root takes fifty times as long; the sum is the same.
        direction = self.square.clamp(min=LEAST).sqrt_().add_(1e-8)
        return torch.div(self.mean, direction, out=direction).mul_(scale)
