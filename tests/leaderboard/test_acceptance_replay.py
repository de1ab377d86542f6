"""What a model says of rows from elsewhere, and the doors at which it is asked."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaderboard.board.fingerprints import read_checks
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.intake import confinement
from leaderboard.intake.acceptance import accept, replay
from leaderboard.intake.acceptance.accept import Arrival, keep
from leaderboard.intake.acceptance.again import Measured
from leaderboard.intake.acceptance.folder import accept_folder
from leaderboard.intake.acceptance.known import LEFT
from leaderboard.intake.acceptance.replay import contradictions
from leaderboard.intake.sandbox import Limits, Outcome
from leaderboard.results.store import Results, read, results_path, write
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.forged import Made, changed, falsified, forged_certificate
from tests.fixtures.project import L2, LINF, NOISY, PLAIN
from tests.leaderboard.conftest import Certboard
from tests.leaderboard.test_acceptance import without_data

REFUTED = {"status": "falsified", "radius": None, "margin": None, "deployment": None}
"""What a row of a certified example that is said to be falsified has, besides its witness."""


def center_of(plain: Made, where: "pd.Series[bool]") -> bytes:
    """The first fitting example itself, as a witness is stored."""
    example = int(plain.rows["example"][where].iloc[0])
    pixels: bytes = plain.known().split.images([example])[0].tobytes()  # type: ignore[union-attr]
    return pixels


def test_the_model_says_what_certboard_stored(plain: Made, noisy: Made) -> None:
    assert contradictions(plain.result, plain.known()) == []
    assert contradictions(noisy.result, noisy.known()) == []


def test_a_prediction_is_the_models(plain: Made) -> None:
    """A misread example turned into an open one, and one turned into a certified one."""
    rows = plain.rows
    wrong = rows["stage"] == "prediction"
    label = int(rows["label"][wrong].iloc[0])
    as_right = {"prediction": label, "witness": None, "stage": "crown"}
    example = int(rows["example"][wrong].iloc[0])
    told = plain.said(changed(rows, wrong, **as_right, status="unknown"))
    assert f"example {example}: its prediction is {label}, but the model's" in told
    forged = changed(
        rows, wrong, **as_right, status="certified", radius="0.1", margin=0.1, deployment="float32"
    )
    assert f"example {example}: its prediction is {label}, but the model's" in plain.said(forged)


def test_a_prediction_is_none_only_where_the_evaluation_failed(plain: Made) -> None:
    open_ = plain.rows["status"] == "unknown"
    forged = changed(plain.rows, open_, prediction=None)
    assert "its prediction is none, but the model's" in plain.said(forged)
    assert not plain.said(changed(plain.rows, open_, prediction=None, note="failed: ValueError: x"))


def test_a_misread_example_is_not_left_open(plain: Made) -> None:
    """Open examples count as not attacked, on the board."""
    wrong = plain.rows["stage"] == "prediction"
    forged = changed(plain.rows, wrong, status="unknown", witness=None, note="refused: tie")
    assert "it is read wrongly, but not falsified" in plain.said(forged)


def test_a_misread_example_is_its_own_witness(plain: Made) -> None:
    """It is believed of those that the model, run here, misreads."""
    rows = plain.rows
    wrong = rows["stage"] == "prediction"
    assert rows["witness"][wrong].isna().all()
    for point in (bytes(256), center_of(plain, wrong)):
        told = plain.refusal(changed(rows, wrong, witness=point))
        assert "it is misread as it is, but has another witness" in told


@pytest.mark.parametrize("status", ["certified", "falsified"])
def test_an_example_that_is_read_rightly_is_not_said_to_be_misread(
    plain: Made, status: str
) -> None:
    rows = plain.rows
    where = rows["status"] == status if status == "certified" else falsified(rows)
    at = {
        "example": int(rows["example"][where].iloc[0]),
        "label": int(rows["label"][where].iloc[0]),
    }
    other = (at["label"] + 1) % 10
    as_misread = {"witness": None, "stage": "prediction", "prediction": other}
    told = plain.said(changed(rows, where, **REFUTED, **as_misread))
    assert f"example {at['example']}: its prediction is {other}, but the model's" in told
    # With the right prediction it would need a witness, and the clean example is none.
    without = changed(rows, where, **REFUTED, witness=None, stage="pgd")
    assert "it is falsified, but has no witness" in plain.refusal(without)
    found = Results(plain.result.path, without, plain.result.provenance)
    told = "\n".join(contradictions(found, plain.known()))
    assert f"example {at['example']}: the witness is classified as the label" in told


def test_a_margin_is_no_larger_than_at_the_example(plain: Made) -> None:
    certified = plain.rows["status"] == "certified"
    assert "at the example itself" in plain.said(changed(plain.rows, certified, margin=1e6))


def test_what_was_left_out_of_the_model_is_what_reading_it_says(plain: Made) -> None:
    found = plain.accepted(plain.file(model_note="Nothing that matters."))
    assert "its model_note is not what reading" in contradictions(found, plain.known())[0]


def test_the_number_of_parameters_is_the_models(plain: Made) -> None:
    found = plain.accepted(plain.file(parameters=1))
    assert "its parameters are 1, but the model has" in contradictions(found, plain.known())[0]


def test_without_data_a_witness_is_run_all_the_same(
    plain: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, right = plain.rows, falsified(plain.rows)
    certified = rows["status"] == "certified"
    example = int(rows["example"][certified].iloc[0])
    forged = changed(rows, certified, **REFUTED, witness=center_of(plain, certified), stage="pgd")
    without_data(monkeypatch)
    assert not plain.said(rows)
    assert f"example {example}: its witness is classified as the label" in plain.said(forged)
    assert right.any()


def artifact(made: Made, rows: pd.DataFrame | None = None, **provenance: Any) -> Path:
    """A folder with a result; what is stored in the project is removed."""
    folder = made.project.root / "artifact"
    path = folder / made.setting / f"{made.slug}.parquet"
    told = made.result.provenance.model_copy(update=provenance)
    write(path, made.rows if rows is None else rows, told)
    results_path(made.project, made.setting, made.slug).unlink(missing_ok=True)
    return folder


@pytest.fixture
def stored(plain: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a result would lie; the working directory is the project."""
    monkeypatch.chdir(plain.project.root)
    return results_path(plain.project, LINF, PLAIN)


