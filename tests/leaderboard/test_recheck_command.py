"""`certboard certify --evidence` and `certboard recheck`, as a user types them."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluators import evaluator
from evaluators.evidence import proofs as making
from evaluators.evidence.archive import REFUTING, Archive, write_archive
from evaluators.onnx.runtime import Runtime
from evaluators.question.certificate import Certificate, Refutation
from evaluators.recheck.checker import Recheck
from evaluators.recheck.methods import recheck_claims
from evaluators.recheck.replay import why_not_replayed
from leaderboard.__main__ import run
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import load_split
from leaderboard.evaluation import evidence
from tests.fixtures.once import once
from tests.fixtures.project import MODEL, certify, new_project
from tests.leaderboard.conftest import Certboard

EVIDENCE = "digits.evidence"
COUNT = "40"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of evidence with claims of every method, certificates and witnesses."""
    return once(tmp_path_factory, "evidence", _make) / EVIDENCE


def _make(root: Path) -> None:
    # Each method is kept from proving some of what it could, so that all of them are needed.
    turns = {"ibp": count(), "crown-ibp": count(), "crown": count()}

    def sparing(model: Any, balls: Any, method: str, **options: Any) -> list[Recheck]:
        found = recheck_claims(model, balls, method, **options)
        turn = turns[method]
        return [replace(one, accepted=one.accepted and next(turn) % 2 == 0) for one in found]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(new_project(root).root)
        patch.setattr(making, "recheck_claims", sparing)
        assert run(certify(radius="0.1", examples=COUNT, evidence=EVIDENCE)) == 0


@pytest.fixture
def whole(project: Project, made: Path) -> Archive:
    """That evidence, beside the model in a project of this test's own."""
    return Archive(Path(shutil.copy(made, project.root)))


@pytest.fixture
def archive(whole: Archive) -> Archive:
    """Two lines of each method of that evidence: all of them take two seconds to check."""
    kept = {of(whole, method, place) for method in whole.counts for place in (0, 1)}
    changed(whole, lines=left_out(whole, *kept))
    return Archive(whole.path)


def rows_of(
    certboard: Certboard, *arguments: str, code: int = 0
) -> tuple[dict[int, dict[str, Any]], str]:
    """What came of each example, and what was said of those refused."""
    outcome = certboard("recheck", *arguments, "--json")
    assert outcome.code == code, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return {row["example"]: row for row in found["rows"]}, outcome.err


def changed(archive: Archive, **lines: Any) -> None:
    """Write a file again with other lines or contents, by example; None leaves one out."""
    wanted = dict(archive.lines)
    contents = {
        line.example: archive.content(line.example)
        for line in wanted.values()
        if line.method in ("certificate", "witness")
    }
    about = replace(archive.about, **lines.pop("about", {}))
    for example, change in lines.pop("lines", {}).items():
        del wanted[example]
        if change is not None:
            wanted[example] = replace(archive.lines[example], **change)
    contents |= lines.pop("contents", {})
    assert not lines
    kept = [x for x in wanted.values() if x.method in ("certificate", "witness")]
    files = [(x.example, contents[x.example]) for x in sorted(kept)]
    write_archive(archive.path, about, [*wanted.values()], files)


def left_out(archive: Archive, *kept: int) -> dict[int, None]:
    """The changes that leave these lines alone."""
    return dict.fromkeys(archive.lines.keys() - set(kept))


def of(archive: Archive, method: str, place: int = 0) -> int:
    return [line.example for line in archive.lines.values() if line.method == method][place]


@pytest.mark.slow
def test_what_certify_wrote_is_accepted(certboard: Certboard, whole: Archive) -> None:
    archive = whole
    assert {"ibp", "crown", "certificate", "witness", "misread"} <= {*archive.counts}
    rows, _ = rows_of(certboard, MODEL, EVIDENCE)
    assert set(rows) == set(archive.lines)
    for example, row in rows.items():
        assert row["accepted"]
        assert row["method"] == archive.lines[example].method
        assert row["method"] in REFUTING or row["margin"] > 0
    outcome = certboard("recheck", MODEL, EVIDENCE)
    witnesses = sum(archive.counts[method] for method in REFUTING)
    proved = len(rows) - witnesses
    assert f"{proved} of {proved} certified examples proved (" in outcome.out
    assert f"{witnesses} of {witnesses} counterexamples replayed" in outcome.out


def test_certify_says_how_many_certified_examples_have_evidence(
    certboard: Certboard, project: Project
) -> None:
    outcome = certboard(*certify(radius="0.01", examples="10", evidence=EVIDENCE))
    assert f"{EVIDENCE}: 9 of 9 certified examples have evidence: 9 ibp" in outcome.err
    assert not [path for path in project.root.iterdir() if path.name.startswith(f".{EVIDENCE}")]


