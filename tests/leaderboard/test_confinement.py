"""The folder that a confined process may write to, and what one that was taken over leaves."""

import shutil
from pathlib import Path

import pytest

from leaderboard.intake import confinement
from leaderboard.intake.sandbox import Limits, Outcome
from leaderboard.results.store import results_path
from tests.fixtures.forged import Made
from tests.fixtures.project import LINF, PLAIN
from tests.leaderboard.conftest import Certboard


@pytest.fixture
def stored(plain: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a result would lie; the working directory is the project."""
    monkeypatch.chdir(plain.project.root)
    return results_path(plain.project, LINF, PLAIN)


def test_nothing_that_a_confined_process_leaves_leads_or_stands_in_the_way(
    plain: Made, certboard: Certboard, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link would lead what the next run writes to any file of the user."""
    own = plain.project.root / "precious"
    own.write_text("precious")
    folder = plain.project.root / "build" / "sandbox" / PLAIN / LINF

    def links(arguments: list[str], limits: Limits, writable: Path) -> Outcome:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / stored.name).symlink_to(own)
        return Outcome(1, "")

    def folders(arguments: list[str], limits: Limits, writable: Path) -> Outcome:
        (folder / stored.name).unlink()
        (folder / stored.name).mkdir()
        return Outcome(1, "")

    before = stored.read_bytes()
    for taken_over in (links, folders, folders):
        monkeypatch.setattr(confinement, "run_confined", taken_over)
        outcome = certboard("run", PLAIN, "--setting", LINF, "--sandbox", "best")
        assert outcome.code == 1
        assert f"{PLAIN}: " in outcome.err
    assert "its files cannot be handled" in outcome.err
    assert (own.read_text(), stored.read_bytes()) == ("precious", before)
