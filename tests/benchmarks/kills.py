"""Kill evaluations at random until they are done anyway: `python -m tests.benchmarks.kills 100 20`.

The numbers are of SIGKILLs, of drivers and their workers, and of damaged files of finished shards;
evaluations are begun until so many have been dealt out. After each, every row must be there, once,
and be that of an undisturbed process (seconds aside, and bounds to nine digits).
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from leaderboard.__main__ import run
from leaderboard.common.project import Project
from leaderboard.results.store import read
from tests.fixtures.kills import Killing, small_shards
from tests.fixtures.project import L2, LINF, new_project

EXAMPLES = 90
COMMAND = ["run", "--setting", LINF, "--setting", L2, "--examples", str(EXAMPLES)]
COMMAND += ["--samples", "200"]


def rows_of(project: Project) -> dict[Path, pd.DataFrame]:
    """What is stored, by its place."""
    paths = [path for path in project.results.rglob("*") if path.is_file()]
    return {path.relative_to(project.results): read(path).rows for path in paths}


def undisturbed(root: Path) -> dict[Path, pd.DataFrame]:
    """The rows of one process that nobody kills."""
    project, here = new_project(root), Path.cwd()
    os.chdir(project.root)
    try:
        assert run(COMMAND) == 0
    finally:
        os.chdir(here)
    return rows_of(project)


def check(found: dict[Path, pd.DataFrame], whole: dict[Path, pd.DataFrame]) -> int:
    """Count the rows, every one of which is there, once, and as it is in `whole`."""
    assert found.keys() == whole.keys(), found.keys() ^ whole.keys()
    for path, rows in found.items():
        assert rows["example"].tolist() == [*range(EXAMPLES)]
        one, other = (table.drop(columns="seconds") for table in (rows, whole[path]))
        pd.testing.assert_frame_equal(one, other, rtol=1e-9)
    return sum(map(len, found.values()))


def main(kills: int, damages: int, seed: int = 19) -> None:
    """Deal them out, and print what happened."""
    draw = random.Random(seed)
    small_shards()
    dealt = {"evaluations": 0, "rows": 0, "drivers": 0, "workers": 0, "damaged": 0}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole = undisturbed(Path(folder) / "undisturbed")
        while (killed := dealt["drivers"] + dealt["workers"]) < kills or dealt["damaged"] < damages:
            project = new_project(Path(folder) / str(dealt["evaluations"]))
            left = max(kills - killed, 1), damages - dealt["damaged"]
            killing = Killing(project, [*COMMAND, "--workers", "2"], draw, *left)
            assert killing.to_its_end() == 0, killing.story.log
            assert killing.story.unreadable == []
            dealt["rows"] += check(rows_of(project), whole)
            dealt["evaluations"] += 1
            for name in ("drivers", "workers", "damaged"):
                dealt[name] += getattr(killing.story, name)
            print(dealt, f"{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
