"""What all tests share: the folder of shared data, and a fair use of the cores."""

import gc
import os
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.fixtures import effort, shapes

# What is imported and collected stays: the garbage collector need not look at it again and again.
gc.disable()

CHECKOUT = Path(__file__).resolve().parents[1]

# Tests run tiny tensors: a second thread only waits for the first, and xdist fills the cores. So
# it is in the processes that they start.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


shapes.install()

# Tests see nothing of what this machine keeps, and leave nothing there.
os.environ["CERTBOARD_CACHE"] = ""


BEGUN_FIRST = (
    "test_intake_workflows.py",
    "test_ray.py",
    "test_guides_followed.py",
    "test_slurm.py",
    "test_kills.py",
    "test_workers.py",
)
"""Files of tests that each take long: begun last, one would leave the other cores idle."""


def pytest_configure() -> None:
    effort.share = 1 if os.environ.get("CERTBOARD_TEST_EFFORT") == "whole" else 4
    # Of laws that name no number of examples.
    hypothesis.settings.register_profile("effort", max_examples=effort.examples(200))
    hypothesis.settings.load_profile("effort")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in BEGUN_FIRST)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    shapes.begin(item.nodeid.partition("[")[0])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data and models beside the checkout, or CERTBOARD_SHARED."""
    folder = Path(os.environ.get("CERTBOARD_SHARED", CHECKOUT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("needs the shared data folder")
    return folder


@pytest.fixture
def shared_data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared datasets, made CERTBOARD_DATA."""
    monkeypatch.setenv("CERTBOARD_DATA", str(shared / "data"))
    return shared / "data"
