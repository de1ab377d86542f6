"""`certboard certify --evidence` and `certboard recheck`, as a user types them."""

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from evaluators import recheck as recheck_module
from evaluators.certificate import Certificate, Refutation
from evaluators.evaluator import Evaluator
from evaluators.network import Network
from evaluators.onnx_runtime import Runtime
from evaluators.problem import Ball, Problem
from evaluators.replay import why_not_replayed
from evaluators.verdict import Status, Verdict
from leaderboard import evidence, run
from leaderboard.project import Project
from tests.fixtures.certificates import Claim, Maker
from tests.fixtures.project import MODEL
from tests.leaderboard.conftest import Certboard


@dataclass(frozen=True)
class Proving(Evaluator):
    """Certifies what the tests' own maker of certificates can prove; the center refutes nothing."""

    title: ClassVar[str] = "tests"
    version: ClassVar[str] = "1"
    accepts: ClassVar[type[Network]] = Network

    def solve(self, problem: Problem) -> list[Verdict]:
        assert problem.evidence
        return [self._solve(problem, row) for row in range(len(problem))]

    def _solve(self, problem: Problem, row: int) -> Verdict:
        region, label = problem.region, int(problem.labels[row])
        assert isinstance(region, Ball)
        assert isinstance(problem.network, Network)
        claim = Claim(problem.x[row], label, region.norm.value, region.radius)
        made = Maker(problem.network, claim, depth=1).make()
        if made is None:
            return Verdict(Status.UNKNOWN, label)
        return Verdict(Status.CERTIFIED, label, region.radius, margin=1e-9, certificate=made)


