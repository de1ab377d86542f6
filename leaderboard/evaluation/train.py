"""Training by the project's recipes: a recipe and a dataset in, an ONNX file out."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluators.learning.architectures import residual_cnn, small_cnn
from evaluators.learning.augmentation import Augmentation
from evaluators.learning.loop import Schedule, fit
from evaluators.listing import recipes
from evaluators.network.network import Network
from evaluators.numerics.arrays import Shape
from evaluators.onnx.writer import export_onnx
from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.progress import console, tell
from leaderboard.datasets.catalogue import find_dataset


@dataclass(frozen=True)
class TrainingPlan:
    """How a dataset is learned.

    Attributes:
        schedule: how long, how fast and from which variations of the images.
        options: of each recipe, for this dataset.
        architecture: the network to train, from shape, classes, seed and `for_intervals`.
    """

    schedule: Schedule
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    architecture: Callable[[Shape, int, int, bool], Network] = small_cnn


PLANS: dict[str, TrainingPlan] = {
    "digits": TrainingPlan(
        Schedule(epochs=150, batch=64, learning_rate=2e-3),
        {"ibp": {"radius": 0.2, "clean_share": 0.3}, "gaussian": {"sigma": 0.25}},
    ),
    "mnist": TrainingPlan(
        Schedule(epochs=30, batch=256, learning_rate=2e-3),
        {"ibp": {"radius": 0.3, "clean_share": 0.4}, "gaussian": {"sigma": 0.6}},
    ),
    "cifar10": TrainingPlan(
        Schedule(20, 128, 1e-3, augmentation=Augmentation(mirror=True, shift=4)),
        {"ibp": {"radius": 8 / 255}, "gaussian": {"sigma": 0.25}},
        residual_cnn,
    ),
}
"""By dataset. A plan is not changed but replaced in a commit that trains its models again."""


def train(
    recipe: str, dataset: str, output: Path, seed: int = 0, epochs: int | None = None
) -> None:
    """Train the plan's network on the whole training split and write it to `output` as ONNX.

    The file is the same, byte for byte, for the same seed, machine and number of threads. `epochs`
    replaces the plan's. Where the training data are not the official ones, that is told, with
    their SHA-256, for whoever describes the model.

    Raises:
        InputError: no such recipe, no plan for the dataset, no or too few training data, or no
            place for the file.
    """
    if recipe not in recipes():
        raise unknown_name("recipe", recipe, recipes())
    data = find_dataset(dataset)
    if dataset not in PLANS:
        raise InputError(f"There is no training plan for {dataset}. Known: {', '.join(PLANS)}.")
    if not output.parent.is_dir():
        raise InputError(f"There is no folder {output.parent} to write {output.name} into.")
    plan, split = PLANS[dataset], data.load("train")
    schedule = plan.schedule if epochs is None else replace(plan.schedule, epochs=epochs)
    chosen = recipes()[recipe](**plan.options.get(recipe, {}))
    if len(split) < schedule.batch:
        raise InputError(
            f"{data.title} has only {len(split)} training images here, and the plan's batches have"
            f" {schedule.batch}."
        )
    if split.note:
        tell(f"Trained on {split.note} (SHA-256 {split.sha256}). Say so wherever it is shown.")
    network = plan.architecture(data.shape, len(data.classes), seed, chosen.for_intervals)
    images = torch.from_numpy(split.images(split.examples))
    labels = torch.from_numpy(split.labels)
    with _bar(f"{recipe} on {data.title}") as bar:
        task = bar.add_task("", total=schedule.epochs, loss=float("nan"))
        fit(
            network,
            chosen,
            images,
            labels,
            schedule,
            seed,
            lambda epoch, loss: bar.update(task, completed=epoch, loss=loss),
        )
    _write(network, output)


def _bar(title: str) -> Progress:
    return Progress(
        TextColumn(title),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("epochs, loss {task.fields[loss]:.4f}, left"),
        TimeRemainingColumn(),
        console=console,
    )


def _write(network: Network, output: Path) -> None:
    """Write the file whole or not at all."""
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        part = Path(folder) / output.name
        export_onnx(network, part)
        part.replace(output)
