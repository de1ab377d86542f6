"""`certboard recheck SUBMISSION`: every row of stored evaluations, and every way to forge one."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluators.evidence.archive import Archive, EvidenceLine, write_archive
from evaluators.onnx.writer import export_onnx
from leaderboard.__main__ import run
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import load_split
from leaderboard.evaluation import execution
from leaderboard.evaluation.workers import run_shards
from leaderboard.recheck import proofs
from leaderboard.recheck.proofs import claims_of
from leaderboard.results.store import read, write
from leaderboard.results.witness import SteppedPoint
from tests.fixtures.once import once
from tests.fixtures.project import LINF, MODEL, NOISY, PLAIN, linear, new_project
from tests.leaderboard.conftest import Certboard

RESULTS = f"site/data/results/{LINF}/{PLAIN}.parquet"
BESIDE = f"site/data/results/{LINF}/{PLAIN}.evidence"
RUN = ("run", PLAIN, "--setting", LINF, "--examples", "30")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an evaluation and its evidence."""
    return once(tmp_path_factory, "proved", _make)


def _make(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(new_project(root).root)
        assert run([*RUN, "--evidence"]) == 0


@pytest.fixture
def stored(project: Project, made: Path) -> Path:
    """The rows of an evaluation, with all that proves them beside, in this test's own project."""
    for place in (RESULTS, BESIDE):
        (project.root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made / place, project.root / place)
    return Path(RESULTS)


def rows_of(certboard: Certboard, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    outcome = certboard("recheck", *arguments, "--json")
    assert outcome.code == code, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def refused(rows: list[dict[str, Any]]) -> dict[int, str]:
    return {row["example"]: row["reason"] for row in rows if not row["accepted"]}


def test_every_certified_row_is_proved_and_every_witness_replayed(
    certboard: Certboard, stored: Path
) -> None:
    statuses = read(stored).rows["status"]
    counts = statuses.value_counts()
    assert counts["certified"] > 3
    assert counts["falsified"] > 3
    outcome = certboard("recheck", PLAIN)
    assert outcome.code == 0, outcome.err
    assert (
        f"{counts['certified']} of {counts['certified']} certified examples proved" in outcome.out
    )
    assert f"{counts['falsified']} of {counts['falsified']} counterexamples replayed" in outcome.out
    (row, *_) = rows_of(certboard, RESULTS)
    assert set(row) == {
        "example", "status", "radius", "method", "accepted", "margin", "reason", "seconds"
    }  # fmt: skip


@pytest.mark.slow
def test_without_evidence_the_same_rows_are_proved_and_it_can_be_kept(
    certboard: Certboard, stored: Path
) -> None:
    before = Archive(Path(BESIDE)).lines
    with_evidence = rows_of(certboard, RESULTS)
    Path(BESIDE).unlink()
    without = rows_of(certboard, RESULTS, "--save")
    # Another batch: some processors' libraries sum its products in another order.
    for found, row in zip(without, with_evidence, strict=True):
        same = {"seconds": found["seconds"], "margin": pytest.approx(row["margin"])}
        assert found == {**row, **same}
    assert Archive(Path(BESIDE)).lines == before
    assert not refused(rows_of(certboard, RESULTS))


def test_evidence_beside_rows_leaves_out_the_witnesses_that_they_hold(stored: Path) -> None:
    archive, rows = Archive(Path(BESIDE)), read(stored).rows
    assert list(archive.lines) == rows.loc[rows["status"] == "certified", "example"].tolist()
    assert not {"witness", "misread"} & archive.counts.keys()


def test_a_misread_example_is_run_itself_also_where_rows_hold_it(
    certboard: Certboard, stored: Path
) -> None:
    rows = read(stored).rows
    wrong = rows[rows["stage"] == "prediction"]
    assert wrong["witness"].isna().all()
    shown = {row["example"]: row for row in rows_of(certboard, RESULTS)}
    assert {shown[one]["method"] for one in wrong["example"]} == {"misread"}
    image = load_split("digits").images([wrong["example"].iloc[0]])[0].astype("<f4")
    forged(stored, lambda _: first(wrong, "falsified", witness=image.tobytes()))
    # Rows that hold what need not be stored are checked like any other.
    assert not refused(rows_of(certboard, RESULTS))


def forged(path: Path, change: Callable[[pd.DataFrame], Any], **provenance: Any) -> None:
    result = read(path)
    rows = result.rows.copy()
    rows = rows if (changed := change(rows)) is None else changed
    write(path, rows, result.provenance.model_copy(update=provenance))


Forgery = Callable[[pd.DataFrame], pd.DataFrame]
"""Takes honest rows; what is put into the place of one of them."""


def first(rows: pd.DataFrame, status: str, /, **values: Any) -> pd.DataFrame:
    """The first row of a status, with some values changed."""
    row = rows[rows["status"] == status].iloc[[0]].copy()
    for name, value in values.items():
        row.at[row.index[0], name] = value
    return row


def put(of: str, /, **values: Any) -> Forgery:
    return lambda rows: first(rows, of, **values)


def certify_a_falsified_row(rows: pd.DataFrame) -> pd.DataFrame:
    right = rows[rows["prediction"] == rows["label"]]
    return first(right, "falsified", status="certified", radius="0.1", witness=None)


def refute_without_a_witness(rows: pd.DataFrame) -> pd.DataFrame:
    return first(rows[rows["prediction"] == rows["label"]], "falsified", witness=None)


def misread(row: pd.DataFrame) -> pd.DataFrame:
    other = (row["label"] + 1) % 10
    return row.assign(status="falsified", stage="prediction", radius=None, prediction=other)


def shift_labels(rows: pd.DataFrame) -> pd.DataFrame:
    label = (int(first(rows, "certified")["label"].iloc[0]) + 1) % 10
    return first(rows, "certified", label=label, prediction=label)


def repeat(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([first(rows, "certified")] * 2)


def steps(step: float, count: int) -> bytes:
    """A witness of one and the same number of steps in every pixel."""
    made = SteppedPoint(0.5, 1, np.full(64, count, np.int8)).packed()
    return made[:1] + np.float32(step).tobytes() + made[5:]


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "a row that is not certified": (
        certify_a_falsified_row,
        "prove|does not speak of it|certificate",
    ),
    "another label": (shift_labels, "but the data say"),
    "a larger radius": (put("certified", radius="0.9"), "prove|branch and bound"),
    "a smaller radius than the setting's": (
        put("certified", radius="0.05"),
        "smaller than the one",
    ),
    "no radius": (put("certified", radius=None), "smaller than the one"),
    "a radius that is no number": (
        put("certified", radius="1e9999"),
        "its radius is '1e9999', but",
    ),
    "a status that a terminal obeys": (
        put("certified", status="\x1b[2J\n30 of 30"),
        r"its status is '\x1b[2J\n30 of 30'",
    ),
    "another prediction": (put("certified", prediction=pd.NA), "its prediction is"),
    "a confidence below 1": (put("certified", confidence=0.999), "the confidence 0.999"),
    "a status of its own": (put("certified", status="proved"), "its status is 'proved'"),
    "a row twice": (repeat, "stored twice"),
    "no witness": (refute_without_a_witness, "no witness"),
    "a right prediction that is said to be wrong": (
        lambda rows: misread(first(rows, "certified")),
        "onnxruntime classifies the witness as the label",
    ),
    "a short witness": (put("falsified", witness=b"1234"), "its witness has the wrong size"),
    "a witness without levels": (put("falsified", witness=bytes(18)), "has 0 levels"),
    "steps beyond the ball": (put("falsified", witness=steps(0.75, 1)), "outside the region"),
    "steps that go nowhere": (
        put("falsified", witness=steps(0.0625, 0)),
        "onnxruntime classifies the witness as the label",
    ),
    "steps of no length": (put("falsified", witness=steps(float("nan"), 1)), "has a step of nan"),
    "a witness that is no number": (
        put("falsified", witness=np.full(64, np.nan, dtype="<f4").tobytes()),
        "region|finite|number",
    ),
    "a witness far away": (
        put("falsified", witness=np.ones(64, dtype="<f4").tobytes()),
        "outside the region",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("evidence", ["stored", "found again"])
def test_a_forged_row_is_refused_and_no_other(
    evidence: str, certboard: Certboard, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = read(stored).rows
    forgeries: dict[int, str] = {}
    changes: list[pd.DataFrame] = []
    for name, (change, _) in FORGERIES.items():
        changes.append(change(honest))
        example = int(changes[-1]["example"].iloc[0])
        forgeries[example] = name
        honest = honest[honest["example"] != example]
    forged(stored, lambda _: pd.concat([honest, *changes]).sort_values("example"))
    if evidence == "found again":
        Path(BESIDE).unlink()
        monkeypatch.setattr(proofs, "MOST_SECONDS", 0.2)
    said = refused(rows_of(certboard, RESULTS, code=1))
    assert said.keys() == forgeries.keys()
    for example, name in forgeries.items():
        assert any(part in said[example] for part in FORGERIES[name][1].split("|")), (name, said)


def test_rows_of_another_model_are_refused(
    certboard: Certboard, project: Project, stored: Path
) -> None:
    export_onnx(linear(), project.root / "other.onnx")
    outcome = certboard("recheck", RESULTS, "--model", "other.onnx")
    assert outcome.code == 1
    assert "is not that of the model that was measured" in outcome.sentence


def test_rows_measured_with_other_data_are_refused(certboard: Certboard, stored: Path) -> None:
    forged(stored, lambda rows: None, data_sha256="0" * 64)
    outcome = certboard("recheck", RESULTS)
    assert outcome.code == 1
    assert "the data that were measured" in outcome.sentence


def test_a_certified_row_that_the_evidence_does_not_speak_of_is_refused(
    certboard: Certboard, stored: Path
) -> None:
    archive = Archive(Path(BESIDE))
    lines = [line for line in archive.lines.values() if line.method != "certificate"]
    write_archive(archive.path, archive.about, lines[1:], ())
    found = refused(rows_of(certboard, RESULTS, code=1))
    assert found[lines[0].example] == "the evidence does not speak of it."


@pytest.mark.parametrize("place", ["beside", "named"])
def test_evidence_of_another_question_is_refused(
    place: str, certboard: Certboard, stored: Path
) -> None:
    archive = Archive(Path(BESIDE))
    path = archive.path if place == "beside" else Path("other.evidence")
    about = replace(archive.about, radius=Fraction(1, 100))
    write_archive(path, about, [EvidenceLine(0, 0, "ibp")], ())
    arguments = [RESULTS] if place == "beside" else [RESULTS, str(path)]
    outcome = certboard("recheck", *arguments)
    assert outcome.code == 1
    assert "it is about another radius: 0.01, not 0.1." in outcome.sentence


@pytest.mark.slow
def test_a_radius_that_was_sought_is_proved_too(certboard: Certboard, project: Project) -> None:
    """Rows of --max-radius: a falsified or unknown one claims a proof of a smaller ball."""
    words = ("certify", MODEL, "--dataset", "digits", "--norm", "linf", "--radius", "0.2")
    outcome = certboard(
        *words, "--examples", "6", "--max-radius", "--evaluator", "ibp", "--output", "rows.parquet"
    )
    assert outcome.code == 0, outcome.err
    claims = list(claims_of(read(Path("rows.parquet")).rows, Fraction(1, 5)))
    assert any(claim.radius and claim.radius < Fraction(1, 5) for claim in claims)
    rows = rows_of(certboard, "rows.parquet", "--model", MODEL)
    assert not refused(rows)
    forged(Path("rows.parquet"), lambda table: table.assign(radius="0.19"))
    assert refused(rows_of(certboard, "rows.parquet", "--model", MODEL, code=1))


def test_rows_without_a_model_in_reach_need_it_named(
    certboard: Certboard, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "rows.parquet").write_bytes(stored.read_bytes())
    monkeypatch.chdir(tmp_path / "elsewhere")
    forged(Path("rows.parquet"), lambda rows: None, submission="unknown")
    outcome = certboard("recheck", "rows.parquet")
    assert outcome.code == 1
    assert "name its model: --model FILE.onnx" in outcome.err
    assert not refused(rows_of(certboard, "rows.parquet", "--model", str(tmp_path / MODEL)))


def test_what_cannot_be_rechecked_is_told(certboard: Certboard, project: Project) -> None:
    assert f"There are no results of '{PLAIN}'." in certboard("recheck", PLAIN).sentence
    assert "plian" in certboard("recheck", "plian").sentence
    assert certboard("recheck", NOISY, "rows.evidence").code == 2
    assert certboard("recheck", "missing.parquet").code == 1


def test_rows_that_are_measured_again_do_not_keep_the_proofs_of_others(
    certboard: Certboard, stored: Path
) -> None:
    assert certboard(*RUN, "--fresh").code == 0
    assert not Path(BESIDE).exists()
    said = certboard(*RUN, "--evidence")
    assert f"certboard recheck {PLAIN} --setting {LINF} --save" in said.err
    assert not Path(BESIDE).exists()


@pytest.mark.slow
def test_the_evidence_of_an_interrupted_evaluation_is_joined_when_it_goes_on(
    certboard: Certboard, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, kept = Archive(Path(BESIDE)), read(stored).rows
    monkeypatch.setattr("leaderboard.settings.question.LARGEST_SHARD", 7)

    def broken(*_: Any, **__: Any) -> None:
        raise InputError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(execution, "join", broken)
        assert certboard(*RUN, "--fresh", "--evidence").code == 1
    parts = sorted(stored.with_suffix(".parts").rglob("*.evidence"))
    assert len(parts) == 5
    parts[2].unlink()
    asked, shards_of = list[Any](), run_shards

    def watch(shards: Any, *arguments: Any) -> Any:
        asked.extend(shards)
        return shards_of(shards, *arguments)

    monkeypatch.setattr(execution, "run_shards", watch)
    assert certboard(*RUN, "--evidence").code == 0
    assert [shard.examples[0] for shard in asked] == [14]
    joined = Archive(Path(BESIDE))
    assert (joined.about, joined.lines) == (before.about, before.lines)
    assert read(stored).rows["status"].tolist() == kept["status"].tolist()
    assert not stored.with_suffix(".parts").exists()


def test_a_confined_run_keeps_no_evidence(certboard: Certboard, project: Project) -> None:
    outcome = certboard(*RUN, "--evidence", "--sandbox", "best")
    assert outcome.code == 1
    assert "certboard recheck" in outcome.sentence
