"""Rows of splitting noise: never accepted without their votes, refused where they lie."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.deterministic.splitting_noise import real_radius
from evaluators.question.norm import Norm
from leaderboard.recheck.claims import RefusedError, UnknownError
from leaderboard.recheck.splitting import check_splitting
from leaderboard.settings.setting import exact_text

STEPS = 40


def row(honest: Fraction, steps: int = STEPS, **changed: Any) -> dict[str, Any]:
    return {
        "n": None,
        "count": None,
        "radius": exact_text(honest),
        "status": "certified",
        "confidence": 1.0,
        "sigma": "4",
        "note": f"on the pixel grid: l1 radius {steps}/255",
        **changed,
    }


def check(one: dict[str, Any], norm: str, dimension: int = 64) -> None:
    check_splitting(one, norm, Fraction(1, 10**9), dimension)


@given(st.sampled_from(list(Norm)), st.integers(0, 1000), st.integers(1, 4000))
def test_a_radius_that_follows_is_not_refused_and_any_larger_one_is(
    norm: Norm, steps: int, dimension: int
) -> None:
    honest = real_radius(steps, norm, dimension, Fraction(1, 10**7))
    with pytest.raises(UnknownError, match="not stored"):
        check(row(honest, steps), norm, dimension)
    with pytest.raises(RefusedError, match="its radius is"):
        check(row(honest + Fraction(2, 10**6), steps), norm, dimension)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"confidence": 0.9}, "its confidence is not 1."),
        ({"n": 100}, "nothing is sampled"),
        ({"note": ""}, "does not tell its steps"),
        ({"sigma": "0.3333"}, "no whole number of splits"),
        ({"sigma": "0.1"}, "too many for 51 splits"),
        ({"radius": None}, "certified without a radius"),
        ({"radius": "0.01"}, "its radius is only"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], reason: str) -> None:
    honest = real_radius(STEPS, Norm.L1, 64, Fraction(0))
    with pytest.raises(RefusedError, match=reason):
        check(row(honest, **changed), "l1")


def test_a_radius_smaller_than_asked_about_is_not_certified() -> None:
    honest = real_radius(STEPS, Norm.L1, 64, Fraction(0))
    with pytest.raises(RefusedError, match="too small"):
        check_splitting(row(honest), "l1", Fraction(1), 64)


def test_a_row_without_a_radius_claims_nothing() -> None:
    with pytest.raises(UnknownError):
        check(row(Fraction(1), radius=None, status="unknown"), "l1")
