"""Linear bounds beside those of auto_LiRPA in one run; each answer comes from its own process.

CERTBOARD_AUTO_LIRPA names an interpreter in which auto_LiRPA and onnx2torch are installed; without
it the peer's columns are left out. Prints a table.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from evaluators.evaluator import predict
from evaluators.network.network import Network
from tests.fixtures.published import RADII, question

PEER = os.environ.get("CERTBOARD_AUTO_LIRPA", "")
EXAMPLES = {"ibp": 50, "crown-ibp": 50, "crown": 50, "alpha-crown": 10}
ROUNDS = {"ibp": 3, "crown-ibp": 3, "crown": 3, "alpha-crown": 1}
PEERS = Path(__file__).parent / "peers"


class Answer(NamedTuple):
    """One run: processor seconds, the margins, and the peak memory of the process."""

    seconds: float
    margins: list[float]
    megabytes: int


HEAD = """
| method | network | examples | seconds, ours / peer | least margins, mean | MB |
| --- | --- | --- | --- | --- | --- |"""


def line(method: str, model: str, answers: list[Answer]) -> str:
    """One line of the table."""
    cells = (
        " / ".join(f"{answer.seconds:.3f}" for answer in answers),
        " / ".join(f"{np.mean(answer.margins):.3f}" for answer in answers),
        " / ".join(str(answer.megabytes) for answer in answers),
    )
    return f"| `{method}` | {model} | {len(answers[0].margins)} | {' | '.join(cells)} |"


@pytest.fixture(scope="module", autouse=True)
def table() -> None:
    """Print the head of the table."""
    print(HEAD)


def run(command: list[str], method: str, model: Path, examples: Path) -> Answer:
    told = subprocess.run(
        [*command, method, str(model), str(examples)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    found: dict[str, Any] = json.loads(told.stdout.strip().splitlines()[-1])
    return Answer(**found)


@pytest.mark.parametrize("model", RADII)
@pytest.mark.parametrize("method", EXAMPLES)
@pytest.mark.usefixtures("shared_data")
def test_bounds_beside_a_peer(
    benchmark: BenchmarkFixture, shared: Path, tmp_path: Path, model: str, method: str
) -> None:
    problem = question(shared, model, list(range(min(2 * EXAMPLES[method], 100))))
    assert isinstance(problem.network, Network)
    predicted = predict(problem.network, problem.x)
    right = [row for row, label in enumerate(problem.labels.tolist()) if predicted[row] == label]
    problem = problem.select(right[: EXAMPLES[method]])
    examples = tmp_path / "examples.npz"
    radius = np.array(RADII[model])
    np.savez(examples, x=problem.x.numpy(), labels=problem.labels.numpy(), radius=radius)
    file = shared / "models" / f"{model}.onnx"
    commands = [[sys.executable, "-m", "tests.benchmarks.peers.ours"]]
    commands += [[PEER, str(PEERS / "auto_lirpa.py")]] if PEER else []
    # In turns, so that what else the machine does meets both.
    rounds = [
        [run(command, method, file, examples) for command in commands]
        for _ in range(ROUNDS[method])
    ]
    best = [min(answers) for answers in zip(*rounds, strict=True)]
    print(line(method, model, best), flush=True)
    benchmark.extra_info["seconds"] = [answer.seconds for answer in best]
    benchmark(lambda: None)
