"""Kill evaluations at random until they are done anyway: `python -m tests.benchmarks.kills 100 20`.

The numbers are of kills, of drivers and their workers, and of damaged files of finished shards;
evaluations are begun until so many have been dealt out. After each, every row must be there, once,
and be that of an undisturbed process (seconds aside, and bounds to nine digits).

A third word says where 20 submissions are evaluated instead of two: `ray`, on a cluster of three
nodes of which those but the head are lost and added again; or `slurm`, by jobs of submitit's local
executor: `python -m tests.benchmarks.kills 15 0 ray`.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from leaderboard.__main__ import run
from leaderboard.common.project import Project
from leaderboard.results.store import read
from tests.fixtures.kills import Killing, small_shards
from tests.fixtures.kills_clusters import AsJobs, OnRay, three_nodes
from tests.fixtures.project import L2, LINF, bent, linear, new_project, submit

EXAMPLES = {"local": 90, "ray": 12, "slurm": 6}
APART = {"local": 2, "ray": 12, "slurm": 8}
"""Shards at most between two kills."""
SUBMISSIONS = 20
KINDS: dict[str, Callable[..., Killing]] = {"local": Killing, "ray": OnRay, "slurm": AsJobs}


def command(executor: str) -> list[str]:
    """What is typed after `certboard`, without its workers."""
    typed = ["run", "--setting", LINF, "--setting", L2, "--examples", str(EXAMPLES[executor])]
    return [*typed, "--samples", "200"]


def project_for(executor: str, root: Path) -> Project:
    """Two submissions, or on a cluster 20: half of them plain, half smoothed, no two alike."""
    project = new_project(root)
    for number in range(2, SUBMISSIONS if executor != "local" else 2):
        # Names that differ in a digit only would be refused.
        slug, part = chr(ord("a") + number) * 6, number / SUBMISSIONS
        if number % 2:
            submit(project, slug, linear(1 + part / 2), sigma="0.25")
        else:
            submit(project, slug, bent(0.3 + part))
    return project


def rows_of(project: Project) -> dict[Path, pd.DataFrame]:
    """What is stored, by its place."""
    paths = [path for path in project.results.rglob("*") if path.is_file()]
    return {path.relative_to(project.results): read(path).rows for path in paths}


def undisturbed(executor: str, root: Path) -> dict[Path, pd.DataFrame]:
    """The rows of one process that nobody kills."""
    project, here = project_for(executor, root), Path.cwd()
    os.chdir(project.root)
    try:
        assert run(command(executor)) == 0
    finally:
        os.chdir(here)
    return rows_of(project)


def check(found: dict[Path, pd.DataFrame], whole: dict[Path, pd.DataFrame], examples: int) -> int:
    """Count the rows, every one of which is there, once, and as it is in `whole`."""
    assert found.keys() == whole.keys(), found.keys() ^ whole.keys()
    for path, rows in found.items():
        assert rows["example"].tolist() == [*range(examples)]
        one, other = (table.drop(columns="seconds") for table in (rows, whole[path]))
        pd.testing.assert_frame_equal(one, other, rtol=1e-9)
    return sum(map(len, found.values()))


def main(executor: str, kills: int, damages: int, seed: int = 19) -> None:
    """Deal them out, and print what happened."""
    draw = random.Random(seed)
    small_shards()
    dealt = {"runs": 0, "evaluations": 0, "rows": 0, "drivers": 0, "workers": 0, "damaged": 0}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        whole = undisturbed(executor, folder / "undisturbed")
        # What the killings of that kind need besides.
        cluster = {"cluster": stack.enter_context(three_nodes())} if executor == "ray" else {}
        began = time.monotonic()
        while (killed := dealt["drivers"] + dealt["workers"]) < kills or dealt["damaged"] < damages:
            project = project_for(executor, folder / str(dealt["runs"]))
            left = max(kills - killed, 1), damages - dealt["damaged"], APART[executor]
            typed = [*command(executor), "--workers", "2" if executor == "local" else executor]
            killing = KINDS[executor](project, typed, draw, *left, **cluster)
            assert killing.to_its_end() == 0, killing.story.log
            assert killing.story.unreadable == []
            dealt["rows"] += check(rows_of(project), whole, EXAMPLES[executor])
            dealt["runs"] += 1
            dealt["evaluations"] += len(whole)
            for name in ("drivers", "workers", "damaged"):
                dealt[name] += getattr(killing.story, name)
            print(dealt, f"{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main((sys.argv[3:] or ["local"])[0], *map(int, sys.argv[1:3]))
