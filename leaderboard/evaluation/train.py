"""Training by the project's recipes: a recipe and a dataset in, a network out."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluators.learning.architectures import ARCHITECTURES
from evaluators.learning.augmentation import Augmentation
from evaluators.learning.beginning import begin_with
from evaluators.learning.learner import Learner
from evaluators.learning.loop import EpochReport, Schedule, fit
from evaluators.learning.optimizers import OPTIMIZERS
from evaluators.learning.recipe import Recipe
from evaluators.listing import recipes
from evaluators.network.affine import Dense
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.views import ImageView, average_views, views_within
from evaluators.onnx.writer import export_onnx
from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.progress import console, tell
from leaderboard.common.project import find_project
from leaderboard.datasets.catalogue import Dataset, find_dataset
from leaderboard.datasets.split import Split
from leaderboard.evaluation.networks import read_model
from leaderboard.submissions.manifest import load_submission, model_path


@dataclass(frozen=True)
class TrainingPlan:
    """How a dataset is learned where a command says nothing else.

    Attributes:
        schedule: how long, how fast and from which variations of the images.
        options: of each recipe, for this dataset.
        architecture: the name of the network to train.
    """

    schedule: Schedule
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    architecture: str = "small-cnn"


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
        "residual-cnn",
    ),
}
"""By dataset. A plan is not changed but replaced in a commit that trains its models again."""


@dataclass(frozen=True)
class TrainingRequest:
    """What a command asks for; None and empty where the dataset's plan decides.

    Attributes:
        recipe, dataset: names.
        seed: of the first weights, the batches and all that is random.
        epochs, batch, learning_rate: of the schedule.
        architecture: a name.
        width: multiplies the architecture's channels.
        normalised: whether it has batch normalisation.
        options: of the recipe, as written.
        device: where to train.
        bfloat16: whether products are of that type.
        shift: the most pixels by which an image is moved each time it is seen.
        average: the share of an average of weights that each step keeps; 0 for no average.
        optimizer: a name.
        begin: the submission whose network's weights are the first ones; None for random ones.
        views: the most pixels by which an image is moved in the views of it over which the network
            that is written averages; 0 for the image as it is.
        half: whether weights are rounded to float16 in the file.
        checkpoint: a file that is written after each epoch, and continued from.
    """

    recipe: str
    dataset: str
    seed: int = 0
    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    architecture: str | None = None
    width: float = 1.0
    normalised: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    bfloat16: bool = False
    shift: int | None = None
    average: float = 0.0
    optimizer: str = "adam"
    begin: str | None = None
    views: int = 0
    half: bool = False
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Trained:
    """A network, and how it was made.

    Attributes:
        data: the dataset.
        split: the images that it learned from.
        seconds: of processor time, those before an interruption included.
        views: those of an image over which the file's answer is a mean; empty for none but the
            image.
    """

    network: Network
    recipe: Recipe
    schedule: Schedule
    architecture: str
    data: Dataset
    split: Split
    seconds: float
    views: tuple[ImageView, ...] = ()


def recipe_entries() -> list[dict[str, Any]]:
    """List the recipes, for people and for programs; options are written as `--option` has them."""
    return [
        {
            "name": name,
            "title": kind.title,
            "paper": kind.paper,
            "smoothed": kind.noise,
            "options": " ".join(f"{one.name}={one.default:g}" for one in fields(kind)),
        }
        for name, kind in recipes().items()
    ]


def train(request: TrainingRequest) -> Trained:
    """Train a network on the whole training split.

    It is the same, weight for weight, for the same seed, machine and number of threads. Where the
    training data are not the official ones, that is told, with their SHA-256.

    Raises:
        InputError: no such recipe, option, architecture or submission, no plan for the dataset, no
            or too few training data, a submission of another architecture, another training's
            checkpoint, views that cannot be had, or a loss that is not finite.
    """
    data = find_dataset(request.dataset)
    if request.dataset not in PLANS:
        known = ", ".join(PLANS)
        raise InputError(f"There is no training plan for {request.dataset}. Known: {known}.")
    plan = PLANS[request.dataset]
    recipe = _recipe(request, plan)
    schedule = _schedule(request, plan.schedule)
    name = request.architecture or recipe.architecture or plan.architecture
    if name not in ARCHITECTURES:
        raise unknown_name("architecture", name, ARCHITECTURES)
    if recipe.architecture not in ("", name):
        raise InputError(f"'{request.recipe}' trains the architecture {recipe.architecture} alone.")
    split = data.load("train")
    if len(split) < schedule.batch:
        raise InputError(
            f"{data.title} has only {len(split)} training images here, and the plan's batches have"
            f" {schedule.batch}."
        )
    if split.note:
        tell(f"Trained on {split.note} (SHA-256 {split.sha256}). Say so wherever it is shown.")
    style = recipe.style(normalised=request.normalised, width=request.width)
    learner = ARCHITECTURES[name](data.shape, len(data.classes), request.seed, style)
    if request.begin is not None:
        _begin(learner, request.begin, data, name)
    views = _views(request.views, learner, schedule)
    images = torch.from_numpy(split.images(split.examples))
    labels = torch.from_numpy(split.labels)
    with _bar(f"{request.recipe} on {data.title}", schedule.epochs) as report:
        try:
            seconds = fit(
                learner.to(request.device),
                recipe,
                images,
                labels,
                schedule,
                request.seed,
                report,
                request.checkpoint,
            )
        except (FloatingPointError, ValueError) as error:
            raise InputError(str(error)) from error
    return Trained(learner.learned(), recipe, schedule, name, data, split, seconds, views)


def _views(most: int, learner: Learner, schedule: Schedule) -> tuple[ImageView, ...]:
    """Views of an image; what is not averaged over them is told before it is trained."""
    if not most:
        return ()
    shape = learner.input_shape
    if most >= min(shape[1:]):
        raise InputError(f"--views is {most}; images have {min(shape[1:])} pixels a side.")
    if not isinstance(learner.learned().nodes[-1].operation, Dense):
        raise InputError("--views needs an architecture that ends with a dense layer.")
    return views_within(most, mirrored=schedule.augmentation.mirror)


def _begin(learner: Learner, slug: str, data: Dataset, architecture: str) -> None:
    """Take the first weights from a submission."""
    project = find_project()
    submission = load_submission(project, slug)
    try:
        network = read_model(model_path(project, submission), data.shape, len(data.classes))
        begin_with(learner, network)
    except (UnsupportedModelError, ValueError) as error:
        raise InputError(f"{architecture} cannot begin as {slug}: {error}.") from error


def _recipe(request: TrainingRequest, plan: TrainingPlan) -> Recipe:
    if request.recipe not in recipes():
        raise unknown_name("recipe", request.recipe, recipes())
    kind = recipes()[request.recipe]
    options, known = dict(plan.options.get(request.recipe, {})), {one.name for one in fields(kind)}
    for name, text in request.options.items():
        if name not in known:
            raise InputError(
                f"The recipe '{request.recipe}' has no option '{name}'. Known:"
                f" {', '.join(sorted(known)) or 'none'}."
            )
        try:
            value = Fraction(text)
        except (ValueError, ZeroDivisionError):
            raise InputError(f"The option {name} is '{text}', not a number.") from None
        whole = isinstance(getattr(kind, name), int)
        options[name] = int(value) if whole else float(value)
    try:
        return kind(**options)
    except ValueError as error:
        raise InputError(str(error)) from error


def _schedule(request: TrainingRequest, schedule: Schedule) -> Schedule:
    if request.optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", request.optimizer, OPTIMIZERS)
    asked = {name: getattr(request, name) for name in ("epochs", "batch", "learning_rate")}
    changed: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if request.shift is not None:
        changed["augmentation"] = replace(schedule.augmentation, shift=request.shift)
    try:
        kept = {name: getattr(request, name) for name in ("bfloat16", "average", "optimizer")}
        return replace(schedule, **kept, **changed)
    except ValueError as error:
        raise InputError(str(error)) from error


@contextmanager
def _bar(title: str, epochs: int) -> Iterator[EpochReport]:
    """Show the epochs that are done, their loss and the time left."""
    columns = (
        TextColumn(title),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("epochs, loss {task.fields[loss]:.4f}, left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task, begun, done = bar.add_task("", total=epochs, loss=float("nan")), time.monotonic(), 0

        def report(epoch: int, loss: float) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=epoch, loss=loss)
            if not console.is_terminal:
                left = (time.monotonic() - begun) / done * (epochs - epoch)
                tell(f"epoch {epoch} of {epochs}: loss {loss:.4f}, {left / 60:.0f} minutes left")

        yield report


def write_model(
    network: Network, output: Path, views: tuple[ImageView, ...] = (), *, half: bool = False
) -> None:
    """Write the file whole or not at all.

    Args:
        network, output: what is written, and where.
        views: those of an image over which the file's answer is a mean, if there are any.
        half: whether weights are rounded to float16.

    Raises:
        InputError: there is no folder for it, or float16 has no room for a weight.
        UnsupportedModelError: views, and a network that does not end with a dense layer.
    """
    if not output.parent.is_dir():
        raise InputError(f"There is no folder {output.parent} to write {output.name} into.")
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        part = Path(folder) / output.name
        try:
            export_onnx(network, part, half=half)
        except UnsupportedModelError as error:
            raise InputError(f"{output.name} is not written: {error}") from error
        if views:
            average_views(part, views)
        part.replace(output)
