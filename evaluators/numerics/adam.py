"""Adam's steps, without the imports of a library of optimisers, which take seconds."""

import torch
from torch import Tensor

FIRST, SECOND = 0.9, 0.999
"""Decay of Adam's two moments (Kingma and Ba 2015, arXiv 1412.6980)."""


class Adam:
    """Adam's step for one tensor."""

    def __init__(self, like: Tensor) -> None:
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)
        self.count = 0

    def step(self, gradient: Tensor) -> Tensor:
        """The direction, about one in size."""
        self.count += 1
        self.mean.mul_(FIRST).add_(gradient, alpha=1 - FIRST)
        self.square.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        scale = (1 - SECOND**self.count) ** 0.5 / (1 - FIRST**self.count)
        direction: Tensor = self.mean / (self.square.sqrt() + 1e-8) * scale
        return direction
