"""What one run costs: it follows from the submission that is run, not from how many there are."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evaluators.cascade import default_stages
from leaderboard.common.project import Project
from leaderboard.datasets import files
from leaderboard.evaluation import evaluator, networks
from tests.fixtures.networks import perceptron
from tests.fixtures.project import L2, LINF, MODEL, PLAIN, bent, submit
from tests.leaderboard.conftest import Certboard

OTHERS = 30
COMMAND = ("run", PLAIN, "--setting", LINF, "--examples", "2", "--fresh")


@dataclass
class Cost:
    """What was done, by the path that it was done to."""

    hashes: Counter[str] = field(default_factory=Counter)
    manifests: Counter[str] = field(default_factory=Counter)
    networks: Counter[str] = field(default_factory=Counter)
    evaluators: int = 0


@pytest.fixture
def crowd(project: Project) -> Project:
    """The project with thirty more submissions."""
    for number in range(OTHERS):
        submit(project, f"other-{number}", perceptron((1, 8, 8), 8 + number))
    return project


@pytest.fixture
def cost(project: Project, monkeypatch: pytest.MonkeyPatch) -> Cost:
    """Counts hashes and readings of models, readings of manifests, and evaluators made."""
    found = Cost()
    digest = hashlib.file_digest
    model = networks._read

    def of(path: object) -> str:
        return Path(str(path)).resolve().relative_to(project.root.resolve()).as_posix()

    def counted_digest(file: Any, name: str) -> Any:
        if str(file.name).endswith(".onnx"):
            found.hashes[of(file.name)] += 1
        return digest(file, name)

    def counted(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def counting(path: Path) -> Any:
            if path.name == "submission.toml":
                found.manifests[of(path)] += 1
            return read(path)

        return counting

    def counted_model(content: bytes, path: Path, *rest: Any, **named: Any) -> Any:
        found.networks[of(path)] += 1
        return model(content, path, *rest, **named)

    def counted_stages(complete: bool = True) -> Any:
        found.evaluators += 1
        return default_stages(complete)

    monkeypatch.setattr(hashlib, "file_digest", counted_digest)
    monkeypatch.setattr(Path, "read_bytes", counted(Path.read_bytes))
    monkeypatch.setattr("leaderboard.evaluation.evaluator.default_stages", counted_stages)
    monkeypatch.setattr(networks, "_read", counted_model)
    monkeypatch.setattr(files, "SETTLED", 0)
    evaluator.plain_evaluator.cache_clear()
    return found


def test_a_run_reads_its_own_submission_once_and_no_other(
    crowd: Project, certboard: Certboard, cost: Cost
) -> None:
    assert len(list(crowd.submissions.iterdir())) == OTHERS + 2
    assert certboard(*COMMAND).code == 0
    assert cost.manifests == {f"submissions/{PLAIN}/submission.toml": 1}
    assert cost.hashes == {MODEL: 1}
    assert cost.networks == {MODEL: 1}
    assert cost.evaluators == 1


def test_a_run_in_several_settings_reads_the_model_once(
    project: Project, certboard: Certboard, cost: Cost
) -> None:
    several = ("--setting", LINF, "--setting", "digits-linf-0.05", "--setting", L2)
    assert certboard("run", PLAIN, *several, "--examples", "1").code == 0
    assert cost.networks == {MODEL: 1}


def test_a_run_still_flags_a_network_that_is_another_s_and_reads_only_that_one(
    crowd: Project, certboard: Certboard, cost: Cost
) -> None:
    submit(crowd, "first", bent(), owner="somebody-else")
    assert certboard("inspect", "first", "other-1").code == 0
    for counts in (cost.manifests, cost.networks):
        counts.clear()
    outcome = certboard(*COMMAND)
    assert f"{PLAIN}: flag: Its answers are those of 'first' (first) (rule same-model)." in (
        outcome.err
    )
    assert {*cost.manifests} == {f"submissions/{name}/submission.toml" for name in (PLAIN, "first")}
    assert {*cost.networks} == {MODEL}


@pytest.mark.parametrize("settled", [0, 2])
def test_a_file_that_was_touched_is_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: float
) -> None:
    """Even if it has the same size, and the time that it had."""
    monkeypatch.setattr(files, "SETTLED", settled)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    before = path.stat()
    assert files.sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # until the clock has moved on
        path.write_bytes(b"two")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files.sha256_of(path) == hashlib.sha256(b"two").hexdigest()
