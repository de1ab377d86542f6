"""Counts of a smoothed model's rows from elsewhere, held against the very samples counted again."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from evaluators.smoothing.confidence import clopper_pearson_lower
from leaderboard.evaluation.shard import evaluate
from leaderboard.intake.acceptance.again import measure_again
from leaderboard.intake.acceptance.difference import Sums, different
from leaderboard.intake.acceptance.known import Known
from leaderboard.intake.acceptance.rows import _SAMPLED
from leaderboard.results.store import Results
from leaderboard.settings.question import Shard
from tests.fixtures.forged import Made, changed


def ending_by_itself(noisy: Made, examples: list[int]) -> tuple[Results, Known]:
    """A few examples by the procedure that ends where it has seen enough."""
    here = noisy.known()
    options = {**dict(here.question.options), "procedure": "sequential", "n": 4000}
    question = replace(here.question, options=tuple(sorted(options.items())))
    rows = evaluate(Shard(question, tuple(examples)))
    found = Results(noisy.result.path, rows, noisy.result.provenance)
    return found, replace(here, question=question)


def test_counts_of_more_samples_than_were_needed_are_counted_again(noisy: Made) -> None:
    """A larger radius, of a perfect example, where the honest procedure ended long before."""
    rows = noisy.rows[noisy.rows["status"] == "certified"]
    near = rows[(rows["count"] > 95) & (rows["count"] < 100)]["example"].iloc[:2].tolist()
    found, here = ending_by_itself(noisy, near)
    assert (found.rows["n"] < 4000).all()
    assert measure_again(found, here, 600).problems == []
    forged = Results(found.path, found.rows.assign(n=4000, count=4000), found.provenance)
    (told, *_) = measure_again(forged, here, 600).problems
    assert "its count is 4,000 of 4,000, but measured again here" in told


def counted(count: int | None, **other: Any) -> dict[Any, Any]:
    """A row of a smoothed model, as far as it is compared."""
    n = None if count is None else 100_000
    told = {"status": "certified", "prediction": 1, "n": n, "count": count, "margin": None}
    return {**told, "note": "", "radius": "1", "statistics": None, **other}


def voted(note: str, prediction: int | None = 1) -> dict[Any, Any]:
    """A row of a model all of whose splits vote."""
    return counted(None, status="unknown", note=note, prediction=prediction)


def difference(before: dict[Any, Any], now: dict[Any, Any]) -> str:
    return different(pd.Series(before, dtype=object), now, slow=True)


@pytest.mark.parametrize(
    ("count", "true", "found_out"),
    [
        (100_000, 99_990, True),  # a class that hardly any sample votes against has few to win
        (99_993, 99_990, False),
        (50_090, 50_000, False),
        (50_100, 50_000, True),
        (50_500, 50_000, True),  # a bound above what its confidence allows
        (49_501, 50_000, False),
        (49_499, 50_000, True),
    ],
)
def test_few_samples_may_have_changed_sides(count: int, true: int, found_out: bool) -> None:
    assert bool(difference(counted(count), counted(true))) == found_out


def test_no_count_may_be_above_what_its_bound_allows_for() -> None:
    """Else a forger's bounds would hold with less than their confidence."""
    for true in (50_100, 60_000, 90_000, 99_000, 99_900):
        honest = fixed_lower(true)
        said = range(true, min(true + 200, 100_000))
        most = max(c for c in said if not difference(counted(c), counted(true)))
        assert fixed_lower(most) < true / 100_000
        assert fixed_lower(most) > honest


def fixed_lower(count: int) -> float:
    return clopper_pearson_lower(count, 100_000, 0.001)


def test_counts_that_are_all_a_little_too_high_are_found_by_their_sum() -> None:
    allowed = counted(60_080), counted(60_000)
    assert not difference(*allowed)
    sums = Sums()
    told = [sums.add(pd.Series(allowed[0], dtype=object), allowed[1]) for _ in range(3)]
    assert told[0] == ""
    assert "too high by" in told[2]
    either = Sums()
    for turn in range(200):
        said = pd.Series(counted(60_000 + 80 * (-1) ** turn), dtype=object)
        assert either.add(said, counted(60_000)) == ""


