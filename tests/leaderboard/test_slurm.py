"""Jobs of submitit, on its executor of this machine: found again, begun again, or named."""

import importlib.util
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.executors import batch
from leaderboard.evaluation.executors.batch import on_slurm
from leaderboard.evaluation.workers import run_shards
from tests.fixtures.shards import counted, shards_about

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs submitit"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.mark.slow
def test_jobs_are_found_again_and_what_kills_its_job_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "TRIES", 2)
    monkeypatch.setattr(batch, "_POLL", 0.2)
    # submitit waits for a file system over a network to show what an ended job wrote.
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)
    began = project.submissions / "plain" / "began"
    shards = shards_about(project, 2)
    first = on_slurm(shards, counted, "local")
    shard, _ = next(first)
    first.close()  # as if this process had been killed before it kept the rows
    assert shard.examples == (0,)
    while "1" not in began.read_text():
        time.sleep(0.1)
    done = list[object]()
    with pytest.raises(InputError, match=r"example 1 of plain/model\.onnx: not measured in 2"):
        done.extend(on_slurm(shards, counted, "local"))
    counts = Counter(began.read_text().split())
    assert counts["0"] == 1
    assert counts["1"] >= 2
    assert list(Path("build/slurm/shards").iterdir()) == []


def test_without_slurm_it_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="there is no SLURM here"):
        list(run_shards(shards_about(project, 1), "slurm"))


def test_a_job_is_known_by_what_its_rows_depend_on(project: Project) -> None:
    one, other = shards_about(project, 2)
    slower = replace(one, question=replace(one.question, seconds=2.0))
    assert len({batch._place(shard) for shard in (one, other, slower)}) == 3
    assert batch._place(one) == batch._place(shards_about(project, 1)[0])
