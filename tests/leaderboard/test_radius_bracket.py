import random
from fractions import Fraction
from itertools import product
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.evaluation.radius_bracket import PRECISION, Bracket, RadiusScale
from tests.fixtures.effort import first_alone

TOP = 1024


def steps_to(edge: int, margins: dict[int, float | None]) -> int:
    """Search where exactly the radii up to `edge` can be certified; the steps it took."""
    bracket = Bracket(TOP)
    for end in (0, TOP):
        bracket.note(end, margins.get(end))
    while (k := bracket.next()) is not None:
        assert bracket.certified < k < bracket.failed
        bracket.learn(k, k <= edge, margins.get(k))
    assert (bracket.certified, bracket.failed) == (edge, edge + 1)
    return bracket.steps


@pytest.mark.parametrize("seed", first_alone(range(4)))
def test_whatever_the_margins_say_the_edge_is_found_in_few_steps(seed: int) -> None:
    draw = random.Random(seed)
    for edge in [0, 1, TOP - 2, TOP - 1, *draw.choices(range(TOP), k=300)]:
        size = draw.choice([1e-9, 1.0, 1e9])
        misleading: dict[int, float | None] = {
            k: draw.choice([None, float("nan"), draw.random() * size * (1 if k <= edge else -1)])
            for k in range(TOP + 1)
        }
        assert steps_to(edge, misleading) <= 13


def test_smooth_margins_are_followed() -> None:
    steps = []
    for edge in (3, 70, 294, 500, 853, 1012):
        for power in (1, 2, 3):
            smooth: dict[int, float | None] = {
                k: 7.0 * (1 - (k / (edge + 0.5)) ** power) for k in range(TOP + 1)
            }
            steps.append(steps_to(edge, smooth))
        assert steps_to(edge, {}) == 10
    assert mean(steps) < 8


def test_margins_are_followed_over_decades() -> None:
    """Bisection takes 14 steps or so."""
    steps = []
    for edge, largest, power in product(
        ("0.00321", "0.0713", "0.2"), ("0.3", "1", "27.7", "3072"), (1, 2, 3)
    ):
        scale, bend = RadiusScale.below(Fraction(largest)), float(Fraction(edge))
        bracket = Bracket(scale.number(Fraction(largest)), length=scale.length)
        for k in (0, bracket.failed):
            bracket.note(k, 7 * (1 - (scale.length(k) / bend) ** power))
        while (asked := bracket.next()) is not None:
            margin = 7 * (1 - (scale.length(asked) / bend) ** power)
            bracket.learn(asked, margin > 0, margin)
        proved, failed = map(scale.radius, (bracket.certified, bracket.failed))
        assert proved < Fraction(edge) <= failed <= proved * (1 + Fraction(1, PRECISION))
        steps.append(bracket.steps)
    assert max(steps) <= 17
    assert mean(steps) < 11


def test_a_witness_leaves_only_smaller_radii() -> None:
    bracket = Bracket(TOP)
    bracket.fail(101)
    bracket.fail(500)
    asked = []
    while (k := bracket.next()) is not None:
        asked.append(k)
        bracket.learn(k, True, None)
    assert (max(asked), bracket.certified) == (100, 100)
    assert len(asked) <= 7


@pytest.mark.parametrize("proved", [0, 1, 96, 700])
@pytest.mark.parametrize("edge", [1, 70, 100, 110, 300, 704, 1023])
def test_growth_begins_beside_what_is_proved_and_ends_as_soon(proved: int, edge: int) -> None:
    """The first radius asked about is at most a sixteenth beyond, or a sixty-fourth of all."""
    bracket = Bracket(TOP, proved, growing=True)
    if edge <= proved:
        return
    first = bracket.next()
    assert first is not None
    assert 0 < first - proved <= max(1, proved / 16, 0 if proved else TOP / 64)
    while (k := bracket.next()) is not None:
        bracket.learn(k, k <= edge, None)
    assert bracket.certified == edge
    assert bracket.steps <= 14


@given(st.fractions(min_value=Fraction(1, 10**9), max_value=10**4))
def test_the_radii_of_all_scales_are_the_same_and_close_together(radius: Fraction) -> None:
    scale = RadiusScale.below(radius)
    k = scale.number(radius)
    assert scale.radius(k - 1) < radius <= scale.radius(k)
    assert scale.number(scale.radius(k)) == k
    assert k > 1000
    assert scale.radius(k) <= scale.radius(k - 1) * (1 + Fraction(1, PRECISION))
    finer = RadiusScale(scale.least - 3)
    assert finer.radius(finer.number(radius)) == scale.radius(k)