@pytest.mark.parametrize(
    ("said", "found", "found_out"),
    [
        ({"prediction": 1}, {"prediction": 9}, True),
        ({"prediction": 1}, {"prediction": None}, False),  # its counts say that it just abstains
        (
            {"statistics": '{"gradient_bound": 0.5}'},
            {"statistics": '{"gradient_bound": 0.5}'},
            False,
        ),
        (
            {"statistics": '{"gradient_bound": 0.4}'},
            {"statistics": '{"gradient_bound": 0.5}'},
            True,
        ),
    ],
)
def test_of_equal_counts_all_else_is_held_against_what_is_found(
    said: dict[str, Any], found: dict[str, Any], found_out: bool
) -> None:
    status = {"status": "unknown"}
    before, now = counted(60_000, **status, **said), counted(60_000, **status, **found)
    assert bool(difference(before, now)) == found_out


@pytest.mark.parametrize(
    ("crossed", "now", "found_out"),
    [(300, 300, False), (303, 300, False), (304, 300, True), (1, None, False), (200, None, True)],
)
def test_cuts_that_may_be_crossed_are_counted_again(
    crossed: int, now: int | None, found_out: bool
) -> None:
    note = "on the pixel grid: l1 radius {}/255"
    found = voted("predicted 1" if now is None else note.format(now))
    assert bool(difference(voted(note.format(crossed)), found)) == found_out


def test_an_answer_that_nobody_gives_again_is_told_where_all_vote() -> None:
    assert "measured again here none" in difference(voted(""), voted("abstained", None))


def perfected(rows: pd.DataFrame, where: "pd.Series[bool]", *names: str) -> pd.DataFrame:
    """Give all these rows what a perfect one has: they are asked about one by one in any order."""
    perfect = rows[(rows["status"] == "certified") & (rows["count"] == 100)].iloc[0]
    return rows.assign(**{name: rows[name].mask(where, perfect[name]) for name in names})


def test_counts_of_a_smoothed_model_are_found_by_measuring_again(noisy: Made) -> None:
    some = (noisy.rows["status"] == "certified") & (noisy.rows["count"] < 99)
    forged = perfected(noisy.rows, some, "count", "p_lower", "radius")
    measured = measure_again(noisy.accepted(noisy.file(forged)), noisy.known(), 600)
    assert "its count is 100 of 100, but measured again here" in measured.problems[0]


@pytest.mark.slow
def test_a_right_answer_of_a_smoothed_model_is_measured_again_as_well(noisy: Made) -> None:
    """Accuracy is sampled: a wrong answer that is said to be right has no certificate to lose."""
    abstained = noisy.rows["prediction"].isna()
    same = ("status", "count", "p_lower", "radius", "note", "statistics")
    forged = perfected(noisy.rows, abstained, *same)
    forged.loc[abstained, "prediction"] = forged["label"]
    measured = measure_again(noisy.accepted(noisy.file(forged)), noisy.known(), 600)
    example, _, told = measured.problems[0].removeprefix("example ").partition(": ")
    assert told.startswith("it is certified, but measured again")
    assert abstained[forged["example"] == int(example)].all()


def misread(noisy: Made) -> "pd.Series[bool]":
    """Examples that the smoothed model answers wrongly."""
    rows = noisy.rows
    return rows["prediction"].notna() & (rows["prediction"] != rows["label"])


def test_a_wrong_answer_that_is_said_to_be_right_is_found(noisy: Made) -> None:
    """With its own counts, and the radius that they would give: nothing else is changed."""
    rows, wrong = noisy.rows.copy(), misread(noisy)
    assert wrong.sum() > 5
    rows.loc[wrong, "prediction"] = rows.loc[wrong, "label"]
    found = noisy.accepted(noisy.file(rows))
    only = Results(found.path, found.rows[wrong], found.provenance)
    (told, *_) = measure_again(only, noisy.known(), 600).problems
    assert "its prediction is" in told


def test_an_answer_needs_counts_that_decide_on_it(noisy: Made) -> None:
    abstained = noisy.rows["prediction"].isna()
    forged = noisy.rows.copy()
    forged.loc[abstained, "prediction"] = forged.loc[abstained, "label"]
    assert "its counts decide on no class" in noisy.refusal(forged)
    for name in _SAMPLED:
        forged[name] = forged[name].mask(abstained, None)
    forged["confidence"] = forged["confidence"].mask(abstained, 1.0)
    assert "it has a prediction but no counts" in noisy.refusal(forged)


def test_who_is_decided_on_is_told(noisy: Made) -> None:
    forged = changed(noisy.rows, misread(noisy), prediction=None)
    assert "its counts decide on a class" in noisy.refusal(forged)
