"""`certboard export`: the file answers as the module does, or none is written."""

from pathlib import Path

import pytest
import torch

from leaderboard.common.project import Project
from tests.leaderboard.conftest import Certboard

SOURCE = '''
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dense = nn.Linear(144, 10)

    def forward(self, x):
        return self.dense(torch.relu(self.norm(self.convolution(x))).flatten(1))


class Crossed(Net):
    """Looks at the whole batch."""

    def forward(self, x):
        return super().forward(x) - super().forward(x).mean(0)


class Chained(Net):
    """What it gives is no row of logits."""

    def forward(self, x):
        return super().forward(x).sum()


class Random(Net):
    def forward(self, x):
        return super().forward(x + torch.rand_like(x))


def needy(size):
    return Net()


made = Net()
number = 7
'''


@pytest.fixture
def source(project: Project) -> Path:
    path = project.root / "own_network.py"
    path.write_text(SOURCE)
    torch.manual_seed(0)
    return path


def test_a_class_with_weights_becomes_a_file_that_answers_the_same(
    source: Path, certboard: Certboard
) -> None:
    from leaderboard.evaluation.export import _module
    from leaderboard.evaluation.networks import check_model

    network = _module(f"{source}:Net")
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, "weights.pt")
    typed = ("export", f"{source}:Net", "--dataset", "digits", "--weights", "weights.pt")
    outcome = certboard(*typed, "--mean", "0.5", "--std", "0.25", "--output", "net.onnx")
    assert outcome.code == 0
    assert "fits digits" in outcome.out
    assert "of the first 100 test examples are right" in outcome.out
    assert check_model(Path("net.onnx"), "digits") == []
    first = Path("net.onnx").read_bytes()
    assert certboard(*typed, "--mean", "0.5", "--std", "0.25", "--output", "net.onnx").code == 0
    assert Path("net.onnx").read_bytes() == first
    assert certboard(*typed, "--output", "net.onnx").code == 0
    assert Path("net.onnx").read_bytes() != first


def test_an_instance_by_the_name_of_its_module_is_exported(
    source: Path, certboard: Certboard
) -> None:
    assert certboard("export", "own_network:made", "--dataset", "digits").code == 0
    assert Path("model.onnx").exists()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("own_network.py",), "must be file.py:name"),
        (("nowhere.py:Net",), "There is no file nowhere.py"),
        (("nowhere:Net",), "cannot be imported"),
        (("own_network.py:Nat",), "Did you mean 'Net'?"),
        (("own_network.py:needy",), "cannot be made without arguments"),
        (("own_network.py:number",), "int"),
        (("own_network.py:Chained",), "one row of logits"),
        (("own_network.py:Crossed",), "own_network"),
        (("own_network.py:Net", "--mean", "0.5"), "--std has 0 numbers"),
        (("own_network.py:Net", "--mean", "0.5", "--std", "0"), "must be positive"),
        (("own_network.py:Net", "--mean", "half", "--std", "1"), "it must be numbers"),
        (("own_network.py:Net", "--weights", "nothing.pt"), "There is no file nothing.pt"),
        (("own_network.py:Net", "--weights", "own_network.py"), "plain weights"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_written(
    source: Path, certboard: Certboard, typed: tuple[str, ...], told: str
) -> None:
    outcome = certboard("export", *typed, "--dataset", "digits")
    assert outcome.code == 1
    if "Crossed" not in typed[0]:
        assert told in outcome.sentence
    assert [path.name for path in Path().glob("*.onnx")] == []
    assert [path.name for path in Path().glob(".*.onnx")] == []


def test_a_network_for_other_images_is_refused(source: Path, certboard: Certboard) -> None:
    assert (
        "fails on images of shape"
        in certboard("export", "own_network.py:Net", "--dataset", "mnist").err
    )


def test_a_random_network_is_refused(source: Path, certboard: Certboard) -> None:
    assert certboard("export", "own_network.py:Random", "--dataset", "digits").code == 1


def test_weights_that_run_code_are_not_loaded(source: Path, certboard: Certboard) -> None:
    torch.save(torch.nn.Linear(2, 2), "whole.pt")
    outcome = certboard(
        "export", "own_network.py:Net", "--dataset", "digits", "--weights", "whole.pt"
    )
    assert "plain weights" in outcome.sentence
