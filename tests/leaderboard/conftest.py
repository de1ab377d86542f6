import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leaderboard.__main__ import run
from leaderboard.board.board import Board
from leaderboard.common.project import Project
from leaderboard.datasets import files
from leaderboard.results.store import read, results_path
from tests.fixtures.board import board
from tests.fixtures.browser import Browser, chromium, served
from tests.fixtures.forged import SAMPLES, Made, Make
from tests.fixtures.once import once
from tests.fixtures.project import L2, LINF, NOISY, PLAIN, Outcome, new_project
from tests.fixtures.website import built, generated

Certboard = Callable[..., Outcome]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The made-up board."""
    return board(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the made-up board as MkDocs takes them, made once; nobody changes them."""

    def make(root: Path) -> None:
        generated(board(root / "rows"), root / "project")

    return Project(once(tmp_path_factory, "pages", make) / "project").pages


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The website of the made-up board, built once."""
    return Project(once(tmp_path_factory, "website", built)).public


@pytest.fixture(scope="module")
def website(public: Path) -> Iterator[str]:
    """The address at which that website is served, with a slash at its end."""
    with served(public) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is both CERTBOARD_DATA's and, in another place, the cache's."""
    monkeypatch.setenv("CERTBOARD_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "data"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with the submissions `plain` and `noisy`; the working directory is its root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return new_project(tmp_path)


@pytest.fixture
def certboard(capsys: pytest.CaptureFixture[str]) -> Certboard:
    """Runs a command in this process."""

    def command(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(code, captured.out, captured.err)

    return command


@pytest.fixture
def nothing_is_written(project: Project) -> Iterator[None]:
    """Fails when a command leaves a result, or a part of one."""
    yield
    found = [path for path in project.root.rglob("*") if path.suffix in (".parquet", ".tmp")]
    assert found == []


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose submissions are evaluated, once for all tests."""
    return Project(once(tmp_path_factory, "measured", _measure))


def _measure(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(new_project(root).root)
        assert run(["run", PLAIN, "--setting", LINF]) == 0
        assert run(["run", NOISY, "--setting", L2, "--samples", str(SAMPLES)]) == 0


@pytest.fixture
def made(measured: Project, tmp_path: Path) -> Make:
    """Real results in a copy of the project."""
    root = Path(shutil.copytree(measured.root, tmp_path / "copy"))

    def make(slug: str, setting: str) -> Made:
        project = Project(root)
        return Made(project, read(results_path(project, setting, slug)), slug, setting)

    return make


@pytest.fixture
def plain(made: Make) -> Made:
    """The results of a network in ℓ∞."""
    return made(PLAIN, LINF)


@pytest.fixture
def noisy(made: Make) -> Made:
    """The results of a smoothed model in ℓ2."""
    return made(NOISY, L2)
