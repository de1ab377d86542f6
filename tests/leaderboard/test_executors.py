"""Workers and nodes that die: what they had begun is done again, or named; the rest is kept."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.common.errors import InputError, WithdrawnError
from leaderboard.evaluation import workers
from leaderboard.evaluation.executors import processes
from leaderboard.evaluation.executors.processes import visible_devices
from leaderboard.evaluation.executors.shared import Failures, Queue, Run, located
from leaderboard.evaluation.workers import run_shards
from leaderboard.settings.question import Question, Shard

DEADLY = 3
"""The example that kills whoever computes it."""


def asked(folder: Path, count: int, device: str = "cpu") -> list[Shard]:
    """So many shards of one example each."""
    question = Question(
        dataset="digits", norm="linf", radius=Fraction(1, 10), seconds=1.0, evaluator=None,
        options=(), distribution=None, sigma=None, model=folder / "net" / "model.onnx",
        model_sha256="0" * 64, device=device,
    )  # fmt: skip
    return [Shard(question, (number,)) for number in range(count)]


def deadly(shard: Shard) -> pd.DataFrame:
    """One shard kills its worker each time; another one only the first time."""
    (example,) = shard.examples
    once = shard.question.model.parent.parent / "killed"
    if example == DEADLY or (example == 1 and not once.exists()):
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return pd.DataFrame({"example": [example]})


def gather(done: list[int], finished: Run) -> None:
    """Keep the examples of shards as they come."""
    for shard, _ in finished:
        done += shard.examples


def test_a_shard_that_kills_its_process_is_named_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "evaluate", deadly)
    # Forked, they need not import everything first.
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(processes, "_pool", lambda n, _: ProcessPoolExecutor(n, mp_context=context))
    done = list[int]()
    with pytest.raises(InputError) as told:
        gather(done, run_shards(asked(tmp_path, 6), "2"))
    assert sorted(done) == [0, 1, 2, 4, 5]
    first, last = told.value.problems
    assert first == (
        "example 3 of net/model.onnx: not measured in 2 tries: its worker process was killed."
    )
    assert last.startswith("What was finished is kept.")


def test_what_is_put_into_the_queue_meanwhile_is_begun_by_a_free_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shard ends only when one has ended that the second one leaves open."""
    followed, pools = threading.Event(), list[int]()

    def waiting(shard: Shard) -> pd.DataFrame:
        if shard.examples == (0,):
            assert followed.wait(20)
        return pd.DataFrame()

    def pool(count: int, _: str) -> ThreadPoolExecutor:
        pools.append(count)
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(workers, "evaluate", waiting)
    monkeypatch.setattr(processes, "_pool", pool)
    shards = asked(tmp_path, 3)
    queue, done = Queue(replace(one, stages="cheap") for one in shards[:2]), list[Shard]()
    for shard, _ in run_shards(queue, "2"):
        done.append(shard)
        if shard.examples == (1,):
            queue.put(shards[2:], lambda one: one.stages)
        elif shard == shards[2]:
            followed.set()
    assert [shard.examples for shard in done] == [(1,), (2,), (0,)]
    assert pools == [2]


def test_a_process_is_at_work_again_while_its_rows_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Semaphore(0)

    def counted(_: Shard) -> pd.DataFrame:
        begun.release()
        return pd.DataFrame()

    monkeypatch.setattr(workers, "evaluate", counted)
    monkeypatch.setattr(processes, "_pool", lambda count, _: ThreadPoolExecutor(count))
    finished = run_shards(asked(tmp_path, 4), "2")
    next(finished)
    assert [begun.acquire(timeout=20) for _ in range(3)] == [True] * 3
    finished.close()


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_a_queue_stays_in_order(first: list[int], more: list[int]) -> None:
    def shard(number: int) -> Shard:
        return Shard(None, (number,))  # type: ignore[arg-type]

    queue = Queue(map(shard, sorted(first)))
    queue.put(map(shard, more), lambda one: one.examples)
    assert [*queue] == [*map(shard, sorted(first + more))]


@pytest.mark.parametrize(
    ("count", "visible", "dealt"),
    [(2, None, ["0,2", "1"]), (3, "5,6,7", ["5", "6", "7"]), (4, None, ["0", "1", "2", "0"])],
)
def test_gpus_are_dealt_out_to_processes(
    monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None, dealt: list[str]
) -> None:
    monkeypatch.setattr(processes, "devices_of", lambda text: tuple(text.split(",")))
    assert visible_devices("cuda:0,cuda:1,cuda:2", count, visible) == dealt
    assert visible_devices("cuda:1", count, visible) == []


def test_the_tries_of_a_shard_are_counted(tmp_path: Path) -> None:
    one, other = asked(tmp_path, 2)
    failures = Failures(3, "Perhaps.")
    assert [failures.again(one, "it died") for _ in range(3)] == [True, True, False]
    assert failures.again(other, "it died")
    with pytest.raises(InputError, match=r"example 0 of net/model\.onnx: not measured in 3 tries"):
        failures.check()


def test_an_error_of_a_node_names_the_shard_unless_it_does_so_itself(tmp_path: Path) -> None:
    (shard,) = asked(tmp_path, 1)
    found = located(InputError("The node 1.2.3.4 has other code."), shard)
    assert str(found).endswith("\nThat was at example 0 of net/model.onnx.")
    known = InputError("The model cannot be read.")
    vars(known)["shard"] = shard
    for error in (known, WithdrawnError("It is withdrawn."), MemoryError()):
        assert located(error, shard) is error
