"""Where shards are computed: in this process, in several, or on a Ray cluster that exists."""

import math
import multiprocessing
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from leaderboard.common.errors import InputError
from leaderboard.common.memory import Budget, chosen, divided, keep_freed_memory, memory, use
from leaderboard.common.processes import end_with_parent, interrupts_held_back
from leaderboard.evaluation.shard import evaluate
from leaderboard.settings.question import Shard

if TYPE_CHECKING:
    import pandas as pd

Finished = tuple[Shard, "pd.DataFrame"]

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


@dataclass
class _Clock:
    """Whether there is time for one more shard: as long as the longest one until now took.

    `until` is a time on the monotonic clock.
    """

    until: float
    longest: float = 0.0

    def has_time(self) -> bool:
        return time.monotonic() + self.longest < self.until

    def finished(self, began: float) -> None:
        self.longest = max(self.longest, time.monotonic() - began)


def run_shards(
    shards: Sequence[Shard], workers: str, until: float = math.inf
) -> Generator[Finished, None, None]:
    """Compute the rows of every shard; yield them in the order in which they are done.

    Closing the iterator early ends the processes that it started.

    Args:
        shards: what to compute.
        workers: a number of processes, or "ray" for the Ray cluster that `RAY_ADDRESS` names
            (or one started on this machine).
        until: on the monotonic clock; shards that would probably be done later are left out. Only
            for a number of processes.
    """
    check_workers(workers)
    if not shards:
        return
    clock = _Clock(until)
    if workers == RAY:
        yield from _on_ray(shards)
    elif int(workers) == 1:
        for shard in shards:
            if not clock.has_time():
                return
            began = time.monotonic()
            rows = evaluate(shard)
            clock.finished(began)
            yield shard, rows
    else:
        yield from _in_processes(shards, min(int(workers), len(shards)), clock)


def _in_processes(
    shards: Sequence[Shard], count: int, clock: _Clock
) -> Generator[Finished, None, None]:
    threads = max(1, torch.get_num_threads() // count)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(threads, divided(count)),
    )
    try:
        left = iter(shards)
        waiting: dict[Future["pd.DataFrame"], tuple[Shard, float]] = {}
        while True:
            # No more than are computed at once: what is not begun can still be left out.
            with interrupts_held_back():
                while len(waiting) < count and clock.has_time() and (shard := next(left, None)):
                    waiting[pool.submit(evaluate, shard)] = shard, time.monotonic()
            if not waiting:
                break
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                shard, began = waiting.pop(future)
                clock.finished(began)
                yield shard, future.result()
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


def _start_worker(threads: int, own: Budget) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)
    use(own)


def _within(shard: Shard, total: int | None) -> "pd.DataFrame":
    """The rows of a shard, computed elsewhere within as much memory as was asked for here."""
    with memory(total):
        return evaluate(shard)


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
        task: Any = ray.remote(_within)
        waiting = {task.remote(shard, chosen()): shard for shard in shards}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for reference in done:
                yield waiting.pop(reference), ray.get(reference)
    finally:
        if started_here:
            ray.shutdown()
