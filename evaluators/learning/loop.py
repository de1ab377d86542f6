"""The loop that all recipes share: shuffled batches, one learning rate schedule."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from evaluators.learning.augmentation import Augmentation
from evaluators.learning.learner import Learner
from evaluators.learning.optimizers import OPTIMIZERS, TITLES, WeightOptimizer
from evaluators.learning.recipe import Recipe, TrainingBatch

EpochReport = Callable[[int, float], None]
"""Called after every epoch with its number, from 1, and its mean loss."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn, and from which variations of the examples.

    The learning rate is constant and, in the last 40 % of the training, falls linearly to zero.
    With `bfloat16`, products are of that type, sums and weights stay float32. With `average` the
    network that is learned is a mean of those of all steps: after each, that share of it stays.

    Attributes:
        optimizer: a name in `OPTIMIZERS`.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 1e-3
    largest_gradient: float = 10.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    bfloat16: bool = False
    average: float = 0.0
    optimizer: str = "adam"

    def __post_init__(self) -> None:
        if not 0 <= self.average < 1:
            raise ValueError(f"The share kept by averages is in [0, 1), not {self.average}.")

    @property
    def optimizer_title(self) -> str:
        """How the optimizer is told."""
        return TITLES[self.optimizer]

    def share(self, progress: float) -> float:
        """Compute the share of the first learning rate at a point of the training, from 0 to 1."""
        return min(1.0, (1 - progress) / 0.4)


@dataclass
class _Training:
    """What a training is made of, and what its checkpoint keeps."""

    learner: Learner
    recipe: Recipe
    schedule: Schedule
    optimizer: WeightOptimizer
    generator: torch.Generator
    seed: int
    average: AveragedModel
    done: int = 0
    seconds: float = 0.0

    @property
    def question(self) -> str:
        shapes = [tuple(weight.shape) for weight in self.learner.parameters()]
        return f"{self.recipe!r} {self.schedule!r} seed={self.seed} {self.learner!r} {shapes}"

    def save(self, path: Path) -> None:
        """Write the checkpoint whole or not at all."""
        state = {
            "question": self.question,
            "done": self.done,
            "seconds": self.seconds,
            "learner": self.learner.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        part = path.with_name(f".{path.name}.partial")
        torch.save(state, part)
        part.replace(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["question"] != self.question:
            raise ValueError(f"{path} is the checkpoint of another training.")
        self.learner.load_state_dict(state["learner"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.done, self.seconds = state["done"], state["seconds"]


def fit(
    learner: Learner,
    recipe: Recipe,
    x: Float32[Tensor, "examples ..."],
    labels: Int64[Tensor, " examples"],
    schedule: Schedule,
    seed: int,
    report: EpochReport = lambda _epoch, _loss: None,
    checkpoint: Path | None = None,
) -> float:
    """Train a network's weights in place; the same on the same machine for the same seed.

    Args:
        learner: what is trained, on the device where it is to be trained.
        recipe: the loss.
        x: the images, on any device.
        labels: their classes.
        schedule: how long and how fast.
        seed: of the batches, the variations and the recipe's draws.
        report: called after each epoch.
        checkpoint: a file written after each epoch, from which an interrupted training goes on as
            if it had not been.

    Returns:
        seconds of processor time, those before an interruption included.

    Raises:
        FloatingPointError: the loss is not finite any more.
        ValueError: the checkpoint is of another training.
    """
    device = next(learner.parameters()).device
    learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator(device).manual_seed(seed)
    weights = list(learner.parameters())
    optimizer = OPTIMIZERS[schedule.optimizer](weights, schedule.learning_rate)
    averaging = get_ema_multi_avg_fn(schedule.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(learner, multi_avg_fn=averaging, use_buffers=True)
    training = _Training(learner, recipe, schedule, optimizer, generator, seed, average)
    if checkpoint is not None and checkpoint.exists():
        training.resume(checkpoint)
    learner.train()
    start = time.process_time() - training.seconds
    for epoch in range(training.done, schedule.epochs):
        total, batches = torch.zeros((), device=device), 0
        for batch in _batches(training, x, labels, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=schedule.bfloat16):
                loss = recipe.loss(learner, batch)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(weights, schedule.largest_gradient)
            optimizer.step(schedule.share(batch.progress))
            if schedule.average:
                average.update_parameters(learner)
            total += loss.detach()
            batches += 1
        if not bool(total.isfinite()):
            raise FloatingPointError(f"The loss is not finite in epoch {epoch + 1}.")
        training.done, training.seconds = epoch + 1, time.process_time() - start
        if checkpoint is not None:
            training.save(checkpoint)
        report(epoch + 1, float(total) / batches)
    if schedule.average:
        learner.load_state_dict(average.module.state_dict())
    learner.eval()
    return training.seconds


def _batches(
    training: _Training, x: Tensor, labels: Tensor, device: torch.device
) -> Iterator[TrainingBatch]:
    """Draw the batches of the next epoch; what does not fill one is left out."""
    schedule, generator = training.schedule, training.generator
    count = len(x) // schedule.batch
    order = torch.randperm(len(x), generator=generator, device=device).to(x.device)
    for number in range(count):
        rows = order[number * schedule.batch : (number + 1) * schedule.batch]
        progress = (training.done + number / count) / schedule.epochs
        images = schedule.augmentation(x[rows].to(device), generator)
        if images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        yield TrainingBatch(images, labels[rows].to(device), progress, generator)
