"""A counterexample is stored in few bytes only where these are one, too."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluators.evaluator import clean_margins, predict, why_not_witness
from evaluators.falsification.pgd import PGD
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from leaderboard.evaluation import short_witness
from leaderboard.evaluation.short_witness import stored_witnesses
from leaderboard.results.witness import is_in_full, point_of
from tests.fixtures.networks import linear, perceptron

SHAPE = (1, 8, 8)
RADII = {Norm.LINF: Fraction(1, 5), Norm.L2: Fraction(6, 5), Norm.L1: Fraction(7)}


def attacked(norm: Norm, seed: int = 0) -> tuple[Problem, dict[int, Tensor]]:
    network = perceptron(SHAPE, hidden=20)
    shades = torch.randint(0, 256, (24, *SHAPE), generator=torch.Generator().manual_seed(seed))
    x = shades.float() / 255
    labels = torch.tensor([label or 0 for label in predict(network, x)])
    problem = Problem(network, x, labels, Ball(norm, RADII[norm]))
    verdicts = enumerate(PGD()(problem))
    return problem, {row: one.witness for row, one in verdicts if one.witness is not None}


def points(problem: Problem, stored: dict[int, bytes]) -> dict[int, Tensor]:
    return {
        row: torch.from_numpy(point_of(one, problem.x[row].numpy())) for row, one in stored.items()
    }


@pytest.mark.parametrize("norm", list(Norm))
def test_what_is_stored_is_a_counterexample_no_farther_away(norm: Norm) -> None:
    problem, found = attacked(norm)
    assert len(found) > 5
    stored = stored_witnesses(problem, found)
    assert stored.keys() == found.keys()
    for row, point in points(problem, stored).items():
        assert why_not_witness(problem, row, point) == ""
        x = problem.x[row].double()
        order = {Norm.LINF: torch.inf, Norm.L2: 2, Norm.L1: 1}[norm]
        before, now = (
            float(torch.linalg.vector_norm((one.double() - x).flatten(), order))
            for one in (found[row], point)
        )
        assert now <= before * (1 + 2e-6)
    short = [one for one in stored.values() if not is_in_full(one, 64)]
    assert len(short) > len(stored) * 0.8
    assert sum(map(len, stored.values())) < 64 * len(stored)


def test_what_is_stored_is_no_closer_to_a_tie_than_one_percent_of_the_way() -> None:
    """On another machine the last digits of the logits differ."""
    problem, found = attacked(Norm.LINF)
    rows = list(found)
    assert isinstance(problem.network, Network)
    labels = problem.labels[rows]
    stored = points(problem, stored_witnesses(problem, found))
    at_example, at_found, now = (
        np.array(clean_margins(problem.network, some, labels))
        for some in (
            problem.x[rows],
            torch.stack([*found.values()]),
            torch.stack([stored[row] for row in rows]),
        )
    )
    assert (now <= np.maximum(at_found, -0.01 * (at_example - at_found)) + 1e-6).all()


def test_few_pixels_are_moved_where_few_are_enough() -> None:
    """Margin 1/10 - x0, around 0: one pixel alone changes the class."""
    network = linear([[-1.0] + [0.0] * 63, [0.0] * 64], [0.1, 0.0])
    x, label = torch.zeros(1, 64), torch.tensor([0])
    problem = Problem(network, x, label, Ball(Norm.LINF, Fraction(1, 2)))
    (stored,) = stored_witnesses(problem, {0: torch.full((64,), 0.5)}).values()
    assert np.count_nonzero(point_of(stored, x[0].numpy())) <= 4


def marginal() -> tuple[Problem, Tensor]:
    """A tie that only moves in the ratio of the weights reach, of 64 different ones."""
    weights = torch.linspace(0.5, 1.5, 64, dtype=torch.float64).sqrt()
    x = torch.full((64,), 0.25)
    found = (x + 0.5 * weights / weights.norm()).float()
    bias = float(weights @ found.double())
    network = linear([(-weights).tolist(), [0.0] * 64], [bias, 0.0])
    radius = Fraction(float((found.double() - x).norm())) + Fraction(1, 10**9)
    problem = Problem(network, x[None], torch.tensor([0]), Ball(Norm.L2, radius))
    return problem, found


def test_a_counterexample_that_nothing_simple_comes_near_is_stored_as_it_was_found() -> None:
    problem, found = marginal()
    stored = stored_witnesses(problem, {0: found})
    assert torch.equal(points(problem, stored)[0], found)
    assert is_in_full(stored[0], 64)


def test_what_the_check_refuses_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is in float32 alone; the check also asks float64 and onnxruntime."""
    problem, found = attacked(Norm.LINF)
    monkeypatch.setattr(short_witness, "why_not_witness", lambda *_: "onnxruntime says no")
    for row, point in points(problem, stored_witnesses(problem, found)).items():
        assert torch.equal(point, found[row])


def test_a_network_without_slopes_is_no_obstacle() -> None:
    """Whatever the input is, the label loses: no pixel need move."""
    network = linear([[0.0] * 64, [0.0] * 64], [0.0, 1.0])
    problem = Problem(
        network, torch.zeros(1, 64), torch.tensor([0]), Ball(Norm.LINF, Fraction(1, 2))
    )
    stored = stored_witnesses(problem, {0: torch.full((64,), 0.5)})
    assert why_not_witness(problem, 0, points(problem, stored)[0]) == ""
    assert not is_in_full(stored[0], 64)


def test_a_counterexample_that_is_the_example_itself_is_stored_as_it_is() -> None:
    """A tie, which one run of the network reads as the label, and another one does not."""
    x = torch.full((1, 64), 0.5)
    network = linear([[0.0] * 64, [0.0] * 64], [0.0, 0.0])
    problem = Problem(network, x, torch.tensor([0]), Ball(Norm.L2, Fraction(1, 2)))
    assert point_of(stored_witnesses(problem, {0: x[0]})[0], x[0].numpy()).tolist() == x[0].tolist()


def test_where_nothing_was_found_nothing_is_stored() -> None:
    problem, _ = attacked(Norm.LINF)
    assert stored_witnesses(problem, {}) == {}