def test_accept_stores_what_fits(plain: Made, certboard: Certboard, stored: Path) -> None:
    outcome = certboard("intake", "accept", PLAIN, str(artifact(plain)))
    assert outcome.code == 0, outcome.err
    assert "1 result of plain accepted" in outcome.out
    found = read(stored)
    pd.testing.assert_frame_equal(found.rows, plain.rows)
    assert found.provenance == plain.result.provenance
    assert not (plain.project.root / "build" / "accepting").exists() or not any(
        (plain.project.root / "build" / "accepting").iterdir()
    )


def test_accept_says_what_was_not_measured_again(
    plain: Made, certboard: Certboard, stored: Path
) -> None:
    folder = artifact(plain, unchecked="nothing: a maintainer saw it")
    assert certboard("intake", "accept", PLAIN, str(folder), "--again", "0").code == 0
    certified = int((plain.rows["status"] == "certified").sum())
    assert read(stored).provenance.unchecked == f"{certified} verdicts not measured again"


def test_what_is_not_found_again_in_its_time_is_stored_as_unknown(
    plain: Made, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certified = [int(one) for one in plain.rows["example"][plain.rows["status"] == "certified"]]
    late, (other, *_) = certified[:2], plain.rows["example"][falsified(plain.rows)]

    def measured(*_: object) -> Measured:
        return Measured(3, [], (*late, int(other), 10**30))

    monkeypatch.setattr(replay, "measure_again", measured)
    stored.unlink()
    submission = load_submission(plain.project, PLAIN)
    keep(plain.project, submission, [Arrival(plain.result, find_setting(LINF), stored)], "off", 9)
    found = read(stored)
    assert found.provenance.unchecked == "3 verdicts not measured again"
    gone = found.rows["example"].isin(late)
    assert set(found.rows["status"][gone]) == {"unknown"}
    assert all("not here in 3 times the budget" in note for note in found.rows["note"][gone])
    pd.testing.assert_frame_equal(found.rows[~gone], plain.rows[~gone])
    assert not plain.said(found.rows)  # and it is a result as any other


@pytest.mark.parametrize("sandbox", ["off", "best"])
def test_accept_asks_the_model(
    plain: Made, certboard: Certboard, stored: Path, sandbox: str
) -> None:
    certified = plain.rows["status"] == "certified"
    folder = artifact(plain, changed(plain.rows, certified, margin=1e6))
    outcome = certboard("intake", "accept", PLAIN, str(folder), "--sandbox", sandbox)
    assert outcome.code == 1
    assert "at the example itself" in outcome.err or "its rows are refused" in outcome.err
    assert not stored.exists()


def test_accept_measures_again(plain: Made, certboard: Certboard, stored: Path) -> None:
    outcome = certboard("intake", "accept", PLAIN, str(artifact(plain, forged_certificate(plain))))
    assert outcome.code == 1
    assert "it is certified, but an attack breaks it" in outcome.err
    assert not stored.exists()


def test_accept_takes_files_of_one_submission_only(
    plain: Made, certboard: Certboard, stored: Path
) -> None:
    folder = artifact(plain)
    (folder / "evil.py").write_text("x")
    (folder / LINF / "noisy.parquet").symlink_to(plain.result.path)
    (folder / "checks").mkdir()
    (folder / "checks" / f"{PLAIN}.json").symlink_to("/etc/passwd")
    refused = certboard("intake", "accept", PLAIN, str(folder))
    assert refused.code == 1
    assert refused.err.count("are accepted") == 3
    assert not stored.exists()


def test_an_artifact_of_many_files_is_not_looked_through(
    plain: Made, certboard: Certboard, stored: Path
) -> None:
    folder = artifact(plain)
    for number in range(300):
        (folder / f"{number}").write_bytes(b"")
    assert "more than 200 files" in certboard("intake", "accept", PLAIN, str(folder)).sentence


def test_an_empty_artifact_is_refused(project: Project, certboard: Certboard) -> None:
    (project.root / "artifact").mkdir()
    assert "has no results" in certboard("intake", "accept", PLAIN, "artifact").sentence


def test_an_artifact_does_not_say_since_when_a_network_is_known(
    plain: Made, certboard: Certboard, stored: Path
) -> None:
    folder = artifact(plain)
    kept = plain.project.checks / f"{PLAIN}.json"
    honest = json.loads(kept.read_text())
    (folder / "checks").mkdir()
    forged = {**honest, "first_seen": "1970-01-01T00:00:00+00:00", "answers": [], "layers": []}
    (folder / "checks" / kept.name).write_text(json.dumps(forged))
    assert certboard("intake", "accept", PLAIN, str(folder)).code == 0
    # Whom it was compared with depends on who else is there by now.
    found = json.loads(kept.read_text()) | {"compared": honest["compared"]}
    assert found == honest
    kept.unlink()
    assert certboard("intake", "accept", PLAIN, str(folder)).code == 0
    again = read_checks(kept)
    assert again.first_seen > honest["first_seen"]
    assert list(again.answers) == honest["answers"]


@pytest.mark.slow
def test_what_comes_out_of_the_sandbox_goes_through_the_same_door(
    plain: Made, certboard: Certboard, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A confined process that was taken over leaves forged rows."""
    certified = plain.rows["status"] == "certified"
    leave: dict[str, Any] = {}

    def taken_over(arguments: list[str], limits: Limits, writable: Path) -> Outcome:
        created = leave["created"] or datetime.now(UTC).isoformat(timespec="seconds")
        told = plain.result.provenance.model_copy(update={"created": created})
        write(writable / LINF / f"{PLAIN}.parquet", leave["rows"], told)
        return Outcome(0, "")

    monkeypatch.setattr(confinement, "run_confined", taken_over)
    stored.unlink()
    old = plain.result.provenance.created
    forgeries = {
        "margin is not positive": (changed(plain.rows, certified, margin=-1.0), ""),
        "before its evaluation": (plain.rows, old),
        "449 examples were asked about": (plain.rows[certified], ""),
        "its rows are refused": (changed(plain.rows, certified, margin=1e6), ""),
    }
    typed = ("run", PLAIN, "--setting", LINF, "--sandbox", "best")
    for told, (rows, created) in forgeries.items():
        leave |= {"rows": rows, "created": created}
        outcome = certboard(*typed)
        assert outcome.code == 1
        assert told in outcome.err
        assert not stored.exists()
    leave |= {"rows": plain.rows, "created": ""}
    assert certboard(*typed).code == 0
    assert read(stored).provenance.unchecked == ""


def test_a_few_examples_out_of_the_sandbox_are_looked_at_as_well(
    plain: Made, certboard: Certboard, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quick look, and an evaluator by name, are no way around the door."""
    rows = changed(plain.rows, plain.rows["status"] == "certified", margin=-1.0)

    def taken_over(arguments: list[str], limits: Limits, writable: Path) -> Outcome:
        name = "plain.ibp.parquet" if "--evaluator" in arguments else "plain.parquet"
        write(writable / LINF / name, rows.iloc[:5], plain.result.provenance)
        return Outcome(0, "")

    monkeypatch.setattr(confinement, "run_confined", taken_over)
    stored.unlink()
    for typed in (("--examples", "5"), ("--examples", "5", "--evaluator", "ibp")):
        outcome = certboard("run", PLAIN, "--setting", LINF, "--sandbox", "best", *typed)
        assert outcome.code == 1
        assert "plain" in outcome.err


def test_a_process_with_the_model_that_is_stopped_accepts_nothing(
    plain: Made, monkeypatch: pytest.MonkeyPatch, stored: Path
) -> None:
    stored.unlink()
    submission = load_submission(plain.project, PLAIN)
    arrivals = [Arrival(plain.result, find_setting(LINF), stored)]

    def answering(outcome: Outcome, answer: str) -> None:
        def run(arguments: list[str], limits: Limits, writable: Path) -> Outcome:
            (writable / LEFT).write_text(answer)
            return outcome

        monkeypatch.setattr(accept, "run_confined", run)
        with pytest.raises(InputError):
            keep(plain.project, submission, arrivals, "best", 1)
        assert not stored.exists()

    answering(Outcome(None, "it took more than 5 seconds"), "{}")
    answering(Outcome(1, ""), "{}")
    answering(Outcome(0, ""), "[" * 10_000)
    answering(Outcome(0, ""), '{"a": "b"}')
    answering(Outcome(0, ""), '{"a": [1, ["b"]]}')


def test_data_that_are_missing_behind_the_walls_only_are_no_excuse(
    plain: Made, monkeypatch: pytest.MonkeyPatch, stored: Path
) -> None:
    """Else whoever hides them from that process is not asked about predictions."""
    stored.unlink()
    submission, setting = load_submission(plain.project, PLAIN), find_setting(LINF)
    found = plain.accepted(plain.file())
    without_data(monkeypatch)
    with pytest.raises(InputError, match="cannot be read behind the walls"):
        keep(plain.project, submission, [Arrival(found, setting, stored)], "off", 0)
    assert not stored.exists()
    found = plain.accepted(plain.file())
    keep(plain.project, submission, [Arrival(found, setting, stored)], "off", 0)
    assert "the test data are not on the machine" in read(stored).provenance.unchecked


def test_a_smoothed_model_goes_through_the_same_door(
    noisy: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(noisy.project.root)
    target = results_path(noisy.project, L2, NOISY)
    target.unlink()
    found: Results = noisy.accepted(noisy.file())
    submission = load_submission(noisy.project, NOISY)
    keep(noisy.project, submission, [Arrival(found, find_setting(L2), target)], "off", 0)
    assert "verdicts not measured again" in read(target).provenance.unchecked


def test_nothing_is_stored_where_the_fingerprint_is_refused(
    plain: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plain.project.root)
    target = results_path(plain.project, LINF, PLAIN)
    folder = plain.project.root / "artifact"
    kept = plain.project.checks / f"{PLAIN}.json"
    stored, before = target.read_bytes(), kept.read_text() if kept.exists() else None
    target.unlink()
    write(folder / LINF / f"{PLAIN}.parquet", plain.rows, plain.result.provenance)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("{")
    try:
        with pytest.raises(InputError, match="is damaged"):
            accept_folder(plain.project, PLAIN, folder, sandbox="off", again=1)
        assert not target.exists()
    finally:
        target.write_bytes(stored)
        if before is None:
            kept.unlink()
        else:
            kept.write_text(before)
