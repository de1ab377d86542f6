import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation import workers
from leaderboard.evaluation.executors import processes
from leaderboard.evaluation.workers import check_workers
from leaderboard.results.store import read
from tests.fixtures.project import L2, LINF, PLAIN, finish, start, until
from tests.leaderboard.conftest import Certboard

COMMAND = ("run", PLAIN, "--setting", LINF)
on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def rows(project: Project, setting: str = LINF, slug: str = PLAIN) -> pd.DataFrame:
    """The stored rows, without the two columns that a run may change in any digit."""
    table = read(project.results / setting / f"{slug}.parquet").rows
    return table.drop(columns="seconds").set_index("example")


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal; bounds up to the last digits, for which sums on more threads may differ."""
    assert one.drop(columns="margin").equals(other.drop(columns="margin"))
    pd.testing.assert_series_equal(one["margin"], other["margin"], rtol=1e-9)


def measured(project: Project, certboard: Certboard, count: str, slug: str) -> pd.DataFrame:
    setting = LINF if slug == PLAIN else L2
    arguments = ("run", slug, "--setting", setting, "--examples", "150", "--fresh")
    assert certboard(*arguments, "--workers", count).code == 0
    return rows(project, setting, slug)


@pytest.mark.slow
def test_the_number_of_processes_changes_no_row(project: Project, certboard: Certboard) -> None:
    alone = measured(project, certboard, "1", PLAIN)
    assert_same(measured(project, certboard, "2", PLAIN), alone)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_without_ray_it_says_how_to_get_it(project: Project, certboard: Certboard) -> None:
    outcome = certboard(*COMMAND, "--workers", "ray")
    assert (outcome.code, outcome.sentence) == (
        1, "--workers ray needs the extra 'ray': pip install 'certboard[ray]'.",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1.5", "٣", "9" * 5000, "1025"])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="it must be a number from 1 to 1024"):
        check_workers(text)


def members(group: int) -> list[int]:
    """The processes of a group that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, process_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                found.append(int(folder.name))
    return found


def started(project: Project) -> subprocess.Popen[str]:
    """A run on two processes that has finished a few shards."""
    process = start(project, *COMMAND, "--workers", "2", size=10, pause=0.2)

    def begun() -> bool:
        return any((project.results / LINF).glob("*.parts/*/*.parquet"))

    until(begun, process)
    assert process.poll() is None, finish(process)
    assert len(members(process.pid)) >= 3
    return process


@pytest.mark.slow
@on_linux
def test_an_interrupted_run_leaves_no_process_behind(project: Project) -> None:
    process = started(project)
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert outcome.err.count("certboard: stopped;") == 1
    until(lambda: not members(process.pid))


@pytest.mark.slow
@on_linux
def test_workers_end_with_a_killed_parent(project: Project) -> None:
    process = started(project)
    process.kill()
    # The pipes stay open as long as a worker has them.
    finish(process)
    until(lambda: not members(process.pid))


def test_a_bad_file_is_told_in_all_its_sentences_by_a_worker() -> None:
    """Errors cross the border of a process whole."""
    code = "import pickle, sys; from leaderboard.common.errors import InputError\n"
    code += "sys.stdout.buffer.write(pickle.dumps(InputError('one', 'two')))"
    import pickle

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert pickle.loads(done.stdout).problems == ("one", "two")


def test_no_shards_need_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "on_processes", lambda *_: pytest.fail("started processes"))
    assert list(workers.run_shards([], "4")) == []
