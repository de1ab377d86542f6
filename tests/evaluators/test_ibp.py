"""IBP by hand and against a peer."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from evaluators.deterministic.ibp import IBP
from evaluators.propagation.linear_bounds import interval_relaxation, margins
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.evaluators.test_backward import by_hand
from tests.fixtures.peer import RADII, peer


def test_a_margin_by_hand() -> None:
    """relu(x + y) - relu(x - y) + 3 over [-1, 1]²: 0 - 2 + 3; over half of it 0 - 1 + 3."""
    for radius, expected in [(Fraction(1), 1.0), (Fraction(1, 2), 2.0)]:
        region = Ball(Norm.LINF, radius, -1.0, 1.0)
        (verdict,) = IBP()(
            Problem(by_hand(), torch.zeros(1, 2), torch.tensor([0]), region, deployed=False)
        )
        assert verdict.status is Status.CERTIFIED
        assert verdict.margin == pytest.approx(expected, abs=1e-12)
        assert verdict.radius == radius
        assert verdict.stage == "ibp"


@pytest.mark.parametrize("model", RADII)
def test_margins_equal_a_peers_or_exceed_them(shared: Path, shared_data: Path, model: str) -> None:
    given = peer(shared, model, "ibp", 10)
    ours = margins(interval_relaxation(given.problem), given.problem.labels, to_input=False)
    assert bool((ours >= given.margins - 1e-4 * given.margins.abs().clamp(min=1)).all())


def test_out_of_time_is_unknown() -> None:
    region = Ball(Norm.LINF, Fraction(1, 2), -1.0, 1.0)
    problem = Problem(
        by_hand(),
        torch.zeros(300, 2),
        torch.zeros(300, dtype=torch.long),
        region,
        seconds=1e-12,
        deployed=False,
    )
    assert {(v.status, v.note) for v in IBP()(problem)} == {(Status.UNKNOWN, "timeout")}
