"""Recipes for networks that are smoothed with Gaussian noise, several copies of each image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.learning.recipe import Recipe, TrainingBatch


@dataclass(frozen=True)
class GaussianCopies(Recipe):
    """A recipe that looks at several noisy copies of each image.

    Attributes:
        sigma: of the noise, in units of pixels in [0, 1]; the one the network is smoothed with.
        copies: of each image.
    """

    sigma: float = 0.25
    copies: int = 2

    node = "training/augmentation-based"
    noise = "gaussian"

    def drawn(self, batch: TrainingBatch) -> Tensor:
        """Draw noise for the copies, `[copies * batch, *shape]`: all images, then all again."""
        x = batch.x
        shape = (self.copies * len(x), *x.shape[1:])
        return self.sigma * torch.randn(shape, generator=batch.generator, device=x.device)

    def repeated(self, x: Tensor) -> Tensor:
        """Repeat images or labels as `drawn` has them."""
        return x.repeat(self.copies, *(1,) * (x.dim() - 1))

    def apart(self, of_copies: Tensor) -> Tensor:
        """Separate the copies: `[copies, batch, ...]`."""
        return of_copies.reshape(self.copies, -1, *of_copies.shape[1:])
