"""A guide followed to the letter in a copy of the checkout passes all tests of its kind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.guides import CHECKOUT, titled

pytestmark = pytest.mark.slow

Follow = Callable[..., str]

TOP = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CITATION.cff", "mkdocs.yml")
COPIED = ("evaluators", "leaderboard", "site/pages", "site/templates", "tests", "submissions")
ARCHITECTURE = ("tests/architecture/test_arrows.py", "tests/architecture/test_doors.py")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests of the catalogues read, copied once."""
    root = tmp_path_factory.mktemp("guides") / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "*.onnx")
    for folder in COPIED:
        shutil.copytree(CHECKOUT / folder, root / folder, ignore=ignored)
    for name in ("assets", "data", "theme"):
        (root / "site" / name).symlink_to(CHECKOUT / "site" / name)
    for name in (*TOP, ".ci", ".github"):
        source = CHECKOUT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, root / name)
    return root


@pytest.fixture
def follow(copy: Path) -> Follow:
    """Put a guide's files where their titles say, and run tests of the copy."""

    def run(files: tuple[str, ...], *tests: str, appended: str = "") -> str:
        for title in files:
            path = copy / title
            before = path.read_text(encoding="utf-8") + "\n" if title == appended else ""
            path.write_text(before + titled(title), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        return done.stdout

    return run


def test_an_evaluator_is_one_file(follow: Follow) -> None:
    files = ("evaluators/deterministic/halved_ibp.py",)
    follow(
        files,
        *ARCHITECTURE,
        "tests/architecture/test_files.py",
        "tests/evaluators/test_evaluator.py",
        "tests/leaderboard/test_page_methods.py",
        "tests/leaderboard/test_taxonomy.py",
        "tests/leaderboard/test_typing.py",
    )
    # The suite over the catalogue has cases of it: -k finds none, and fails, where it has not.
    follow(files, "tests/evaluators/test_soundness.py", "-k", "halved-ibp and linf")


def test_a_dataset_is_one_file(follow: Follow) -> None:
    tests = ("tests/leaderboard/test_dataset.py", "tests/leaderboard/test_setting.py")
    follow(("leaderboard/datasets/bars.py",), *ARCHITECTURE, *tests)


def test_a_node_is_one_entry_and_its_picture(follow: Follow) -> None:
    tree = "leaderboard/field/taxonomy.toml"
    files = (tree, "leaderboard/field/pictures/taylor.svg")
    tests = ("tests/leaderboard/test_taxonomy.py", "tests/leaderboard/test_taxonomy_pages.py")
    follow(files, *tests, "tests/leaderboard/test_pictures.py", appended=tree)


def test_a_chart_is_one_file(follow: Follow) -> None:
    files = ("leaderboard/website/charts/left_open.py",)
    follow(files, *ARCHITECTURE, "tests/leaderboard/test_charts.py")
