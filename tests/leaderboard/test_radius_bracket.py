import random

import pytest

from leaderboard.evaluation.radius_bracket import GRID, MOST_STEPS, Bracket


def steps_to(edge: int, margins: dict[int, float | None]) -> int:
    """Search where exactly the radii up to `edge` can be certified; the steps it took."""
    bracket = Bracket()
    for end in (0, GRID):
        bracket.note(end, margins.get(end))
    while (k := bracket.next()) is not None:
        assert bracket.certified < k < bracket.failed
        bracket.learn(k, k <= edge, margins.get(k))
    assert (bracket.certified, bracket.failed) == (edge, edge + 1)
    return bracket.steps


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_margins_say_the_edge_is_found_in_few_steps(seed: int) -> None:
    draw = random.Random(seed)
    for edge in [0, 1, GRID - 2, GRID - 1, *draw.choices(range(GRID), k=300)]:
        size = draw.choice([1e-9, 1.0, 1e9])
        misleading: dict[int, float | None] = {
            k: draw.choice([None, float("nan"), draw.random() * size * (1 if k <= edge else -1)])
            for k in range(GRID + 1)
        }
        assert steps_to(edge, misleading) <= MOST_STEPS


@pytest.mark.parametrize("edge", [3, 70, 294, 500, 853, 1012])
@pytest.mark.parametrize("power", [1, 2, 3])
def test_smooth_margins_are_followed(edge: int, power: int) -> None:
    smooth: dict[int, float | None] = {
        k: 7.0 * (1 - (k / (edge + 0.5)) ** power) for k in range(GRID + 1)
    }
    assert steps_to(edge, smooth) <= 8
    assert steps_to(edge, {}) == 10


def test_a_witness_leaves_only_smaller_radii() -> None:
    bracket = Bracket()
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
    bracket = Bracket(proved, growing=True)
    if edge <= proved:
        return
    first = bracket.next()
    assert first is not None
    assert 0 < first - proved <= max(proved / 16, GRID / 64)
    asked = []
    while (k := bracket.next()) is not None:
        asked.append(k)
        bracket.learn(k, k <= edge, None)
    assert bracket.certified == edge
    assert bracket.steps <= MOST_STEPS + 1
