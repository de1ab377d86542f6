"""The daily sample: everything comes up in turn, and a changed verdict is told."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from leaderboard.__main__ import run
from leaderboard.common.project import Project
from leaderboard.recheck import nightly
from leaderboard.recheck.nightly import compare, draw, measure_again
from leaderboard.results.store import read, results_path, write
from tests.fixtures.project import L2, LINF, NOISY, PLAIN, new_project
from tests.leaderboard.conftest import Certboard

DAY = date(2026, 11, 21)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two stored evaluations of few examples."""
    project = new_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["run", PLAIN, "--setting", LINF, "--examples", "30"]) == 0
    assert run(["run", NOISY, "--setting", L2, "--examples", "5"]) == 0
    return project


def test_a_verdict_is_the_same_again(stored: Project, certboard: Certboard) -> None:
    outcome = certboard("intake", "nightly", "--day", str(DAY), "--examples", "3")
    assert outcome.code == 0
    assert f"{PLAIN} · {LINF}: 3 of 3 as stored" in outcome.out
    assert f"{NOISY} · {L2}: 3 of 3 as stored" in outcome.out


def test_every_evaluation_comes_up_in_turn_with_other_examples(stored: Project) -> None:
    days = [DAY + timedelta(days=number) for number in range(2)]
    (first,), (second,) = (draw(stored, day, 1, 5) for day in days)
    assert {first.setting.id, second.setting.id} == {LINF, L2}
    (later,) = draw(stored, DAY + timedelta(days=2), 1, 5)
    assert later.setting.id == first.setting.id
    plain = first if first.setting.id == LINF else second
    drawn = {nightly._examples(plain.stored.rows, DAY + timedelta(days=n), 5) for n in range(10)}
    assert len(drawn) == 10
    assert len(set[int]().union(*drawn)) > 15


@pytest.mark.parametrize(
    ("old", "code", "told"),
    [
        ("falsified", 3, "(contradiction)"),
        ("certified", 3, "(contradiction)"),
        ("unknown", 0, "(found)"),
    ],
)
def test_a_stored_verdict_that_is_another_is_told(
    stored: Project, certboard: Certboard, old: str, code: int, told: str
) -> None:
    path = results_path(stored, LINF, PLAIN)
    result = read(path)
    rows = result.rows.copy()
    now = "certified" if old == "falsified" else "falsified"
    example = int(
        (rows["status"] == (now if old != "unknown" else "certified")).to_numpy().argmax()
    )
    rows.loc[example, "status"] = old
    write(path, rows, result.provenance)
    outcome = certboard("intake", "nightly", "--examples", "30", "--evaluations", "2")
    assert outcome.code == code
    assert f"example {example}: stored {old}" in outcome.out
    assert told in outcome.out


def test_counterexamples_that_are_stored_as_open_are_found(
    stored: Project, certboard: Certboard
) -> None:
    """Whichever examples come up: an attack is made on those that were left open."""
    assert run(["run", PLAIN, "--setting", LINF]) == 0
    path = results_path(stored, LINF, PLAIN)
    result = read(path)
    rows = result.rows.copy()
    fell = (rows["status"] == "falsified") & (rows["prediction"] == rows["label"])
    rows.loc[fell, ["status", "note"]] = ["unknown", "timeout"]
    rows.loc[fell, "witness"] = None
    assert certboard("intake", "nightly", "--examples", "2", "--evaluations", "2").code == 0
    write(path, rows, result.provenance)
    outcome = certboard("intake", "nightly", "--examples", "2", "--evaluations", "2")
    assert outcome.code == 1
    assert "unknown examples are broken by 'pgd'" in outcome.err


def test_a_certificate_that_time_ran_out_on_is_late_and_not_lost(stored: Project) -> None:
    drawn = next(one for one in draw(stored, DAY, 2, 30) if one.setting.id == LINF)
    rows = measure_again(stored, drawn)
    certified = rows["status"] == "certified"
    assert not list(compare(drawn, rows))
    late = rows.assign(status="unknown", note="timeout")[certified]
    assert {one.kind for one in compare(drawn, late)} == {"late"}
    lost = late.assign(note="bound too loose")
    assert {one.kind for one in compare(drawn, lost)} == {"lost"}


def test_a_stored_prediction_that_is_another_is_told(stored: Project, certboard: Certboard) -> None:
    """Of a row without a certificate nothing else counts for its accuracy."""
    path = results_path(stored, L2, NOISY)
    result = read(path)
    rows = result.rows.copy()
    rows["status"], rows["radius"] = "unknown", None
    write(path, rows.assign(prediction=(rows["prediction"] + 1) % 10), result.provenance)
    (drawn,) = (one for one in draw(stored, DAY, 2, 5) if one.setting.id == L2)
    found = measure_again(stored, drawn).assign(status="unknown")
    assert {one.kind for one in compare(drawn, found)} == {"misread"}
    rows.loc[rows.index[0], "prediction"] = (rows["prediction"].iloc[0] + 1) % 10
    write(path, rows.assign(status=result.rows["status"]), result.provenance)
    outcome = certboard("intake", "nightly", "--examples", "5", "--evaluations", "2")
    assert outcome.code == 1
    assert "(misread)" in outcome.out
    assert "Stored predictions are not what the model answers." in outcome.err


def test_a_day_that_is_none_is_refused(project: Project, certboard: Certboard) -> None:
    assert "it must be a day" in certboard("intake", "nightly", "--day", "monday").sentence


def test_without_results_there_is_nothing_to_draw(project: Project) -> None:
    assert draw(project, DAY, 3, 5) == []
