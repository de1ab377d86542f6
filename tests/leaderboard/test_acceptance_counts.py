"""Counts of a smoothed model's rows from elsewhere, held against the very samples counted again."""

from dataclasses import replace

import pandas as pd
import pytest

from leaderboard.evaluation.shard import evaluate
from leaderboard.intake.acceptance.again import different, measure_again
from leaderboard.intake.acceptance.known import Known
from leaderboard.results.store import Results
from leaderboard.settings.question import Shard
from tests.fixtures.forged import Made


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


@pytest.mark.parametrize(
    ("count", "again", "found_out"),
    [
        (100_000, 99_990, True),  # a class that hardly any sample votes against has few to win
        (99_993, 99_990, False),
        (50_400, 50_000, False),
        (50_501, 50_000, True),
        (49_499, 50_000, True),
    ],
)
def test_few_samples_may_have_changed_sides(count: int, again: int, found_out: bool) -> None:
    before = pd.Series({"status": "certified", "n": 100_000, "count": count})
    now = {"status": "certified", "n": 100_000, "count": again, "note": ""}
    assert bool(different(before, now, slow=True)) == found_out


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
