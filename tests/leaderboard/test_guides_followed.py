"""Guides followed to the letter in a copy of the checkout: what comes of it passes all tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.guides import CHECKOUT, titled

pytestmark = pytest.mark.slow

TOP = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CITATION.cff", "mkdocs.yml")
COPIED = ("evaluators", "leaderboard", "site/pages", "site/templates", "tests", "submissions")
TREE = "leaderboard/field/taxonomy.toml"
EVALUATOR = "evaluators/deterministic/halved_ibp.py"
FILES = (
    EVALUATOR,
    "leaderboard/datasets/bars.py",
    TREE,
    "leaderboard/field/pictures/taylor.svg",
    "leaderboard/website/charts/left_open.py",
)
"""An evaluator, a dataset and a chart are one file each; a node is an entry and its picture."""
TESTS = (
    *("tests/architecture/test_arrows.py", "tests/architecture/test_doors.py"),
    "tests/architecture/test_files.py",
    "tests/evaluators/test_evaluator.py",
    *("tests/leaderboard/test_dataset.py", "tests/leaderboard/test_setting.py"),
    *("tests/leaderboard/test_charts.py", "tests/leaderboard/test_page_methods.py"),
    *("tests/leaderboard/test_taxonomy.py", "tests/leaderboard/test_taxonomy_pages.py"),
    *("tests/leaderboard/test_pictures.py", "tests/leaderboard/test_typing.py"),
)
# The suite over the catalogue has cases of a new evaluator: pytest fails where one is not there.
SOUNDNESS = "tests/evaluators/test_soundness.py::"
OF_EVALUATOR = (
    "test_what_is_proved_holds_on_a_dense_grid[linf-halved-ibp]",
    "test_what_is_proved_holds_on_a_dense_grid[linf wide-halved-ibp]",
    "test_answers_do_not_depend_on_the_batch[halved-ibp]",
    "test_an_example_that_is_no_image_is_unknown[halved-ibp]",
    "test_a_network_that_leaves_the_numbers_is_never_certified[halved-ibp]",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the tests of the catalogues read."""
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("*.onnx")  # What Python has compiled is copied with the rest.
    for folder in COPIED:
        shutil.copytree(CHECKOUT / folder, root / folder, ignore=ignored)
    for name in ("assets", "data", "theme"):
        (root / "site" / name).symlink_to(CHECKOUT / "site" / name)
    for name in (*TOP, ".ci", ".github"):
        source = CHECKOUT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, root / name)
    return root


def test_whoever_follows_all_guides_passes_the_tests(copy: Path) -> None:
    for title in FILES:
        path = copy / title
        before = path.read_text(encoding="utf-8") + "\n" if title == TREE else ""
        path.write_text(before + titled(title), encoding="utf-8")
    tests = (*TESTS, *(SOUNDNESS + name for name in OF_EVALUATOR))
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
