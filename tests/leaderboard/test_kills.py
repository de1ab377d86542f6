"""Drivers and workers killed at random, and files damaged in between: every row is there, once."""

import random
from pathlib import Path

import pandas as pd
import pytest

from leaderboard.common.project import Project
from leaderboard.evaluation import forecast
from leaderboard.results.store import read
from leaderboard.settings import question
from tests.fixtures.kills import Killing, small_shards
from tests.fixtures.project import L2, LINF, NOISY, PLAIN, new_project
from tests.leaderboard.conftest import Certboard

COMMAND = ("run", "--setting", LINF, "--setting", L2, "--examples", "36", "--samples", "200")
FILES = [
    Path(LINF) / f"{PLAIN}.parquet",
    *(Path(L2) / f"{slug}.parquet" for slug in (PLAIN, NOISY)),
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_killed_and_damaged_again_and_again_it_ends_with_the_rows_of_one_process(
    project: Project, tmp_path: Path, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # First, so that the digest of the code is there for all forks.
    for module, names in (
        (question, ["LARGEST_SHARD"]),
        (forecast, ["LONGEST_SHARD", "LONGEST_OPEN"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))  # and back
    small_shards()
    other = new_project(tmp_path / "undisturbed")
    monkeypatch.chdir(other.root)
    assert certboard(*COMMAND).code == 0

    killing = Killing(project, (*COMMAND, "--workers", "2"), random.Random(19), 10, 4)
    assert killing.to_its_end() == 0, killing.story.log
    story = killing.story
    assert story.drivers + story.workers >= 8
    assert story.workers >= 1
    assert story.damaged >= 2
    assert "its worker process was killed; tried again" in story.log
    assert story.unreadable == []
    found = [path for path in project.results.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(project.results) for path in found) == sorted(FILES)

    for path in FILES:
        killed, whole = (read(one.results / path) for one in (project, other))
        assert killed.rows["example"].tolist() == [*range(36)]
        pd.testing.assert_frame_equal(
            killed.rows.drop(columns="seconds"), whole.rows.drop(columns="seconds"), rtol=1e-9
        )
        assert killed.provenance.fingerprint == whole.provenance.fingerprint
