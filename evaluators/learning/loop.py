"""The loop that all recipes share: shuffled batches, Adam, one learning rate schedule."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.learning.architectures import parameters
from evaluators.learning.augmentation import Augmentation
from evaluators.learning.recipe import Recipe, TrainingBatch
from evaluators.network.network import Network

EpochReport = Callable[[int, float], None]
"""Called after every epoch with its number, from 1, and its mean loss."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn, and from which variations of the examples.

    The learning rate is constant and, in the last 40 % of the training, falls linearly to zero.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 1e-3
    largest_gradient: float = 10.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def rate(self, progress: float) -> float:
        """Compute the learning rate at a point of the training between 0 and 1."""
        return self.learning_rate * min(1.0, (1 - progress) / 0.4)


def fit(
    network: Network,
    recipe: Recipe,
    x: Float32[Tensor, "examples ..."],
    labels: Int64[Tensor, " examples"],
    schedule: Schedule,
    seed: int,
    report: EpochReport = lambda _epoch, _loss: None,
) -> None:
    """Train a network's weights in place; the same on the same machine for the same seed.

    Raises:
        FloatingPointError: the loss is not finite any more.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = parameters(network)
    optimizer = torch.optim.Adam(weights, lr=schedule.learning_rate)
    batches = len(x) // schedule.batch
    for epoch in range(schedule.epochs):
        order = torch.randperm(len(x), generator=generator)
        total = torch.zeros(())
        for number in range(batches):
            rows = order[number * schedule.batch : (number + 1) * schedule.batch]
            progress = (epoch + number / batches) / schedule.epochs
            optimizer.param_groups[0]["lr"] = schedule.rate(progress)
            images = schedule.augmentation(x[rows], generator)
            loss = recipe.loss(network, TrainingBatch(images, labels[rows], progress, generator))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(weights, schedule.largest_gradient)
            optimizer.step()
            total += loss.detach()
        if not bool(total.isfinite()):
            raise FloatingPointError(f"The loss is not finite in epoch {epoch + 1}.")
        report(epoch + 1, float(total) / batches)
