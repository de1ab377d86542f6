"""Where shards are computed: in this process, in several, or on a cluster."""

import math
from collections.abc import Sequence

from leaderboard.common.errors import InputError
from leaderboard.evaluation.executors.shared import RAY, SLURM, Queue, Run, TimeLeft, engine
from leaderboard.evaluation.shard import evaluate
from leaderboard.settings.question import Shard


def check_workers(workers: str) -> None:
    """Refuse what is no number and no cluster, or a cluster whose library is not installed.

    Raises:
        InputError: it is refused.
    """
    if workers == RAY:
        engine(RAY, "ray")
    elif workers == SLURM:
        engine(SLURM, "submitit")
    elif not (workers.isascii() and workers.isdecimal() and 0 < int(workers[:9]) <= 1024):
        raise InputError(
            f"--workers is '{workers}'; it must be a number from 1 to 1024, 'ray' or 'slurm'."
        )


def run_shards(shards: Sequence[Shard], workers: str, until: float = math.inf) -> Run:
    """Compute the rows of every shard; yield them in the order in which they are done.

    Closing the iterator early ends the processes that it started. A shard that ends its worker is
    tried again, and named when all others are done.

    Args:
        shards: what to compute. While it is a `Queue`, more may be put there until the last rows
            of it are taken.
        workers: a number of processes, or "ray" for the Ray cluster that `RAY_ADDRESS` names
            (or one started on this machine), or "slurm".
        until: on the monotonic clock; shards that would probably be done later are left out. Only
            for a number of processes.

    Raises:
        InputError: something cannot be computed; what was yielded is good.
    """
    check_workers(workers)
    if not shards:
        return
    clock = TimeLeft(until)
    left = shards if isinstance(shards, Queue) else Queue(shards)
    if workers == RAY:
        from leaderboard.evaluation.executors.cluster import on_ray

        yield from on_ray(left, evaluate)
    elif workers == SLURM:
        from leaderboard.evaluation.executors.batch import on_slurm

        yield from on_slurm(left, evaluate)
    elif int(workers) == 1:
        while left and clock.has_time():
            shard, began = left.popleft(), clock.now()
            rows = evaluate(shard)
            clock.finished(began)
            yield shard, rows
    else:
        from leaderboard.evaluation.executors.processes import on_processes

        yield from on_processes(left, min(int(workers), left.most), clock, evaluate)
