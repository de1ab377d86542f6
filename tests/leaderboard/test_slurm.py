"""Jobs of submitit, on its executor of this machine: found again, begun again, or named."""

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.executors import batch
from leaderboard.evaluation.executors.batch import on_slurm
from leaderboard.evaluation.workers import run_shards
from leaderboard.settings.question import Shard
from tests.leaderboard.test_ray import shards_about

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs submitit"),
    pytest.mark.filterwarnings("ignore"),
]


def counted(shard: Shard) -> pd.DataFrame:
    """Count how often an example is computed; one of them kills its job each time."""
    (example,) = shard.examples
    with (shard.question.model.with_name("began")).open("a") as file:
        file.write(f"{example} ")
    if example == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return pd.DataFrame({"example": [example]})


@pytest.mark.slow
def test_jobs_are_found_again_and_what_kills_its_job_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "TRIES", 2)
    monkeypatch.setattr(batch, "_POLL", 0.2)
    shards = shards_about(project, 2)
    first = on_slurm(shards, counted, "local")
    shard, _ = next(first)
    first.close()  # as if this process had been killed before it kept the rows
    assert shard.examples == (0,)
    done = list[object]()
    with pytest.raises(InputError, match=r"example 1 of plain/model\.onnx: not measured in 2"):
        done.extend(on_slurm(shards, counted, "local"))
    began = (project.submissions / "plain" / "began").read_text().split()
    assert began.count("0") == 1
    assert began.count("1") >= 2
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