def test_the_evidence_is_the_same_on_any_number_of_workers(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    certboard(*certify(radius="0.05", examples="6", evidence=EVIDENCE))
    monkeypatch.setattr("leaderboard.settings.question.LARGEST_SHARD", 2)
    certboard(*certify(radius="0.05", examples="6", evidence="parts.evidence"))
    one, several = Archive(Path(EVIDENCE)), Archive(Path("parts.evidence"))
    assert (one.about, one.lines) == (several.about, several.lines)


def test_exact_arithmetic_agrees(certboard: Certboard, archive: Archive) -> None:
    example = of(archive, "ibp")
    changed(archive, lines={other: None for other in archive.lines if other != example})
    (rounded,), (exact,) = (
        rows_of(certboard, MODEL, EVIDENCE, *options)[0].values() for options in ((), ("--exact",))
    )
    assert 0 <= exact["margin"] - rounded["margin"] < 1e-9


def test_a_method_that_does_not_prove_a_claim_is_refused(
    certboard: Certboard, archive: Archive
) -> None:
    hard = [x.example for x in archive.lines.values() if x.method in ("crown", "certificate")]
    changed(archive, lines={example: {"method": "ibp"} for example in hard})
    rows, _ = rows_of(certboard, MODEL, EVIDENCE, code=1)
    refused = [row for row in rows.values() if not row["accepted"]]
    assert refused
    assert all(row["reason"] == "intervals do not prove a positive margin." for row in refused)


FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "radius": ({"radius": Fraction(1, 1)}, "prove|follow|radius is"),
    "model": ({"model_sha256": "0" * 64}, "another model (SHA-256)"),
    "data": ({"data_sha256": "0" * 64}, "another version of the data (SHA-256)"),
    "range": ({"low": 0.25}, "another lower end of the pixel range"),
    "norm": ({"norm": "l3"}, "no norm 'l3'"),
    "dataset": ({"dataset": "mnits"}, "mnits"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_evidence_that_is_about_something_else_is_refused(
    name: str, certboard: Certboard, archive: Archive
) -> None:
    change, reason = FORGERIES[name]
    changed(archive, about=change)
    outcome = certboard("recheck", MODEL, EVIDENCE)
    assert outcome.code == 1
    assert any(part in outcome.err for part in reason.split("|")), outcome.err


def test_a_wrong_label_is_refused_whatever_proves_it(
    certboard: Certboard, archive: Archive
) -> None:
    wrong = {of(archive, method) for method in ("ibp", "crown", "certificate", "witness")}
    labels = {example: (archive.lines[example].label + 1) % 10 for example in wrong}
    changed(archive, lines={example: {"label": label} for example, label in labels.items()})
    rows, said = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert {example for example, row in rows.items() if not row["accepted"]} == wrong
    for example in wrong:
        assert "but the data say" in rows[example]["reason"]
        assert f"example {example}: refused: " in said


def test_the_certificate_of_another_image_is_refused(certboard: Certboard, whole: Archive) -> None:
    archive, labels = whole, load_split("digits").labels
    holders = [x.example for x in archive.lines.values() if x.method == "certificate"]
    one, other = next(
        (a, b) for a in holders for b in archive.lines
        if a != b and labels[a] == labels[b] and archive.lines[b].method not in ("witness", "none")
    )  # fmt: skip
    changed(
        archive,
        lines={**left_out(archive, one, other), other: {"method": "certificate"}},
        contents={other: archive.content(one)},
    )
    rows, _ = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert rows[other]["reason"] == "it is about another image."
    assert sum(not row["accepted"] for row in rows.values()) == 1


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "radius": ({"radius": Fraction(1, 100)}, "its radius is"),
    "norm": ({"norm": "l2"}, "its norm is l2"),
    "range": ({"high": 0.5}, "its highest pixel is"),
    "model": ({"model_sha256": "0" * 64}, "another model"),
    "no model": ({"model_sha256": None}, "does not say which model"),
}


def test_a_certificate_that_claims_something_else_is_refused(
    certboard: Certboard, whole: Archive
) -> None:
    archive = whole
    lying = {of(archive, "certificate", place): name for place, name in enumerate(LIES)}
    made = {example: archive.evidence(Certificate, example) for example in lying}
    contents = {
        example: replace(made[example], **LIES[name][0]).content()
        for example, name in lying.items()
    }
    honest = (of(archive, "ibp"), of(archive, "witness"))
    changed(archive, lines=left_out(archive, *lying, *honest), contents=contents)
    rows, _ = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert {example for example, row in rows.items() if row["accepted"]} == {*honest}
    for example, name in lying.items():
        assert LIES[name][1] in rows[example]["reason"], name


def test_a_damaged_certificate_is_one_refusal(certboard: Certboard, archive: Archive) -> None:
    example = of(archive, "certificate")
    changed(archive, contents={example: archive.content(example)[:-100]})
    rows, _ = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert rows[example]["reason"] == "it is not a whole .npz file of plain arrays."
    assert sum(not row["accepted"] for row in rows.values()) == 1


def test_a_witness_outside_its_region_is_refused(certboard: Certboard, archive: Archive) -> None:
    example = of(archive, "witness")
    found = archive.evidence(Refutation, example)
    far = np.where(found.witness > 0.5, 0, 1).astype(np.float32)
    changed(archive, contents={example: replace(found, witness=far).content()})
    rows, _ = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert rows[example]["reason"] == "the witness lies outside the region."


def test_a_witness_of_the_right_class_is_refused(certboard: Certboard, archive: Archive) -> None:
    """The example itself of a certificate, said to refute its own label."""
    example = of(archive, "certificate")
    made = archive.evidence(Certificate, example)
    assert made.x is not None
    claim = {name: getattr(made, name) for name in ("norm", "radius", "label", "classes", "x")}
    forged = Refutation(**claim, witness=made.x, model_sha256=made.model_sha256)
    changed(archive, lines={example: {"method": "witness"}}, contents={example: forged.content()})
    rows, _ = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert rows[example]["reason"] == "onnxruntime classifies the witness as the label."


def test_an_example_that_is_read_rightly_is_not_said_to_be_misread(
    certboard: Certboard, archive: Archive
) -> None:
    example = of(archive, "ibp")
    changed(archive, lines={example: {"method": "misread"}})
    rows, _ = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert rows[example]["reason"] == "onnxruntime classifies the witness as the label."
    assert sum(not row["accepted"] for row in rows.values()) == 1


def test_an_example_without_evidence_is_told(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the checker cannot be convinced, nothing pretends that it was."""
    with monkeypatch.context() as patch:
        patch.setattr(evidence, "find_proofs", lambda *_: [making.Proof("none", Recheck(False))])
        outcome = certboard(*certify(radius="0.01", examples="1", evidence=EVIDENCE))
    assert f"{EVIDENCE}: 0 of 1 certified examples have evidence" in outcome.err
    rows, said = rows_of(certboard, MODEL, EVIDENCE, code=1)
    assert not rows[0]["accepted"]
    assert "nothing that the checker accepts was found" in said


def test_places_without_evidence_are_told(certboard: Certboard, project: Project) -> None:
    (project.root / "text.evidence").write_text("text")
    assert "cannot be read" in certboard("recheck", MODEL, "missing.evidence").sentence
    assert "not a file of evidence" in certboard("recheck", MODEL, "text.evidence").sentence
    assert certboard("recheck", MODEL).code == 2


def test_a_model_that_is_not_there_is_told(certboard: Certboard, archive: Archive) -> None:
    assert "No such file" in certboard("recheck", "missing.onnx", EVIDENCE).sentence


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (EVIDENCE, "is there already"),
        ("proofs", "must end in .evidence"),
        ("missing/a.evidence", "there is no folder"),
    ],
)
def test_evidence_goes_into_a_new_file_only(
    place: str, reason: str, certboard: Certboard, project: Project
) -> None:
    (project.root / EVIDENCE).write_text("precious")
    outcome = certboard(*certify(evidence=place))
    assert outcome.code == 1
    assert reason in outcome.sentence
    assert (project.root / EVIDENCE).read_text() == "precious"


def test_a_smoothed_model_has_its_evidence_in_its_rows(
    certboard: Certboard, project: Project
) -> None:
    outcome = certboard(*certify(sigma="0.25", norm="l2", evidence=EVIDENCE))
    assert outcome.code == 1
    assert "--output" in outcome.sentence


def test_a_witness_that_onnxruntime_does_not_confirm_decides_nothing(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "onnxruntime classifies the witness as the label"
    asked_for = [*certify(radius="0.3", examples="40", evaluator="pgd"), "--json"]
    before = json.loads(certboard(*asked_for).out)
    assert before["counts"]["falsified"] > 0
    monkeypatch.setattr(evaluator, "why_not_replayed", lambda runtime, x, label: reason)
    after = json.loads(certboard(*asked_for).out)
    assert after["counts"]["falsified"] == 0
    notes = {row["note"] for row in after["rows"] if row["status"] == "unknown"}
    assert f"refused: {reason}" in notes


def test_onnxruntime_decides_about_a_witness_without_tolerance(project: Project) -> None:
    runtime = Runtime((project.root / MODEL).read_bytes())
    x = np.random.default_rng(0).random((1, 8, 8), dtype=np.float32)
    logits = runtime(x).reshape(-1)
    best = int(logits.argmax())
    assert why_not_replayed(runtime, x, best) == "onnxruntime classifies the witness as the label"
    assert why_not_replayed(runtime, x, (best + 1) % 10) == ""
    assert "not finite" in why_not_replayed(runtime, np.full_like(x, np.nan), best)
