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
