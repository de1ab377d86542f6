"""Variations of the training images that keep their class, before any recipe's own noise."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What is done to each image each time it is seen; the default is nothing.

    Attributes:
        mirror: whether left and right are exchanged, in one image of two.
        shift: the most pixels by which an image is moved, along each axis; black comes in.
    """

    mirror: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ValueError(f"An image is shifted by 0 pixels or more, not {self.shift}.")

    def __call__(
        self, x: Float32[Tensor, "batch c h w"], generator: torch.Generator
    ) -> Float32[Tensor, "batch c h w"]:
        """Vary copies of `x`; nothing is drawn from `generator` for what is not done."""
        if self.mirror:
            chosen = torch.rand(len(x), generator=generator, device=x.device) < 0.5
            x = torch.where(chosen[:, None, None, None], x.flip(3), x)
        if self.shift:
            _, _, height, width = x.shape
            moves = torch.randint(
                2 * self.shift + 1, (2, len(x)), generator=generator, device=x.device
            )
            wide = F.pad(x, [self.shift] * 4)
            views = wide.unfold(2, height, 1).unfold(3, width, 1)
            x = views[torch.arange(len(x), device=x.device), :, moves[0], moves[1]]
        return x
