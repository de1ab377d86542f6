"""A website built again after one new row: `python -m tests.benchmarks.rebuild 1000 3`.

The numbers are of made-up submissions and of rounds. The website is built from nothing, with an
empty cache; then each round changes one row of a middling submission and builds again. Printed are
the seconds of each stage, of the clock and of this process; MkDocs is a process of its own, and
writes while this one does. At last the files are compared with those of a build from nothing.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leaderboard.common.project import Project
from leaderboard.results.kept import VARIABLE
from leaderboard.results.store import read, stored_paths, write
from leaderboard.website import build as building
from leaderboard.website.build import build
from tests.fixtures.thousand import thousand

AIM = 10.0
STAGES = ("read_sources", "plan", "write_pages", "run_mkdocs", "write_files")


def change_row(project: Project, round_: int) -> Path:
    """Measure one example of one submission anew, as far as its seconds tell."""
    paths = stored_paths(project)
    path = paths[len(paths) // 2]
    result = read(path)
    rows = result.rows.copy()
    rows.loc[0, "seconds"] = 1.0 + round_
    write(path, rows, result.provenance)
    return path


@contextmanager
def timed() -> Iterator[dict[str, tuple[float, float]]]:
    """Seconds of each stage meanwhile, of the clock and of its thread."""
    found: dict[str, tuple[float, float]] = {}
    kept = {name: getattr(building, name) for name in STAGES}

    def measured(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            began, spent = time.perf_counter(), time.thread_time()
            try:
                return stage(*given, **named)
            finally:
                found[name] = time.perf_counter() - began, time.thread_time() - spent

        return run

    vars(building).update({name: measured(name, stage) for name, stage in kept.items()})
    try:
        yield found
    finally:
        vars(building).update(kept)


def built(project: Project, told: str) -> float:
    """Build, print what each stage took, and return the seconds of the clock."""
    before = os.times()
    with timed() as stages:
        seconds = build(project).seconds
    after = os.times()
    own, theirs = (
        getattr(after, f"{who}user") + getattr(after, f"{who}system")
        - getattr(before, f"{who}user") - getattr(before, f"{who}system")
        for who in ("", "children_")
    )  # fmt: skip
    print(f"{told}: {seconds:.1f} s ({own:.1f} s of this process, {theirs:.1f} s of MkDocs)")
    for name, (clock, thread) in stages.items():
        print(f"    {name:<13} {clock:5.1f} s ({thread:.1f} s of its thread)", flush=True)
    return seconds


def contents(folder: Path) -> dict[str, bytes]:
    """All published files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def main(submissions: int, rounds: int) -> None:
    """Build, change and build again, and compare with a build from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = f"{folder}/cache"
        made = thousand(Path(folder, "project"), submissions)
        print(f"{made.submissions} submissions, {made.results} evaluations")
        built(made.project, "from nothing")
        took = []
        for round_ in range(rounds):
            change_row(made.project, round_)
            took.append(built(made.project, "after a new row"))
        print(f"least: {min(took):.1f} s (aim: {AIM:.0f})")
        again = contents(made.project.public)
        os.environ[VARIABLE] = ""
        made.project.public.rename(f"{folder}/before")
        built(made.project, "from nothing, without what is kept")
        assert again == contents(made.project.public)
        print(f"{len(again)} files, the same byte for byte")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
