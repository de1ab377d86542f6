"""PGD finds what there is to find, inside the region, by its own stream."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from evaluators.cascade import Cascade, default_stages
from evaluators.falsification.pgd import PGD
from evaluators.question.float_region import FloatRegion, project_l1
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.networks import Graph, linear, of_every_kind
from tests.fixtures.tiny import FAMILIES, REGIONS, ask, centers


def half_space(norm: Norm, radius: Fraction) -> Problem:
    """Margin 3a - 4b + 1/2 at a = b = 1/2: broken beyond 0, whatever the norm."""
    network = linear([[3.0, -4.0], [0.0, 0.0]], [0.5 + 1e-3, 0.0])
    return Problem(network, torch.full((1, 2), 0.5), torch.tensor([0]), Ball(norm, radius))


@pytest.mark.parametrize(("norm", "dual"), [(Norm.LINF, 7), (Norm.L2, 5), (Norm.L1, 4)])
def test_a_linear_network_is_broken_just_beyond_its_radius(norm: Norm, dual: int) -> None:
    true = Fraction(1, 1000) / dual
    (beyond,) = PGD()(half_space(norm, true * Fraction(11, 10)))
    assert beyond.status is Status.FALSIFIED
    assert beyond.witness is not None
    (within,) = PGD()(half_space(norm, true * Fraction(9, 10)))
    assert within.status is Status.UNKNOWN
    assert within.note == "no witness found"
    assert within.radius is None


def test_momentum_goes_along_a_valley_that_plain_steps_only_cross() -> None:
    """Margin 3|a - b| + 1.2 - (a + b): signs of its gradient lead across the valley a = b."""
    graph = Graph((2,))
    graph.dense(3, torch.tensor([[1.0, -1], [-1, 1], [1, 1]]).double(), torch.zeros(3).double())
    graph.relu()
    margin = torch.tensor([[3.0, 3, -1], [0, 0, 0]]).double()
    graph.dense(2, margin, torch.tensor([1.2, 0]).double())
    x = torch.tensor([[0.5, 0.53]])
    ball = Ball(Norm.LINF, Fraction(1, 5))
    problem = Problem(graph.network(), x, torch.tensor([0]), ball)
    assert PGD(restarts=1, momentum=0.0)(problem)[0].status is Status.UNKNOWN
    assert PGD(restarts=1)(problem)[0].status is Status.FALSIFIED


@pytest.mark.slow
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("momentum", [0.0, 0.75])
@pytest.mark.parametrize("family", ["relu 2-4-4-3", "pooled", "residual"])
def test_witnesses_lie_in_the_region_exactly(region: str, family: str, momentum: float) -> None:
    broken = 0
    for seed in range(4):
        network = FAMILIES[family](seed)
        problem = ask(network, centers(network, seed, 4), REGIONS[region])
        found = PGD(momentum=momentum)(problem)
        for x, label, verdict in zip(problem.x, problem.labels, found, strict=True):
            assert "refused" not in verdict.note
            if verdict.witness is not None:
                broken += 1
                assert problem.region.contains(x, verdict.witness)
                logits = network(verdict.witness[None].double())[0]
                assert int(logits.argmax()) != int(label) or float(logits.diff().abs()) < 1e-6
    assert broken


@pytest.mark.parametrize("norm", list(Norm))
def test_projection_ends_inside_and_leaves_the_inside_alone(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(3)
    ball = Ball(norm, Fraction(8, 255))
    x = torch.randint(0, 256, (200, 3, 4), generator=generator) / 255
    region = FloatRegion(ball, x)
    moved = region.project(x + torch.randn(x.shape, generator=generator))
    assert all(ball.contains(a, b) for a, b in zip(x, moved, strict=True))
    assert torch.allclose(region.project(moved), moved, atol=1e-6)
    assert torch.equal(region.project(x), x)


def test_the_l1_projection_is_the_nearest_point() -> None:
    """(3, 1, 0) onto the ball of radius 2 is (2, 0, 0); (1, 1) onto 1 is (1/2, 1/2)."""
    assert project_l1(torch.tensor([[3.0, -1.0, 0.0]]), 2.0).tolist() == [[2.0, 0.0, 0.0]]
    assert project_l1(torch.tensor([[1.0, 1.0]]), 1.0).tolist() == [[0.5, 0.5]]
    assert project_l1(torch.tensor([[0.25, -0.5]]), 1.0).tolist() == [[0.25, -0.5]]


def test_starts_belong_to_examples_not_to_batches() -> None:
    """The same witness alone, in another order and in another batch."""
    network = of_every_kind()
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    problem = replace(ask(network, x, Ball(Norm.LINF, Fraction(1, 10))), seed=5)
    together = PGD()(problem)
    backwards = PGD()(problem.select(range(5, -1, -1)))[::-1]
    for row, (one, other) in enumerate(zip(together, backwards, strict=True)):
        (alone,) = PGD()(problem.select([row]))
        assert one.status is other.status is alone.status
        if one.witness is not None:
            assert alone.witness is not None
            assert torch.allclose(one.witness, alone.witness, atol=1e-4)


@pytest.mark.slow
def test_restarts_help() -> None:
    found = {1: 0, 6: 0}
    for restarts in found:
        for seed in range(12):
            network = FAMILIES["relu 2-4-4-3"](seed)
            problem = ask(network, centers(network, seed, 4), REGIONS["linf"])
            verdicts = PGD(restarts=restarts)(problem)
            found[restarts] += sum(v.status is Status.FALSIFIED for v in verdicts)
    assert found[6] >= found[1] > 0


def test_the_cascade_attacks_what_intervals_do_not_prove_before_it_tries_harder() -> None:
    names = [stage.name() for stage in default_stages()]
    assert names.index("ibp") < names.index("pgd") < names.index("crown")
    (verdict,) = Cascade(default_stages())(half_space(Norm.LINF, Fraction(1, 100)))
    assert (verdict.status, verdict.stage) == (Status.FALSIFIED, "pgd")
