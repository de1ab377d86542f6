"""SLURM by way of submitit: shards as a job array, on machines that share this folder.

Jobs belong to the cluster: they go on when this process is killed, and are found again, by all that
their rows depend on, when it is started again. SLURM's own variables (`SBATCH_PARTITION`,
`SBATCH_ACCOUNT`, `SBATCH_TIMELIMIT`, …) say where they run.
"""

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leaderboard.common.errors import InputError
from leaderboard.common.memory import chosen
from leaderboard.evaluation.executors.cluster import gpus_of
from leaderboard.evaluation.executors.node import Reply, Task, compute, keep_evidence, task_of
from leaderboard.evaluation.executors.shared import (
    AT_ONCE,
    SLURM,
    TRIES,
    Failures,
    Queue,
    Run,
    Work,
    engine,
    located,
    name_of,
)
from leaderboard.evaluation.sources import code_digest
from leaderboard.settings.question import LONGEST_SHARD, Shard

_FOLDER = Path("build") / "slurm"
_POLL = 1.0
_SPARE = 3.0
"""How many times longer than a shard should take its job may last."""


def on_slurm(left: Queue, work: Work, cluster: str = SLURM) -> Run:
    """Compute shards as an array of jobs.

    `cluster` is what submitit calls it: slurm, or local for processes of this machine.

    Raises:
        InputError: there is no SLURM here, a node lacks something, or jobs ended again and again;
            everything that was yielded is good.
    """
    submitit = engine(SLURM, "submitit")
    if cluster == SLURM and shutil.which("sbatch") is None:
        raise InputError("--workers slurm: there is no SLURM here (no command 'sbatch').")
    failures = Failures(TRIES, "Their jobs' own words are in build/slurm.")
    jobs = dict[Shard, Any]()
    while left or jobs:
        jobs |= {shard: _known(submitit, shard, cluster) for shard in left}
        left.clear()
        if new := [shard for shard, job in jobs.items() if job is None]:
            jobs.update(_submitted(submitit, new, work, cluster))
        ended = [shard for shard, job in jobs.items() if job.done()]
        for shard in ended:
            reply = _reply(submitit, jobs[shard], shard)
            if isinstance(reply, str):
                _forget(shard)
                if failures.again(shard, reply):
                    jobs[shard] = None
                else:
                    del jobs[shard]
                continue
            del jobs[shard]
            if reply.error is not None:
                _forget(shard)
                raise located(reply.error, shard)
            keep_evidence(shard, reply)
            assert reply.rows is not None
            yield shard, reply.rows
            _forget(shard)
        if not ended:
            time.sleep(_POLL)
    failures.check()


def _run(task: Task, key: str) -> tuple[str, Reply]:
    """What a job does; its answer says to what, for the numbers of jobs are given out again."""
    import socket

    return key, compute(task, {}, socket.gethostname())


def _submitted(submitit: Any, shards: Sequence[Shard], work: Work, cluster: str) -> dict[Any, Any]:
    """Submit shards as one array, and keep where the job of each can be found again."""
    executor = submitit.AutoExecutor(folder=_FOLDER / "jobs", cluster=cluster)
    longest = max(len(shard.examples) * shard.question.seconds for shard in shards)
    minutes = int(max(longest, LONGEST_SHARD) * _SPARE / 60)
    executor.update_parameters(
        name="certboard",
        timeout_min=minutes,
        gpus_per_node=max(gpus_of(shard.question.device) for shard in shards),
        slurm_array_parallelism=AT_ONCE,
    )
    tasks = [task_of(work, shard, chosen()) for shard in shards]
    jobs = executor.map_array(_run, tasks, [_place(shard).name for shard in shards])
    for shard, job in zip(shards, jobs, strict=True):
        place = _place(shard)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(job.job_id, encoding="ascii")
    return dict(zip(shards, jobs, strict=True))


def _place(shard: Shard) -> Path:
    """Where the number of a shard's job is kept, named by what its rows depend on."""
    question = shard.question
    wanted = question.evidence is not None
    asked = replace(shard, question=replace(question, salt="", evidence=Path() if wanted else None))
    key = hashlib.sha256(repr((code_digest(question), asked)).encode()).hexdigest()
    return _FOLDER / "shards" / key[:32]


def _forget(shard: Shard) -> None:
    _place(shard).unlink(missing_ok=True)


def _known(submitit: Any, shard: Shard, cluster: str) -> Any:
    """The job of an earlier run that computes a shard, or has done so; None if there is none."""
    try:
        number = _place(shard).read_text(encoding="ascii")
    except OSError:
        return None
    if not number:  # this process was killed before it had written it
        return None
    kinds = {SLURM: submitit.SlurmJob, "local": submitit.LocalJob}
    return kinds[cluster](folder=_FOLDER / "jobs", job_id=number)


def _reply(submitit: Any, job: Any, shard: Shard) -> "Reply | str":
    """What a job left, or how it ended without."""
    try:
        found = job.result()
    except submitit.core.utils.FailedJobError as error:
        _forget(shard)  # or it would be found again when its machine has been mended
        last = str(error).strip().splitlines()[-1]
        raise InputError(f"A SLURM job failed at {name_of(shard)}: {last}") from error
    except (submitit.core.utils.UncompletedJobError, OSError, EOFError):
        return f"its SLURM job ended ({job.state})"
    match found:
        case (key, Reply() as reply) if key == _place(shard).name:
            return reply
    return "what lies under the number of its SLURM job is another one's answer"
