"""What the machinery costs beside the evaluators: `python -m tests.benchmarks.overhead [SHARDS]`.

Each shard takes one second of processor time by itself, of which the machinery knows nothing; what
the whole command takes beyond that, in this process, is planning, writing, joining and telling.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from leaderboard.__main__ import run
from leaderboard.evaluation import workers
from leaderboard.evaluation.shard import evaluate
from leaderboard.settings import question
from leaderboard.settings.question import Shard
from tests.fixtures.project import LINF, PLAIN, new_project

UNIT = 1.0
SIZE = 10
_units = [0.0]


def one_unit(shard: Shard) -> pd.DataFrame:
    """Evaluate, and be busy until a unit is over."""
    began = time.process_time()
    rows = evaluate(shard)
    while time.process_time() - began < UNIT:
        pass
    _units[0] += time.process_time() - began
    return rows


def main(shards: int = 20) -> None:
    """Print the processor time of the machinery as a share of the evaluators'."""
    question.LARGEST_SHARD = SIZE
    vars(workers)["evaluate"] = one_unit
    command = ["run", PLAIN, "--setting", LINF, "--fresh", "--examples"]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(new_project(Path(folder)).root)
        assert run([*command, str(SIZE)]) == 0  # once, so that everything is imported
        _units[0] = 0.0
        began = time.process_time()
        assert run([*command, str(SIZE * shards)]) == 0
        taken = time.process_time() - began
    print(f"{_units[0]:.2f} s of evaluators, {taken - _units[0]:.2f} s of machinery")
    print(f"{(taken - _units[0]) / _units[0]:.1%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
