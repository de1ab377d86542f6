"""Rows from elsewhere, of which some are measured again and more are attacked."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from leaderboard.intake.acceptance import again
from leaderboard.intake.acceptance.again import measure_again
from leaderboard.intake.acceptance.known import LONGER
from leaderboard.results.store import Results
from tests.fixtures.forged import Made, changed, falsified, forged_certificate


def test_a_certificate_that_was_never_made_is_found_by_measuring_again(
    plain: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = forged_certificate(plain)
    assert not plain.said(forged)
    found = plain.accepted(plain.file(forged))
    monkeypatch.setattr(again, "broken", lambda *_: [])
    measured = measure_again(found, plain.known(), 600)
    assert len(measured.problems) == 1
    assert "but measured again here it is" in measured.problems[0]


def test_a_certificate_of_what_an_attack_breaks_is_found_out_by_one(plain: Made) -> None:
    """Before any proof is made again, however long that may take."""
    found = plain.accepted(plain.file(forged_certificate(plain)))
    measured = measure_again(found, plain.known(), 600)
    assert len(measured.problems) == 1
    assert "it is certified, but an attack breaks it" in measured.problems[0]


def test_a_larger_margin_is_found_by_measuring_again(plain: Made) -> None:
    certified = plain.rows["status"] == "certified"
    margin = float(plain.rows["margin"][certified].iloc[0])
    forged = changed(plain.rows, certified, margin=margin + 1e-3)
    measured = measure_again(plain.accepted(plain.file(forged)), plain.known(), 600)
    assert "its margin is" in measured.problems[0]


@pytest.mark.slow
def test_what_certboard_made_is_found_again(plain: Made, noisy: Made) -> None:
    some = noisy.rows.iloc[:60]  # They are measured one by one.
    noisy.result = Results(noisy.result.path, some, noisy.result.provenance)
    certified = plain.rows["status"] == "certified"
    right = (some["prediction"] == some["label"]).fillna(False)
    for one, count in ((plain, int(certified.sum())), (noisy, int(right.sum()))):
        assert measure_again(one.result, one.known(), 600) == again.Measured(0, [])
        assert measure_again(one.result, one.known(), 0).left == count > 30


def test_time_that_runs_out_refuses_nothing(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(shard: Any) -> pd.DataFrame:
        rows = plain.rows[plain.rows["example"].isin(shard.examples)]
        return rows.assign(status="unknown", note="timeout")

    monkeypatch.setattr(again, "evaluate", late)
    monkeypatch.setattr(again, "_BATCH", 5)
    certified = int((plain.rows["status"] == "certified").sum())
    measured = measure_again(plain.result, plain.known(), 1e-9)
    assert (measured.left, measured.problems) == (certified - 5, [])
    assert len(measured.late) == 5


def test_counts_that_time_ran_out_on_are_left_as_they_are(
    noisy: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they prove was derived from them; they are told as not measured again."""

    def late(shard: Any) -> pd.DataFrame:
        rows = noisy.rows[noisy.rows["example"].isin(shard.examples)]
        return rows.assign(status="unknown", note="timeout")

    monkeypatch.setattr(again, "evaluate", late)
    right = int((noisy.rows["prediction"] == noisy.rows["label"]).sum())
    assert measure_again(noisy.result, noisy.known(), 600) == again.Measured(right, [])


def as_searched(plain: Made) -> Results:
    """All certificates as if branch and bound had found them."""
    rows = plain.rows.copy()
    rows.loc[rows["status"] == "certified", "stage"] = "branch-and-bound"
    return Results(plain.result.path, rows, plain.result.provenance)


def test_a_search_has_more_time_than_where_it_came_from(
    plain: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def same(shard: Any) -> pd.DataFrame:
        asked.append(shard.question)
        return plain.rows[plain.rows["example"].isin(shard.examples)]

    monkeypatch.setattr(again, "evaluate", same)
    monkeypatch.setattr(again, "broken", lambda *_: [])
    known_ = plain.known()
    assert not measure_again(as_searched(plain), known_, 1e-9).problems
    assert {one.seconds for one in asked} == {LONGER * known_.question.seconds}


@pytest.mark.parametrize(("of_ten", "refused"), [(2, False), (5, False), (6, True), (10, True)])
def test_searches_of_which_most_end_with_their_time_are_refused(
    plain: Made, monkeypatch: pytest.MonkeyPatch, of_ten: int, refused: bool
) -> None:
    """Said to be certified by a search, nobody finds it again in any time."""
    kept = as_searched(plain)
    certified = kept.rows[kept.rows["status"] == "certified"].iloc[:10]
    late = set(certified["example"].iloc[:of_ten])

    def some(shard: Any) -> pd.DataFrame:
        rows = plain.rows[plain.rows["example"].isin(shard.examples)].copy()
        gone = rows["example"].isin(late)
        rows.loc[gone, ["status", "note"]] = ["unknown", "timeout"]
        return rows

    monkeypatch.setattr(again, "evaluate", some)
    monkeypatch.setattr(again, "broken", lambda *_: [])
    measured = measure_again(Results(kept.path, certified, kept.provenance), plain.known(), 600)
    assert (measured.left, set(measured.late)) == (0, late)
    assert [
        f"{of_ten} of 10 certificates that took a search" in one for one in measured.problems
    ] == ([True] if refused else [])


def hiding(plain: Made, count: int) -> pd.DataFrame:
    """So many counterexamples said to be open, as if the time had run out."""
    rows = plain.rows
    for _ in range(count):
        rows = changed(
            rows, falsified(rows), status="unknown", witness=None, stage="crown", note="timeout",
            deployment=None,
        )  # fmt: skip
    return rows


def test_counterexamples_that_were_left_out_are_found_by_an_attack(plain: Made) -> None:
    """They would make attacks look weaker than they are."""
    opened = int((plain.rows["status"] == "unknown").sum())
    forged = hiding(plain, 20)
    assert not plain.said(forged)
    measured = measure_again(plain.accepted(plain.file(forged)), plain.known(), 600)
    assert len(measured.problems) == 1
    assert f"20 of {opened + 20} unknown examples are broken by 'pgd'" in measured.problems[0]
    few = plain.accepted(plain.file(hiding(plain, 3)))
    assert not measure_again(few, plain.known(), 600).problems


def test_an_evaluator_that_attacks_nothing_leaves_open_what_it_may(plain: Made) -> None:
    found = plain.accepted(plain.file(hiding(plain, 20)))
    alone = replace(plain.known(), stages={"crown": True})
    assert not measure_again(found, alone, 600).problems
