"""Every recipe, for the few steps that show that it does what it says."""

from pathlib import Path

import pytest
import torch

from evaluators.learning.architectures import ARCHITECTURES
from evaluators.learning.loop import Schedule, fit
from evaluators.learning.recipe import Recipe, TrainingBatch
from evaluators.listing import recipes
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.writer import export_onnx
from evaluators.training.splitting import SplittingTraining
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.field.taxonomy import load_taxonomy
from leaderboard.submissions.noises import NOISES
from tests.fixtures.effort import only

SHAPE = (1, 8, 8)
LONG = {"bcop", "wong-kolter"}
"""Recipes of which `make test` does not ask: they take a third of the seconds of all."""


def digits(count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    split = find_dataset("digits").load("train")
    numbers = split.examples[:count]
    return torch.from_numpy(split.images(numbers)), torch.from_numpy(split.labels_of(numbers))


@pytest.mark.parametrize("name", only(recipes(), recipes().keys() - LONG))
def test_a_few_steps_decrease_a_recipes_loss_and_the_file_answers_as_the_module(
    name: str, tmp_path: Path
) -> None:
    recipe, (x, labels) = recipes()[name](), digits()
    learner = ARCHITECTURES[recipe.architecture or "small-cnn"](
        SHAPE, 10, 0, recipe.style(width=0.25)
    )
    fit(learner, recipe, x, labels, Schedule(4, batch=16, learning_rate=3e-3), 0)

    def loss(of: torch.nn.Module) -> float:
        batch = TrainingBatch(x, labels, 0.9, torch.Generator().manual_seed(0))
        return float(recipe.loss(of.train(), batch).detach())  # type: ignore[arg-type]

    fresh = ARCHITECTURES[recipe.architecture or "small-cnn"](
        SHAPE, 10, 0, recipe.style(width=0.25)
    )
    assert loss(learner) < loss(fresh)
    export_onnx(learner.eval().learned(), tmp_path / "model.onnx")
    read = import_onnx(tmp_path / "model.onnx").to(torch.float32)
    assert torch.allclose(read(x), learner(x), atol=1e-4)


@pytest.mark.parametrize("recipe", recipes().values(), ids=lambda recipe: recipe.name())
def test_a_recipe_says_where_it_is_from_and_where_it_belongs(recipe: type[Recipe]) -> None:
    assert recipe.title
    assert recipe.paper
    assert recipe.node in load_taxonomy().nodes
    assert not recipe.noise or (recipe.noise in NOISES and hasattr(recipe, "sigma"))


def test_a_scale_without_a_whole_number_of_splits_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole number"):
        SplittingTraining(1.0001)
