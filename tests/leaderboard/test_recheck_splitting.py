"""Rows of splitting noise: never accepted without their votes, refused where they lie."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.deterministic.splitting_noise import real_radius
from evaluators.noises.splitting import CUTS as EVALUATED
from evaluators.question.norm import Norm
from leaderboard.recheck.claims import RefusedError, UnknownError
from leaderboard.recheck.splitting import CUTS, check_splitting
from leaderboard.settings.setting import exact_text

STEPS = 40


NOISES = {cuts: noise for noise, cuts in CUTS.items()}


def row(honest: Fraction, steps: int = STEPS, cuts: int = 1, **changed: Any) -> dict[str, Any]:
    return {
        "n": None,
        "count": None,
        "radius": exact_text(honest),
        "status": "certified",
        "confidence": 1.0,
        "sigma": "4",
        "note": f"on the pixel grid: l1 radius {steps}/{255 * cuts}",
        **changed,
    }


def check(one: dict[str, Any], norm: str, dimension: int = 64, cuts: int = 1) -> None:
    check_splitting(one, norm, Fraction(1, 10**9), dimension, NOISES[cuts])


@given(
    st.sampled_from(list(Norm)),
    st.integers(0, 1000),
    st.integers(1, 4000),
    st.sampled_from(list(NOISES)),
)
def test_a_radius_that_follows_is_not_refused_and_any_larger_one_is(
    norm: Norm, steps: int, dimension: int, cuts: int
) -> None:
    honest = real_radius(steps, norm, dimension, Fraction(1, 10**7), cuts)
    with pytest.raises(UnknownError, match="not stored"):
        check(row(honest, steps, cuts), norm, dimension, cuts)
    with pytest.raises(RefusedError, match="its radius is"):
        check(row(honest + Fraction(2, 10**6), steps, cuts), norm, dimension, cuts)


def test_a_note_of_the_other_noise_is_refused() -> None:
    for cuts in NOISES:
        honest = real_radius(STEPS, Norm.L1, 64, Fraction(0), 3 - cuts)
        with pytest.raises(RefusedError, match="does not tell"):
            check(row(honest, cuts=3 - cuts), "l1", cuts=cuts)


def test_the_noises_are_those_of_the_evaluator() -> None:
    assert CUTS == EVALUATED


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"confidence": 0.9}, "its confidence is not 1."),
        ({"n": 100}, "nothing is sampled"),
        ({"note": ""}, "does not tell how many"),
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
        check_splitting(row(honest), "l1", Fraction(1), 64, "splitting")


def test_a_row_without_a_radius_claims_nothing() -> None:
    with pytest.raises(UnknownError):
        check(row(Fraction(1), radius=None, status="unknown"), "l1")
