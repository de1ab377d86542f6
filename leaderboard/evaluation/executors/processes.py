"""Several processes of this machine, which share its cores, its memory and its GPUs."""

import multiprocessing
import os
import threading
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from leaderboard.common.devices import devices_of
from leaderboard.common.memory import Budget, divided, keep_freed_memory, use
from leaderboard.common.processes import end_with_parent, interrupts_held_back
from leaderboard.evaluation.executors.shared import Failures, Finished, Queue, Run, TimeLeft, Work
from leaderboard.settings.question import Shard

if TYPE_CHECKING:
    import pandas as pd

TRIES = 2
"""The second one is alone: with all of the memory, and without another shard to suspect."""

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_has_its_own = False
"""Whether this is a worker process that was dealt its own CUDA devices."""


def on_processes(left: Queue, count: int, clock: TimeLeft, work: Work) -> Run:
    """Compute shards in so many processes.

    A process that is killed takes the others of its pool with it. Each shard that they had begun is
    then tried alone, and a new pool goes on.

    Raises:
        InputError: shards ended their process alone, too; all others are done.
    """
    failures = Failures(TRIES, "Perhaps memory ran out: use fewer --workers, or give more.")
    while left:
        lost = yield from _pooled(left, count, clock, work)
        if not lost:
            break
        for shard in lost:
            while failures.again(shard, "its worker process was killed") and (
                yield from _pooled(Queue([shard]), 1, clock, work)
            ):
                pass
    failures.check()


def _pooled(
    left: Queue, count: int, clock: TimeLeft, work: Work
) -> Generator[Finished, None, list[Shard]]:
    """Compute shards as long as no process is killed; those that were begun then are returned."""
    others = set(multiprocessing.active_children())
    pool = _pool(min(count, left.most), left[0].question.device)
    waiting: dict[Future["pd.DataFrame"], tuple[Shard, float]] = {}
    lost: list[Shard] = []
    ready: list[Finished] = []
    try:
        while True:
            # No more than are computed at once: what is not begun can still be left out.
            with interrupts_held_back():
                while left and not lost and len(waiting) < count and clock.has_time():
                    shard = left.popleft()
                    try:
                        waiting[pool.submit(_at_work, work, shard)] = shard, clock.now()
                    except BrokenProcessPool:
                        lost.append(shard)
            # Its process is at work again while rows are written.
            if ready:
                yield ready.pop()
                continue
            if not waiting:
                return lost
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            shard, began = waiting.pop(future := done.pop())
            try:
                ready.append((shard, future.result()))
            except BrokenProcessPool:
                lost.append(shard)
            else:
                clock.finished(began)
    except BaseException:
        # A shard may take hours: nobody waits for it.
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(count: int, device: str) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    dealt = visible_devices(device, count, os.environ.get(_VISIBLE))
    places = context.SimpleQueue()
    for visible in dealt:
        places.put(visible)
    threads = max(1, torch.get_num_threads() // count)
    return ProcessPoolExecutor(
        count,
        mp_context=context,
        initializer=_start_worker,
        initargs=(threads, divided(count), places if dealt else None),
    )


def visible_devices(device: str, count: int, visible: str | None) -> list[str]:
    """Deal the CUDA devices of `--device` out to processes; empty where there are not several.

    Args:
        device: as it was typed.
        count: of processes. Each has its own devices as long as there are enough.
        visible: the value of CUDA_VISIBLE_DEVICES, by whose places CUDA numbers devices.
    """
    names = devices_of(device)
    if len(names) < 2 or count < 2:
        return []
    seen = visible.split(",") if visible else None
    numbers = [int(name.partition(":")[2]) for name in names]
    ids = [seen[number] if seen else str(number) for number in numbers]
    return [",".join(ids[k::count] or [ids[k % len(ids)]]) for k in range(count)]


def _start_worker(threads: int, own: Budget, places: Any) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)
    use(own)
    if places is not None:
        # Read when CUDA starts, which it has not yet.
        os.environ[_VISIBLE] = places.get()
        global _has_its_own
        _has_its_own = True


def _at_work(work: Work, shard: Shard) -> "pd.DataFrame":
    """The rows of a shard, on the devices of this process where it has its own."""
    if _has_its_own:
        shard = replace(shard, question=replace(shard.question, device="cuda"))
    return work(shard)
