"""How much faster two processes branch and bound: `python -m tests.benchmarks.two_cores 449 3`.

The numbers are of examples and of rounds; a submission and its setting may follow, which are
`digits-standard` in `digits-linf-0.05` otherwise. Each round is `run --workers 1` and `--workers 2`
with branch and bound, one thread a process. The seconds are those of the clock, the start of the
processes among them, so nothing else should run meanwhile, and one process should take minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from leaderboard.common.project import Project
from tests.fixtures.project import CHECKOUT, new_project

AIM = 1.7


def seconds(project: Project, slug: str, setting: str, workers: int, examples: int) -> float:
    """Of one command, started anew."""
    typed = ["run", slug, "--setting", setting, "--examples", str(examples), "--fresh"]
    typed += ["--evaluator", "branch-and-bound", "--workers", str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "leaderboard", *typed]
    began = time.monotonic()
    subprocess.run(command, cwd=project.root, env=environment, check=True, capture_output=True)
    return time.monotonic() - began


def main(
    examples: int, rounds: int, slug: str = "digits-standard", setting: str = "digits-linf-0.05"
) -> None:
    """Measure by turns, and print the ratio of the best."""
    found: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        project = new_project(Path(folder))
        shutil.copytree(CHECKOUT / "submissions" / slug, project.submissions / slug)
        for _ in range(rounds):
            for workers, times in found.items():
                times.append(seconds(project, slug, setting, workers, examples))
                print(f"{workers} workers: {times[-1]:.1f} s", flush=True)
    ratio = min(found[1]) / min(found[2])
    print(f"{ratio:.2f} times as fast with two, on {os.cpu_count()} cores (aim: {AIM})")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
