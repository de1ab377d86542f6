"""Curves, envelopes and tables of smoothed models, and what a page may say about its errors."""

from fractions import Fraction
from math import isnan
from pathlib import Path

import pytest

from leaderboard.board import smoothed
from leaderboard.board.board import Board
from leaderboard.board.smoothed import columns, curves, envelope, steps, sureness
from leaderboard.results.metrics import certified_at
from leaderboard.results.store import Results
from leaderboard.website.charts.radius_histogram import bins
from leaderboard.website.charts.samples_limit import limit
from leaderboard.website.pages import smoothing
from tests.fixtures.board import provenance, smoothed_rows

SETTING = "digits-l2-0.25"


def result(size: int, failure_probability: float | None = None) -> Results:
    table = smoothed_rows("digits-noise", SETTING, size)
    origin = provenance(table)
    options = {} if failure_probability is None else {"failure_probability": failure_probability}
    return Results(Path("a"), table, origin.model_copy(update={"options": options}))


def test_a_model_has_one_curve_a_dataset_and_norm_its_own_setting_first(example: Board) -> None:
    for setting in (SETTING, "digits-l2-0.5", "digits-l2-1.0"):
        found = curves(example, setting)
        assert [curve.slug for curve in found] == ["digits-noise", "digits-noise-2"]
        assert [curve.sigma for curve in found] == ["0.25", "0.5"]
    assert [curve.own for curve in curves(example, SETTING)] == [True, True]
    assert [curve.own for curve in curves(example, "digits-l2-1.0")] == [False, False]
    assert curves(example, "mnist-linf-0.1") == []


def test_the_envelope_is_the_best_curve_at_every_radius(example: Board) -> None:
    found = curves(example, SETTING)
    falls = [steps(curve.result.tally, 10_000) for curve in found]
    best = envelope(falls)
    assert [share for _, share in best] == sorted((s for _, s in best), reverse=True)
    shares = [
        {curve.sigma: certified_at(curve.result.rows, radius).mean() for curve in found}
        for radius, _ in best
    ]
    assert [share for _, share in best] == [max(of.values()) for of in shares]
    beyond = max(radius for curve in falls for radius, _ in curve)
    assert best[-1][0] == beyond
    winners = {max(of, key=lambda sigma: of[sigma]) for of in shares}
    assert len(winners) == 2, "the example has no choice to make"


def test_the_table_has_the_radii_of_the_settings_and_marks_the_best(
    example: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = smoothing.table(example, SETTING)
    assert few is not None
    assert not any(best for line in few.lines for best in line.best), "297 examples lead nothing"
    monkeypatch.setattr(smoothed, "LEAST_EXAMPLES", 297)
    found = smoothing.table(example, SETTING)
    assert found is not None
    assert {"0", "0.25", "0.5", "1"} <= set(found.radii)
    assert [r for r, asked in zip(found.radii, found.asked, strict=True) if asked] == ["0.25"]
    assert [Fraction(r) for r in found.radii] == columns(example, SETTING, curves(example, SETTING))
    for column in range(len(found.radii)):
        shares = [line.shares[column] for line in found.lines]
        for line in found.lines:
            assert line.best[column] == (line.shares[column] == max(shares) > 0)


def test_the_expected_number_of_wrong_certificates_is_the_sum() -> None:
    found = sureness([result(500, 0.001), result(300, 0.001)])
    assert found is not None
    assert found.statements == 800
    assert found.expected == Fraction(8, 10)


@pytest.mark.parametrize(
    ("size", "failure", "most"), [(500, 0.001, 9), (500, 0.0001, 0), (100, 0.01, 19), (7, 0.5, 69)]
)
def test_markov_bounds_the_number_of_wrong_ones(size: int, failure: float, most: int) -> None:
    found = sureness([result(size, failure)])
    assert found is not None
    assert found.most == most
    assert found.expected / (most + 1) <= Fraction(1, 20)
    assert most == 0 or found.expected / most > Fraction(1, 20)


def test_examples_for_which_time_ran_out_count_too() -> None:
    """Which ones these are may have depended on what was drawn."""
    one = result(10, 0.1)
    one.rows.loc[:3, "n"] = None
    found = sureness([one])
    assert found is not None
    assert found.statements == 10
    assert sureness([]) is None


def test_without_the_option_the_stored_confidence_counts_rounded_up() -> None:
    found = sureness([result(10)])
    assert found is not None
    assert Fraction(1, 100) <= found.expected < Fraction(1, 99)


def test_the_sentence_claims_no_independence() -> None:
    told = smoothing.how_sure([result(500, 0.001)])
    assert "at most 0.5 wrong certificates are expected altogether, and at most 9 with 95 %" in told
    assert "not independent" in told
    assert smoothing.how_sure([]) == ""


def test_summed_noise_is_smoothed_but_not_probabilistic() -> None:
    sampled = result(5)
    rows = sampled.rows.assign(n=None, n0=None, count=None, p_lower=None, confidence=1.0)
    exact = Results(sampled.path, rows, sampled.provenance)
    assert (sampled.tally.smoothed, sampled.tally.probabilistic) == (True, True)
    assert (exact.tally.smoothed, exact.tally.probabilistic) == (True, False)
    assert sureness([exact]) is None


def test_the_histogram_counts_every_example_once() -> None:
    one = result(297)
    counts, none = bins(one, 0.05)
    assert sum(counts.values()) + none == 297
    assert none > 0
    assert all(at >= 0 and count > 0 for at, count in counts.items())


@pytest.mark.parametrize(
    ("noise", "norm", "expected"),
    [("gaussian", "l2", 3.8115), ("gaussian", "linf", 3.8115 / 4), ("uniform", "l1", 0.99986)],
)
def test_what_a_hundred_thousand_samples_can_give(noise: str, norm: str, expected: float) -> None:
    assert limit(noise, norm, 100_000, 0.001, 16) == pytest.approx(expected, abs=2e-4)
    assert limit(noise, norm, 9, 0.001, 16) == 0


def test_a_noise_without_a_formula_has_no_limit() -> None:
    assert isnan(limit("splitting", "l1", 1000, 0.001, 16))
    assert limit("exponential-l2", "l2", 1000, 0.001, 1) == limit("laplace", "l1", 1000, 0.001, 1)
