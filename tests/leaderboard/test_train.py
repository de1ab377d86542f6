"""`certboard train`: an ONNX file that can be submitted, or one clear sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.learning.loop import Schedule
from evaluators.listing import recipes
from evaluators.onnx.reader import import_onnx
from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import find_dataset, load_datasets
from leaderboard.evaluation import train as training
from leaderboard.evaluation.train import PLANS, train


def test_a_trained_model_can_be_read_again_and_has_learned(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    train("standard", "digits", output, epochs=4)
    assert output.stat().st_size < 300_000
    network = import_onnx(output).to(torch.float32)
    split = find_dataset("digits").load("test")
    answers = network(torch.from_numpy(split.images(range(len(split))))).argmax(1).numpy()
    assert np.mean(answers == split.labels) > 0.8
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    files = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        train("ibp", "digits", tmp_path / name, seed=seed, epochs=1)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(
    ("recipe", "dataset", "folder", "sentence"),
    [
        ("ipb", "digits", ".", "ibp"),
        ("ibp", "digts", ".", "digits"),
        ("ibp", "imagenet", ".", "There is no training plan for imagenet."),
        ("ibp", "digits", "nowhere", "There is no folder"),
    ],
)
def test_what_cannot_be_trained_is_told(
    tmp_path: Path, recipe: str, dataset: str, folder: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        train(recipe, dataset, tmp_path / folder / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_training_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(training, "export_onnx", fail)
    with pytest.raises(OSError, match="No space"):
        train("standard", "digits", tmp_path / "model.onnx", epochs=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def copies(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty JPEG copies of CIFAR-10 images, and a plan of one epoch in batches of eight."""
    for number, name in enumerate(find_dataset("cifar10").classes):
        folder = data / "cifar10" / "train" / name
        folder.mkdir(parents=True)
        for copy in range(4):
            colour = (25 * number, 255 - 25 * number, 60 * copy)
            Image.new("RGB", (32, 32), colour).save(folder / f"{copy:04}.jpg")
    plan = PLANS["cifar10"]
    quick = replace(plan, schedule=replace(plan.schedule, epochs=1, batch=8))
    monkeypatch.setitem(PLANS, "cifar10", quick)
    return data / "cifar10" / "train"


def test_cifar10_is_trained_from_copies_with_a_note_that_it_is(
    copies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        train("gaussian", "cifar10", tmp_path / name, seed=seed)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] != files[2]
    assert len(files[0]) < 3_000_000
    said = capsys.readouterr().err
    assert "40 JPEG copies of the 50,000 training images" in said
    assert "not equal to them" in said
    assert find_dataset("cifar10").load("train").sha256 in said


def test_complete_data_need_no_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("standard", "digits", tmp_path / "model.onnx", epochs=1)
    assert "SHA-256" not in capsys.readouterr().err


def test_too_few_images_for_one_batch_are_told(
    copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = PLANS["cifar10"]
    monkeypatch.setitem(PLANS, "cifar10", replace(plan, schedule=Schedule(epochs=1, batch=41)))
    with pytest.raises(InputError, match="only 40 training images here, and the plan's batches"):
        train("standard", "cifar10", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("recipe", ["standard", "ibp", "gaussian"])
def test_every_recipe_trains_the_residual_network(
    copies: Path, tmp_path: Path, recipe: str
) -> None:
    train(recipe, "cifar10", tmp_path / "model.onnx")
    assert import_onnx(tmp_path / "model.onnx").input_shape == (3, 32, 32)


def test_plans_are_for_datasets_and_recipes_that_exist() -> None:
    assert set(PLANS) <= set(load_datasets())
    for plan in PLANS.values():
        for name, options in plan.options.items():
            recipes()[name](**options)
