"""How much faster two processes branch and bound: `python -m tests.benchmarks.two_cores 400 1`.

The numbers are of examples and of rounds. The model of `digits-gaussian`, without its noise, is
evaluated by the whole cascade at an ℓ∞ radius at which branch and bound decides half of the images,
each in a tenth of a second to a few seconds. In each round it is done by one process, by two
(`--workers 2`), and twice by two single processes that know nothing of each other, which is what
this machine allows: its cores share memory and caches, and perhaps their heat. Every process has
one thread. The seconds are those of the clock, the start of the processes among them, so nothing
else should run meanwhile; those of processors say how much more two processes had to do.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from leaderboard.__main__ import run
from leaderboard.settings import setting
from tests.fixtures.project import CHECKOUT, new_project

AIM = 1.7
SLUG, PLACE = "subject", "digits-linf-0.065"
SMOOTHED = CHECKOUT / "submissions" / "digits-gaussian"
SETTING = """dataset = "digits"
norm = "linf"
radius = "0.065"
examples = "all"
seconds = 10
"""
FORMS = {"one": ("1",), "two": ("2",), "apart": ("1", "1")}
"""Of commands at the same time, the workers of each."""


class Taken(NamedTuple):
    """Seconds of the clock, and of processors."""

    clock: float
    processors: float


def taken(folder: Path, workers: Sequence[str], examples: int) -> Taken:
    """What commands take that begin at the same time, each with so many workers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "tests.benchmarks.two_cores", "in"]
    began, before = time.monotonic(), os.times()
    started = [
        subprocess.Popen(
            [*command, str(folder), count, str(examples), str(number)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for number, count in enumerate(workers)
    ]
    assert [process.wait() for process in started] == [0] * len(started)
    clock, after = time.monotonic() - began, os.times()
    spent = after.children_user - before.children_user
    return Taken(clock, spent + after.children_system - before.children_system)


def made(folder: Path) -> Path:
    """Make a project with the submission, and a folder with the one setting."""
    project = new_project(folder / "project")
    place = project.submissions / SLUG
    shutil.copytree(SMOOTHED, place)
    manifest = (place / "submission.toml").read_text()
    (place / "submission.toml").write_text(manifest.partition("[smoothing]")[0])
    (folder / "settings").mkdir()
    (folder / "settings" / f"{PLACE}.toml").write_text(SETTING)
    return folder


def evaluate(folder: Path, workers: str, examples: str, number: str) -> int:
    """What each command does: evaluate the submission there, and write a folder of its own."""
    vars(setting)["FOLDER"] = folder / "settings"
    os.chdir(folder / "project")
    typed = ["run", SLUG, "--setting", PLACE, "--examples", examples, "--fresh"]
    return run([*typed, "--workers", workers, "--results", str(folder / number)])


def main(examples: int, rounds: int) -> None:
    """Measure by turns, and print the ratios of the best."""
    best = dict.fromkeys(FORMS, Taken(float("inf"), float("inf")))
    with tempfile.TemporaryDirectory() as name:
        folder = made(Path(name))
        for _ in range(rounds):
            for form, workers in FORMS.items():
                found = taken(folder, workers, examples)
                best[form] = min(best[form], found)
                print(f"{form}: {found.clock:.1f} s, {found.processors:.1f} of processors")
                sys.stdout.flush()
    one, two, apart = (best[form] for form in FORMS)
    print(f"{one.clock / two.clock:.2f} times as fast with two (aim: {AIM}), on", os.cpu_count())
    print(f"{2 * one.clock / apart.clock:.2f} is what two processes apart reach")
    print(f"{two.processors / one.processors - 1:.1%} more seconds of processors with two")


if __name__ == "__main__":
    if sys.argv[1] == "in":
        sys.exit(evaluate(Path(sys.argv[2]), *sys.argv[3:]))
    main(int(sys.argv[1]), int(sys.argv[2]))
