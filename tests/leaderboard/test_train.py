"""`certboard train`: an ONNX file that can be submitted, or one clear sentence."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.learning.architectures import ARCHITECTURES, small_cnn
from evaluators.listing import recipes
from evaluators.network.affine import Dense
from evaluators.onnx.reader import import_onnx
from leaderboard.__main__ import run
from leaderboard.commands.train import command
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset, load_datasets
from leaderboard.evaluation import train as training
from leaderboard.evaluation.train import PLANS, TrainingRequest, train, write_model
from leaderboard.evaluation.trained import check_new
from leaderboard.submissions.manifest import load_submission


def test_a_trained_model_can_be_read_again_and_has_learned(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    write_model(train(TrainingRequest("standard", "digits", epochs=4)).network, output)
    assert output.stat().st_size < 300_000
    network = import_onnx(output).to(torch.float32)
    split = find_dataset("digits").load("test")
    answers = network(torch.from_numpy(split.images(range(len(split))))).argmax(1).numpy()
    assert np.mean(answers == split.labels) > 0.8
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def written(folder: Path, request: TrainingRequest) -> bytes:
    write_model(train(request).network, folder / "model.onnx")
    return (folder / "model.onnx").read_bytes()


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    request = TrainingRequest("ibp", "digits", epochs=1)
    files = [written(tmp_path, replace(request, seed=seed)) for seed in (0, 0, 1)]
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (TrainingRequest("ipb", "digits"), "ibp"),
        (TrainingRequest("ibp", "digts"), "digits"),
        (TrainingRequest("ibp", "imagenet"), "There is no training plan for imagenet."),
        (TrainingRequest("ibp", "digits", architecture="cnn6"), "cnn5"),
        (TrainingRequest("linf-distance", "digits", architecture="cnn5"), "linf-distance alone"),
        (TrainingRequest("standard", "digits", options={"radius": "1"}), "no option 'radius'"),
        (TrainingRequest("ibp", "digits", options={"radius": "x"}), "'x', not a number"),
        (TrainingRequest("splitting", "digits", options={"sigma": "0.3001"}), "whole number"),
        (TrainingRequest("standard", "digits", views=8), "--views is 8; images have 8 pixels"),
        (TrainingRequest("linf-distance", "digits", views=1), "ends with a dense layer"),
    ],
)
def test_what_cannot_be_trained_is_told(request_: TrainingRequest, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        train(request_)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    network = small_cnn((1, 8, 8), 10, 0).learned()
    with pytest.raises(InputError, match="There is no folder"):
        write_model(network, tmp_path / "nowhere" / "model.onnx")


def test_weights_that_half_precision_has_no_room_for_are_told(tmp_path: Path) -> None:
    network = small_cnn((1, 8, 8), 10, 0).learned()
    last = network.nodes[-1].operation
    assert isinstance(last, Dense)
    last.weight[0, 0] = 1e5
    with pytest.raises(InputError, match=r"model.onnx is not written: .*too large for float16"):
        write_model(network, tmp_path / "model.onnx", half=True)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(training, "export_onnx", fail)
    with pytest.raises(OSError, match="No space"):
        write_model(small_cnn((1, 8, 8), 10, 0).learned(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_training_leaves_a_submission_that_passes_every_check(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "train gaussian --dataset digits --sigma 1/4 --epochs 1 --submission of-mine --author Me"
    words = [*line.split(), "--checkpoint", "state.pt"]
    monkeypatch.setattr("sys.argv", ["certboard", *words])
    assert run(words) == 0
    submission = load_submission(project, "of-mine")
    assert submission.smoothing is not None
    assert submission.smoothing.sigma == "1/4"
    assert submission.training.node == "training/augmentation-based"
    assert re.search(", sigma 1/4, [a-z0-9-]+$", submission.title), "no architecture in the title"
    readme = (project.submissions / "of-mine" / "README.md").read_text(encoding="utf-8")
    assert f"\ncertboard {line}\n" in readme
    assert Path("state.pt").exists()
    with pytest.raises(InputError, match="already a submissions/of-mine"):
        check_new(project, "of-mine")


def test_a_training_that_begins_with_a_submission_says_so_and_that_it_averages(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ["train", "standard", "--dataset", "digits", "--epochs", "1", "--author", "Me"]
    assert run([*first, "--submission", "of-mine"]) == 0
    again = ["--submission", "again", "--from", "of-mine", "--average", "0.9", "--seed", "2"]
    assert run([*first, *again]) == 0
    titles = [load_submission(project, name).title for name in ("of-mine", "again")]
    assert titles[1] == f"{titles[0]}, seed 2", "two seeds of one recipe need two titles"
    readme = (project.submissions / "again" / "README.md").read_text(encoding="utf-8")
    assert "It began with the weights of `of-mine`.\n" in readme
    assert "the average of the weights of all steps (decay 0.9)" in readme
    assert run([*first, "--submission", "third", "--from", "again", "--width", "2"]) == 1


def test_one_place_to_write_to_is_needed() -> None:
    with pytest.raises(InputError, match="either --output FILE or --submission NAME"):
        command("ibp", "digits")


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
    request = TrainingRequest("gaussian", "cifar10")
    files = [written(tmp_path, replace(request, seed=seed)) for seed in (0, 0, 1)]
    assert files[0] == files[1] != files[2]
    assert len(files[0]) < 3_000_000
    said = capsys.readouterr().err
    assert "40 JPEG copies of the 50,000 training images" in said
    assert "not equal to them" in said
    assert find_dataset("cifar10").load("train").sha256 in said


def test_complete_data_need_no_note(capsys: pytest.CaptureFixture[str]) -> None:
    train(TrainingRequest("standard", "digits", epochs=1))
    assert "SHA-256" not in capsys.readouterr().err


def test_too_few_images_for_one_batch_are_told(copies: Path) -> None:
    with pytest.raises(InputError, match="only 40 training images here, and the plan's batches"):
        train(TrainingRequest("standard", "cifar10", batch=41))


@pytest.mark.parametrize("recipe", ["ibp", "splitting"])
def test_a_recipe_trains_the_residual_network(copies: Path, tmp_path: Path, recipe: str) -> None:
    written(tmp_path, TrainingRequest(recipe, "cifar10", epochs=1))
    assert import_onnx(tmp_path / "model.onnx").input_shape == (3, 32, 32)


def test_plans_are_for_datasets_recipes_and_architectures_that_exist() -> None:
    assert set(PLANS) <= set(load_datasets())
    for plan in PLANS.values():
        assert plan.architecture in ARCHITECTURES
        for name, options in plan.options.items():
            recipes()[name](**options)


def test_a_network_trained_with_views_and_half_the_room_tells_both(
    project: Project, tmp_path: Path
) -> None:
    words = ["train", "standard", "--dataset", "digits", "--epochs", "1", "--author", "Me"]
    assert run([*words, "--submission", "mean", "--views", "1", "--half"]) == 0
    readme = (project.submissions / "mean" / "README.md").read_text(encoding="utf-8")
    assert "the mean of the logits of 5 views of an image, moved by 1 pixel at most" in readme
    assert "kernels are rounded to float16" in readme
    assert load_submission(project, "mean").title.endswith(", 5 views")
    assert run([*words, "--output", str(tmp_path / "one.onnx")]) == 0
    files = project.submissions / "mean" / "model.onnx", tmp_path / "one.onnx"
    mean, one = (import_onnx(file).to(torch.float32) for file in files)
    assert len(mean.nodes) > 4 * len(one.nodes)
