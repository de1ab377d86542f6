"""`certboard train`: an ONNX file that can be submitted, or one clear sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.onnx_import import import_onnx
from leaderboard import train as training
from leaderboard.dataset import find_dataset, load_datasets
from leaderboard.errors import InputError
from leaderboard.train import PLANS, recipes, train


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


def test_plans_are_for_datasets_and_recipes_that_exist() -> None:
    assert set(PLANS) <= set(load_datasets())
    for plan in PLANS.values():
        for name, options in plan.options.items():
            recipes()[name](**options)
