from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leaderboard import data_files
from leaderboard.__main__ import run
from leaderboard.project import Project
from tests.fixtures.browser import Browser, chromium, served
from tests.fixtures.project import Outcome, new_project
from tests.fixtures.website import built

Certboard = Callable[..., Outcome]


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The website of the made-up board, built once."""
    return built(tmp_path_factory.mktemp("website"))


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
    monkeypatch.setattr(data_files, "cache_folder", lambda: tmp_path / "cache")
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
