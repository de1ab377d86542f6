"""The plan's simulation says what its draws say."""

from pathlib import Path

import numpy as np
import pytest

from leaderboard.common.project import find_project
from leaderboard.results.store import stored_paths
from tests.benchmarks.ten_thousand import ASKED, Measured, measured, report, simulate


def test_cost_is_that_of_the_rows_that_are_drawn() -> None:
    random = np.random.default_rng(1)
    all_of_it = Measured("all", np.ones(3), 20.0)
    assert simulate([all_of_it], 4, 50, random).samples == 200 * ASKED
    assert simulate([all_of_it], 4, 50, random).stored == 4000
    half = Measured("half", np.array([0.0, 1.0]), 20.0)
    assert simulate([half], 40, 500, random).samples == pytest.approx(10_000 * ASKED, rel=0.05)
    told = report(simulate([all_of_it], 10, 3600, random), 10, 3600, seconds=2.0, price=3.0)
    assert told[1].split()[-1] == "20"
    assert told[2].split()[-2:] == ["60", "$"]


def test_it_draws_from_committed_rows_with_and_without_an_early_end() -> None:
    shares = [kind.shares for kind in measured(stored_paths(find_project(Path(__file__).parent)))]
    assert any(some.min() == 1 for some in shares)
    assert any(some.mean() < 0.1 for some in shares)
