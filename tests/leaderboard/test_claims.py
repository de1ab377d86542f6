from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.results.claims import judge
from leaderboard.results.tally import Tally
from leaderboard.submissions.manifest import Claim

SETTING, RADIUS = "mnist-linf-0.1", Fraction(1, 10)


def tally(certified: int, falsified: int, unknown: int, wrong: int = 0) -> Tally:
    """Of a plain model with so many of each; wrong ones are falsified by themselves."""
    decided = {
        ("certified", "ibp"): certified,
        ("falsified", "pgd"): falsified,
        ("falsified", "prediction"): wrong,
        ("unknown", "crown"): unknown,
    }
    size = certified + falsified + unknown + wrong
    return Tally(size, size - wrong, decided, {}, "", 0, (), (), 1.0, None, None)


def claim(certified: float, clean: float | None = None) -> Claim:
    return Claim(setting=SETTING, certified=certified, clean=clean)


def test_with_all_examples_the_numbers_are_exact() -> None:
    clean, certified = judge(claim(80.0, 95.0), tally(80, 10, 5, wrong=5), RADIUS, 100)
    assert (clean.measured, clean.interval.low, clean.interval.high) == (95, 95, 95)
    assert (certified.measured, certified.interval.low, certified.interval.high) == (80, 80, 85)
    assert clean.support == certified.support == "supported"


@pytest.mark.parametrize(
    ("claimed", "support"),
    [(80.0, "supported"), (80.04, "open"), (82.0, "open"), (85.0, "open"), (86.0, "contradicted")],
)
def test_what_is_undecided_leaves_a_claim_open(claimed: float, support: str) -> None:
    (judged,) = judge(claim(claimed), tally(80, 15, 5), RADIUS, 100)
    assert judged.support == support
    assert f"{claimed:.2f}" in judged.sentence
    assert "80.00" in judged.sentence


def test_a_subset_contradicts_only_what_its_interval_excludes() -> None:
    few = tally(10, 10, 0)
    (half,) = judge(claim(60.0), few, RADIUS, 10_000)
    assert half.support == "open"
    (most,) = judge(claim(95.0), few, RADIUS, 10_000)
    assert most.support == "contradicted"


@given(
    st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.floats(0, 100, allow_nan=False)
)
def test_a_claim_is_never_both_measured_and_contradicted(
    certified: int, falsified: int, unknown: int, claimed: float
) -> None:
    size = certified + falsified + unknown
    if size == 0:
        return
    (judged,) = judge(claim(claimed), tally(certified, falsified, unknown), RADIUS, size)
    if claimed <= 100 * certified / size:
        assert judged.support == "supported"
    if claimed > 100 * (certified + unknown) / size + 0.05:
        assert judged.support == "contradicted"
    assert judged.interval.low <= judged.measured <= judged.interval.high
