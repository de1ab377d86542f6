"""Ranking very many rows: seconds and memory of reading, counting and ranking all of them.

Half a thousand evaluations or more of 50,000 examples each, as ImageNet has; drawn from the
fixture's rows, which repeat. `CERTBOARD_ROWS` says how many rows there are altogether (default
10^6, a second; 10^8 takes some minutes to make and some gigabytes of disk while it runs).
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pytest_benchmark.fixture import BenchmarkFixture

from leaderboard.results.store import PROVENANCE_KEY, SCHEMA, Provenance, stored_paths
from tests.fixtures.thousand import thousand

ROWS = int(os.environ.get("CERTBOARD_ROWS", "1_000_000"))
EACH = 50_000
PER_SUBMISSION = 5.18
"""Evaluations of one of the fixture's submissions, on average."""

RANK = """
import resource, sys, time
from pathlib import Path
from leaderboard.board.files import read_sources
from leaderboard.common.project import Project
began, spent = time.perf_counter(), time.process_time()
sources = read_sources(Project(Path(sys.argv[1])))
board = sources.board()
assert not sources.problems(), sources.problems()[:3]
lines = [line for name in board.settings for line in board.re_evaluated(name)]
print(len(lines), sum(line.examples for line in lines), time.perf_counter() - began,
      time.process_time() - spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def enlarge(path: Path) -> None:
    """Repeat a stored file's rows until there are `EACH`, under indices of their own."""
    table = pq.read_table(path)
    origin = Provenance.model_validate_json(table.schema.metadata[PROVENANCE_KEY])
    table = table.take(np.arange(EACH) % len(table))
    place = SCHEMA.get_field_index("example")
    table = table.set_column(place, SCHEMA.field("example"), pa.array(np.arange(EACH)))
    told = origin.model_copy(update={"total": EACH}).model_dump_json()
    table = table.replace_schema_metadata({PROVENANCE_KEY: told.encode()})
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def test_rows_are_ranked_in_bounded_memory(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    made = thousand(tmp_path / "project", -(-ROWS // int(EACH * PER_SUBMISSION)), examples=1000)
    for path in stored_paths(made.project):
        enlarge(path)
    asked = [sys.executable, "-c", RANK, str(made.project.root)]
    run: Any = benchmark.pedantic
    options = {"check": True, "capture_output": True, "text": True}
    done = run(subprocess.run, args=(asked,), kwargs=options, rounds=1)
    files, rows, seconds, processor, megabytes = map(float, done.stdout.split())
    print(
        f"\n{rows:,.0f} rows in {files:,.0f} files: ranked in {seconds:.1f} s ({processor:.1f} s of"
        f" the processor), peak {megabytes:,.0f} MB"
    )
    assert rows == EACH * made.results
    assert megabytes < 4000
