"""Real processes, killed and interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderboard.common.project import Project
from leaderboard.results.store import read
from tests.fixtures.project import LINF, PLAIN, finish, start, until
from tests.leaderboard.conftest import Certboard

SIZE = 15
"""Examples of a shard; there are 30 shards."""
COMMAND = ("run", PLAIN, "--setting", LINF)


def parts(project: Project) -> list[Path]:
    return sorted((project.results / LINF).glob(f"{PLAIN}.parts/*/*.parquet"))


def test_ctrl_c_is_one_sentence_and_loses_nothing(project: Project) -> None:
    process = start(project, *COMMAND, size=SIZE, pause=0.05)
    until(lambda: len(parts(project)) >= 3, process)
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == (
        "certboard: stopped; what was finished is kept, run again to go on."
    )
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    kept = parts(project)
    assert len(kept) >= 3
    assert [path for path in project.results.rglob("*") if path.name.endswith(".tmp")] == []
    assert all(len(read(path).rows) == SIZE for path in kept)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.15, 0.8])
def test_ctrl_c_while_it_starts_is_one_sentence_too(project: Project, delay: float) -> None:
    process = start(project, *COMMAND, size=SIZE, pause=1)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    # Before any line of ours runs, Python itself answers.
    if outcome.code == 130:
        assert "Traceback" not in outcome.err
        assert outcome.err.count("certboard: ") == 1
    assert not project.results.exists()


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (7000, 7000))
from leaderboard.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_file_that_cannot_grow_is_one_sentence(project: Project) -> None:
    # -B: of what Python compiles here, the first 7,000 bytes would stay for every other process.
    command = [sys.executable, "-B", "-c", LIMITED, *COMMAND]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("certboard: ")
    assert last.endswith("cannot be written (File too large); nothing was changed.")
    assert "Traceback" not in done.stderr
    assert [path for path in project.results.rglob("*") if path.is_file()] == []


@pytest.fixture
def tiny_disk(project: Project) -> Iterator[Path]:
    """A disk of 48 kB where the results are kept."""
    disk = project.results
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)]
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    project: Project, tiny_disk: Path, certboard: Certboard
) -> None:
    outcome = certboard(*COMMAND)
    assert outcome.code == 1
    assert "cannot be written (No space left on device)" in outcome.err.splitlines()[-1]
    kept = parts(project)
    assert kept
    assert all(len(read(path).rows) == 100 for path in kept)
    assert [path for path in tiny_disk.rglob("*") if path.name.endswith(".tmp")] == []
    subprocess.run(["mount", "-o", "remount,size=1m", str(tiny_disk)], check=True)
    assert certboard(*COMMAND).code == 0
    assert len(read(tiny_disk / LINF / f"{PLAIN}.parquet").rows) == 449
