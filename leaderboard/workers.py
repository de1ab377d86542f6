"""Where shards are computed: in this process, in several, or on a Ray cluster that exists."""

import multiprocessing
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pandas as pd
import torch

from leaderboard.errors import InputError
from leaderboard.memory import keep_freed_memory
from leaderboard.processes import end_with_parent, interrupts_held_back
from leaderboard.question import Shard
from leaderboard.run import evaluate

Finished = tuple[Shard, pd.DataFrame]

RAY = "ray"


def check_workers(workers: str) -> None:
    """Refuse what is neither a positive number nor `ray`, or `ray` where it is not installed.

    Raises:
        InputError: it is refused.
    """
    if workers == RAY:
        _import_ray()
    elif not (workers.isascii() and workers.isdecimal() and 0 < int(workers[:9]) <= 1024):
        raise InputError(f"--workers is '{workers}'; it must be 'ray' or a number from 1 to 1024.")


def run_shards(shards: Sequence[Shard], workers: str) -> Generator[Finished, None, None]:
    """The rows of every shard, in the order in which they are done.

    Closing the iterator early ends the processes that it started.

    Args:
        shards: what to compute.
        workers: a number of processes, or "ray" for the Ray cluster that `RAY_ADDRESS` names
            (or one started on this machine).
    """
    check_workers(workers)
    if not shards:
        return
    if workers == RAY:
        yield from _on_ray(shards)
    elif int(workers) == 1:
        for shard in shards:
            yield shard, evaluate(shard)
    else:
        yield from _in_processes(shards, min(int(workers), len(shards)))


def _in_processes(shards: Sequence[Shard], count: int) -> Generator[Finished, None, None]:
    threads = max(1, torch.get_num_threads() // count)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(threads,),
    )
    try:
        with interrupts_held_back():
            waiting: dict[Future[pd.DataFrame], Shard] = {
                pool.submit(evaluate, shard): shard for shard in shards
            }
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "A worker process was killed, perhaps for want of memory: use fewer --workers."
            " What was finished is kept."
        ) from error
    except BaseException:
        # A shard may take hours: nobody waits for it.
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--workers ray needs the extra 'ray': pip install 'certboard[ray]'."
        ) from error
    return ray


def _on_ray(shards: Sequence[Shard]) -> Generator[Finished, None, None]:
    ray = _import_ray()
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False, logging_level="ERROR")
    try:
        task: Any = ray.remote(evaluate)
        waiting = {task.remote(shard): shard for shard in shards}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for reference in done:
                yield waiting.pop(reference), ray.get(reference)
    finally:
        if started_here:
            ray.shutdown()
