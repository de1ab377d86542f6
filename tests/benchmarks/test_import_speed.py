"""Reading a file, with all that it is compared with, beside onnxruntime's loading and one run.

pytest tests/benchmarks/test_import_speed.py --override-ini addopts= --benchmark-only
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from evaluators.onnx.reader import import_onnx
from evaluators.onnx.runtime import Runtime

SUBMISSIONS = Path(__file__).resolve().parents[2] / "submissions"
ROUNDS = 8


def best(function: Callable[[], object]) -> float:
    """Processor seconds of the fastest of several calls."""
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize("slug", ["digits-ibp", "mnist-ibp", "cifar10-consistency-15"])
def test_reading_a_file(benchmark: BenchmarkFixture, slug: str) -> None:
    path = SUBMISSIONS / slug / "model.onnx"
    shape = import_onnx(path).input_shape

    def deployed() -> None:
        Runtime(path.read_bytes())(np.zeros(shape, dtype=np.float32))

    ours, theirs = best(lambda: import_onnx(path)), best(deployed)
    benchmark.extra_info["ratio"] = ours / theirs
    print(f"\n{slug}: {ours * 1e3:.1f} ms, {ours / theirs:.1f} times onnxruntime's load and run")
    benchmark(import_onnx, path)
