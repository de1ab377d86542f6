"""`--device`: which there are, and that their number changes no row."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from leaderboard.common.devices import check_device, devices_of
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.results.store import read
from tests.fixtures.effort import first_alone
from tests.fixtures.project import NOISY
from tests.leaderboard.conftest import Certboard

MODEL = f"submissions/{NOISY}/model.onnx"


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three CUDA devices, of which the second is of another kind."""
    names = ["A100", "T4", "A100"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: names[place])


def test_cuda_is_all_devices_of_the_kind_of_the_first(three: None) -> None:
    assert devices_of("cuda") == ("cuda:0", "cuda:2")
    assert devices_of("cuda:1") == ("cuda:1",)
    assert devices_of("cuda:2,cuda:0") == ("cuda:2", "cuda:0")
    assert devices_of("cpu") == ("cpu",)


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("cuda:0,cuda:1", "cuda:0 is A100 and cuda:1 is T4"),
        ("cuda:0,cuda:0", "names cuda:0 more than once"),
        ("cuda:0,cuda:3", "there is no device 3 of 3"),
        ("cuda,cuda:2", "with their numbers only"),
        ("cpu,cuda:0", "with their numbers only"),
        ("cuda:0,", "it must be cpu, cuda, cuda:0 or cuda:0,cuda:1"),
    ],
)
def test_devices_that_cannot_count_together_are_refused(
    three: None, device: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        check_device(device)


@pytest.mark.parametrize("device", ["cpu", "cpu,cpu", "cuda", "cuda:1", "cuda:0,cuda:2"])
def test_devices_that_are_there_are_not(three: None, device: str) -> None:
    check_device(device)


def measure(certboard: Certboard, *more: str) -> pd.DataFrame:
    outcome = certboard(
        "certify", MODEL, "--dataset", "digits", "--norm", "l2", "--radius", "0.1",
        "--sigma", "0.25", "--samples", "5000", "--examples", "5", "--output", "rows.parquet",
        *more,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return read(Path("rows.parquet")).rows.drop(columns="seconds")


@pytest.mark.parametrize(
    "more",
    first_alone([("--procedure", "sequential"), (), ("--evaluator", "first-order")]),
)
def test_the_number_of_devices_changes_no_row(
    project: Project, certboard: Certboard, more: tuple[str, ...]
) -> None:
    one = measure(certboard, *more)
    for devices in ("cpu,cpu", "cpu,cpu,cpu"):
        pd.testing.assert_frame_equal(measure(certboard, *more, "--device", devices), one)
    again = certboard("recheck", "rows.parquet", "--model", MODEL, "--redraw", "2")
    assert again.code == 0, again.err