@pytest.fixture
def folder(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """Evidence about four digits: some of them certified, one classified wrongly."""
    monkeypatch.setattr(run, "make_evaluator", lambda question, network: Proving())
    outcome = certboard(*asked(), "--indices", INDICES, "--evidence", "evidence")
    assert outcome.code == 0, outcome.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "evidence"


INDICES = "4,7,42,69"


def asked(radius: str = "0.02") -> list[str]:
    return ["certify", MODEL, "--dataset", "digits", "--norm", "linf", "--radius", radius]


def rows_of(certboard: Certboard, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    outcome = certboard("recheck", MODEL, *arguments, "--json")
    assert outcome.code == code, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    assert list(found) == ["model", "rows"]
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def a_certificate(folder: Path) -> Path:
    return next(path for path in sorted(folder.iterdir()) if "witness" not in path.name)


def a_witness(folder: Path) -> Path:
    return next(folder.glob("*.witness.npz"))


def test_what_certify_wrote_is_accepted(certboard: Certboard, folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    rows = rows_of(certboard, "evidence")
    assert {Path(row["file"]).name for row in rows} == names
    assert all(row["accepted"] and not row["reason"] for row in rows)
    assert {row["kind"] for row in rows} == {"certificate", "witness"}
    proved = [row for row in rows if row["kind"] == "certificate"]
    assert all(row["margin"] > 0 and row["leaves"] >= 9 for row in proved)
    assert {(row["norm"], row["radius"]) for row in rows} == {("linf", "0.02")}


def test_files_are_told_in_the_order_of_the_examples(certboard: Certboard, folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.unlink() if "witness" in path.name else None
    numbers = [int(Path(row["file"]).stem) for row in rows_of(certboard, "evidence")]
    assert numbers == sorted(numbers)
    assert [str(number) for number in numbers] != sorted(map(str, numbers))


def test_exact_arithmetic_agrees(
    certboard: Certboard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(a_certificate(folder))
    monkeypatch.setattr(recheck_module, "_EXACT_WORK", 0)
    (rounded,), (exact,) = rows_of(certboard, name), rows_of(certboard, name, "--exact")
    assert (rounded["arithmetic"], exact["arithmetic"]) == ("float64", "exact")
    assert 0 <= exact["margin"] - rounded["margin"] < 1e-9


def test_the_table_has_a_line_for_each_file(certboard: Certboard, folder: Path) -> None:
    outcome = certboard("recheck", MODEL, "evidence")
    count = len(list(folder.iterdir()))
    assert outcome.code == 0
    assert outcome.out.count(" accepted ") == count + 1  # once as the column's name
    assert outcome.out.splitlines()[-1] == f"{count} of {count} files accepted"


def test_one_refusal_is_told_with_its_reason_and_exits_with_one(
    certboard: Certboard, folder: Path
) -> None:
    path = a_certificate(folder)
    made = Certificate.load(path)
    replace(made, radius=made.radius * 100).save(path)
    outcome = certboard("recheck", MODEL, "evidence")
    assert outcome.code == 1
    assert " refused " in outcome.out
    (line,) = outcome.err.strip().splitlines()
    assert line.startswith(f"certboard: evidence/{path.name}: refused: ")
    (row,) = rows_of(certboard, str(path), code=1)
    assert not row["accepted"]
    assert row["reason"] in line


def test_evidence_of_another_model_is_refused(certboard: Certboard, folder: Path) -> None:
    for path in (a_certificate(folder), a_witness(folder)):
        kind = Refutation if "witness" in path.name else Certificate
        replace(kind.load(path), model_sha256="0" * 64).save(path)
        (row,) = rows_of(certboard, str(path), code=1)
        assert "another model" in row["reason"]


def test_a_damaged_file_is_one_refusal(certboard: Certboard, folder: Path) -> None:
    path = a_certificate(folder)
    path.write_bytes(path.read_bytes()[:-100])
    rows = rows_of(certboard, "evidence", code=1)
    (row,) = [row for row in rows if not row["accepted"]]
    assert row["reason"] == "it is not a whole .npz file of plain arrays."
    assert len(rows) == len(list(folder.iterdir()))


def test_a_witness_outside_its_region_is_refused(certboard: Certboard, folder: Path) -> None:
    path = a_witness(folder)
    found = Refutation.load(path)
    assert found.x is not None
    moved = found.x.copy()
    moved.reshape(-1)[0] = 0.5
    nudged = moved.copy()
    nudged.reshape(-1)[0] += np.float32(1e-6)
    replace(found, x=moved, witness=nudged, radius=Fraction(1, 10**7)).save(path)
    (row,) = rows_of(certboard, str(path), code=1)
    assert row["reason"] == "the witness lies outside the region."


def test_a_witness_of_the_right_class_is_refused(certboard: Certboard, folder: Path) -> None:
    """The example of a certificate, said to refute its own label."""
    made = Certificate.load(a_certificate(folder))
    assert made.x is not None
    path = a_witness(folder)
    found = replace(Refutation.load(path), x=made.x, witness=made.x, label=made.label)
    found.save(path)
    (row,) = rows_of(certboard, str(path), code=1)
    assert row["reason"] == "onnxruntime classifies the witness as the label."


def test_places_without_evidence_are_told(certboard: Certboard, project: Project) -> None:
    (project.root / "empty").mkdir()
    for place, reason in (("empty", "no evidence"), ("missing", "no such file or folder")):
        outcome = certboard("recheck", MODEL, place)
        assert outcome.code == 1
        assert reason in outcome.sentence
    assert "no such file" in certboard("recheck", "missing.onnx", "empty").sentence


def test_evidence_goes_into_a_new_folder_only(certboard: Certboard, folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    outcome = certboard(*asked(), "--examples", "3", "--evidence", "evidence")
    assert outcome.code == 1
    assert "name a new folder" in outcome.sentence
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_witness_that_onnxruntime_does_not_confirm_decides_nothing(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "onnxruntime classifies the witness as the label"
    asked_for = [*asked("0.3"), "--examples", "40", "--json"]
    before = json.loads(certboard(*asked_for).out)
    assert before["counts"]["falsified"] > 0
    monkeypatch.setattr(evidence, "why_not_replayed", lambda runtime, x, label: reason)
    after = json.loads(certboard(*asked_for).out)
    assert after["counts"]["falsified"] == 0
    assert after["counts"]["certified"] == before["counts"]["certified"]
    assert {row["note"] for row in after["rows"] if row["status"] == "unknown"} >= {reason}


def test_onnxruntime_decides_about_a_witness_without_tolerance(project: Project) -> None:
    runtime = Runtime((project.root / MODEL).read_bytes())
    x = np.random.default_rng(0).random((1, 8, 8), dtype=np.float32)
    logits = runtime(x).reshape(-1)
    best = int(logits.argmax())
    assert why_not_replayed(runtime, x, best) == "onnxruntime classifies the witness as the label"
    assert why_not_replayed(runtime, x, (best + 1) % 10) == ""
    assert "not finite" in why_not_replayed(runtime, np.full_like(x, np.nan), best)
