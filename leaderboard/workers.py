"""Where shards are computed: in this process, in several, or on a Ray cluster that exists."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

import pandas as pd
import torch

from leaderboard.errors import InputError
from leaderboard.memory import keep_freed_memory
from leaderboard.run import Shard, evaluate

Finished = tuple[Shard, pd.DataFrame]


def run_shards(shards: Sequence[Shard], workers: str) -> Iterator[Finished]:
    """The rows of every shard, in the order in which they are done.

    Args:
        shards: what to compute.
        workers: a number of processes, or "ray" for the Ray cluster that `RAY_ADDRESS` names
            (or one started on this machine).
    """
    if workers == "ray":
        yield from _on_ray(shards)
    elif not workers.isdecimal() or int(workers) < 1:
        raise InputError(f"--workers is '{workers}'; it must be a positive number or 'ray'.")
    elif int(workers) == 1:
        for shard in shards:
            yield shard, evaluate(shard)
    else:
        yield from _in_processes(shards, int(workers))


def _start_worker(threads: int) -> None:
    keep_freed_memory()
    torch.set_num_threads(threads)


def _in_processes(shards: Sequence[Shard], count: int) -> Iterator[Finished]:
    threads = max(1, torch.get_num_threads() // count)
    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(threads,),
    )
    try:
        waiting: dict[Future[pd.DataFrame], Shard] = {
            pool.submit(evaluate, shard): shard for shard in shards
        }
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _on_ray(shards: Sequence[Shard]) -> Iterator[Finished]:
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--workers ray needs the extra 'ray': pip install 'certboard[ray]'."
        ) from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    task: Any = ray.remote(evaluate)
    waiting = {task.remote(shard): shard for shard in shards}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        for reference in done:
            yield waiting.pop(reference), ray.get(reference)
