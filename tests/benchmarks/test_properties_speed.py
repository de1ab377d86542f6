"""Properties of VNN-COMP, as many as a table names: answers and seconds, beside the known answers.

`CERTBOARD_INSTANCES` names tables `onnx,vnnlib,timeout` with a fourth column `answer`, `sat` or
`unsat` (empty where nobody knows), separated as in `PATH`; paths in them are relative to each.
Benchmarks themselves are large and others', so none is part of the project. For each instance the
report holds the answer, the known one and processor seconds; a wrong answer fails.
"""

import csv
import os
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from leaderboard.vnncomp.instance import Answer, Instance, Word
from leaderboard.vnncomp.instances import InstanceRow, read_instances
from leaderboard.vnncomp.verify import verify

VARIABLE = "CERTBOARD_INSTANCES"
KNOWN_COLUMN = 3


def listed() -> list[tuple[Path, InstanceRow, str]]:
    """Each instance's folder, row and known answer."""
    found = []
    for name in os.environ.get(VARIABLE, "").split(os.pathsep):
        if name:
            path = Path(name).resolve()
            with path.open(newline="") as file:
                lines = [line for line in csv.reader(file) if line]
            rows = read_instances(path, None)
            known = [line[KNOWN_COLUMN].strip() for line in lines[-len(rows) :]]
            found += [(path.parent, *pair) for pair in zip(rows, known, strict=True)]
    return found


LISTED = listed()


@pytest.mark.skipif(not LISTED, reason=f"{VARIABLE} names no table of instances")
@pytest.mark.parametrize(
    ("folder", "row", "known"), LISTED, ids=[f"{f.name} {r.title}" for f, r, _ in LISTED]
)
def test_no_answer_is_wrong(
    benchmark: BenchmarkFixture, folder: Path, row: InstanceRow, known: str
) -> None:
    started = time.process_time()
    instance = Instance(folder / row.onnx, folder / row.vnnlib)

    def asked() -> Answer:
        return verify(instance, time.monotonic() + row.seconds)

    answer: Answer = benchmark.pedantic(asked)  # type: ignore[no-untyped-call]
    benchmark.extra_info["answer"] = answer.word.value
    benchmark.extra_info["known"] = known
    benchmark.extra_info["processor seconds"] = round(time.process_time() - started, 1)
    if known:
        assert answer.word in (Word(known), Word.UNKNOWN, Word.TIMEOUT)
