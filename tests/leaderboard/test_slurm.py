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
from leaderboard.evaluation.executors.node import Reply
from leaderboard.evaluation.executors.shared import Queue
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
    first = on_slurm(Queue(shards), counted, "local")
    shard, _ = next(first)
    first.close()  # as if this process had been killed before it kept the rows
    assert shard.examples == (0,)
    while "1" not in began.read_text():
        time.sleep(0.1)
    done = list[object]()
    with pytest.raises(InputError, match=r"example 1 of plain/model\.onnx: not measured in 2"):
        done.extend(on_slurm(Queue(shards), counted, "local"))
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


class Left:
    """A job of an earlier run, by what it left."""

    state = "COMPLETED"

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def result(self) -> object:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_no_shard_gets_the_rows_of_another_whose_job_had_its_number(project: Project) -> None:
    import submitit

    one, other = shards_about(project, 2)
    reply = Reply()
    job = Left((batch._place(one).name, reply))
    assert batch._reply(submitit, job, one) is reply
    assert "another one's answer" in str(batch._reply(submitit, job, other))
    assert "another one's answer" in str(batch._reply(submitit, Left(reply), one))


def test_a_job_that_failed_is_begun_again_by_the_next_run(project: Project) -> None:
    import submitit

    (shard,) = shards_about(project, 1)
    place = batch._place(shard)
    place.parent.mkdir(parents=True)
    place.write_text("12")
    failed = Left(submitit.core.utils.FailedJobError("ImportError: no torch"))
    with pytest.raises(InputError, match=r"failed at example 0 of .*: ImportError: no torch"):
        batch._reply(submitit, failed, shard)
    assert batch._known(submitit, shard, "local") is None


def test_a_run_killed_before_it_wrote_the_number_of_a_job_waits_for_none(
    project: Project,
) -> None:
    import submitit

    (shard,) = shards_about(project, 1)
    place = batch._place(shard)
    place.parent.mkdir(parents=True)
    place.write_text("")
    assert batch._known(submitit, shard, "slurm") is None
