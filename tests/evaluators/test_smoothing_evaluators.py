"""Every evaluator of the smoothing family on half-planes, whose true radius is their distance.

For noise that is symmetric in each entry, the smoothed network of a half-plane beside an axis
changes its answer where the half-plane ends.
"""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from scipy.stats import binom

from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from evaluators.smoothing.evaluator import SmoothingEvaluator
from tests.fixtures.networks import linear
from tests.fixtures.smoothing import NAMES, of

EVALUATORS = {
    name: kind for name, kind in catalogue().items() if issubclass(kind, SmoothingEvaluator)
}
FAMILIES = ("pixeldp", "renyi", "f-divergence", "level-set", "smoothing-lipschitz", "first-order")


def ask(
    noise: str, distances: list[float], norm: Norm, seed: int = 0, scale: Fraction = Fraction(1)
) -> Problem:
    """Class 1 where the first of three entries is positive; points at these distances."""
    network = linear([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [0.0, 0.0])
    x = torch.tensor([[distance, 0.3, -0.2] for distance in distances])
    ball = Ball(norm, Fraction("0.05"), low=-10.0, high=10.0)
    labels = torch.ones(len(x), dtype=torch.int64)
    return Problem(SmoothedNetwork(network, noise, scale), x, labels, ball, seed=seed)


def radii(verdicts: list[Verdict]) -> list[float]:
    return [float(verdict.radius or 0) for verdict in verdicts]


@pytest.mark.slow
@pytest.mark.parametrize("noise", NAMES)
def test_the_radius_converges_to_the_distance_where_the_half_plane_is_the_worst(
    noise: str,
) -> None:
    distances = [0.1, 0.4, 0.7]
    evaluator = EVALUATORS[f"smoothing-{noise}"](n0=2000, n=100_000)
    found = radii(evaluator(ask(noise, distances, of(noise).own[0])))
    assert all(mine < true for mine, true in zip(found, distances, strict=True))
    # An axis is not the worst direction of noise of cubes; in a ball half-planes are not the worst.
    part = {"exponential-linf": 0.0, "exponential-l2": 0.5, "uniform-ball": 0.5}.get(noise, 0.95)
    assert all(mine > part * true - 0.03 for mine, true in zip(found, distances, strict=True))


@pytest.mark.parametrize("noise", NAMES)
@pytest.mark.parametrize("name", sorted(EVALUATORS))
def test_no_evaluator_exceeds_the_distance_or_takes_what_it_does_not_know(
    name: str, noise: str
) -> None:
    distances = [0.0, 0.1, 0.5]
    for norm in Norm:
        problem = ask(noise, distances, norm, seed=3)
        verdicts = EVALUATORS[name](n=2000)(problem)
        takes = name == f"smoothing-{noise}" or (
            name in FAMILIES and (name != "first-order" or noise == "gaussian")
        )
        if not takes:
            assert {verdict.status for verdict in verdicts} == {Status.UNKNOWN}
            assert all(verdict.note.startswith("unsupported: ") for verdict in verdicts)
            continue
        assert verdicts[0].note == "abstained"
        for verdict, true in zip(verdicts[1:], distances[1:], strict=True):
            assert not verdict.note.startswith(("unsupported", "failed"))
            assert float(verdict.radius or 0) < true


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["gaussian", "laplace", "uniform"])
def test_whole_runs_exceed_the_distance_as_seldom_as_stated(noise: str) -> None:
    """Ten samples select and 200 estimate, with another seed each time."""
    evaluator = EVALUATORS[f"smoothing-{noise}"](n0=10, n=200, failure_probability=0.1)
    runs, wrong = 150, 0
    for seed in range(runs):
        (verdict,) = evaluator(ask(noise, [0.4], of(noise).own[0], seed))
        wrong += verdict.prediction == 0 or (verdict.radius or 0) > 0.4
    assert binom.ppf(1e-6, runs, 0.05) <= wrong <= binom.ppf(1 - 1e-6, runs, 0.1)


@pytest.mark.parametrize("name", FAMILIES)
def test_two_sides_and_own_noise_work_with_every_family(name: str) -> None:
    problem = ask("gaussian", [0.6], Norm.L2)
    evaluator = EVALUATORS[name](n=5000, sides=2, noise="own")
    (verdict,) = evaluator(problem)
    assert verdict.sampling is not None
    assert (verdict.sampling.noise, verdict.sampling.p_upper is not None) == ("own", True)
    assert 0 < float(verdict.radius or 0) < 0.6


def test_families_keep_their_order_on_the_same_counts() -> None:
    problem = ask("gaussian", [1.2], Norm.L2)
    found = {
        name: radii(EVALUATORS[name](n=20_000)(problem))[0]
        for name in (*FAMILIES, "smoothing-gaussian")
    }
    best = found.pop("smoothing-gaussian")
    # It spends half of its failure probability on the gradient.
    assert best - 0.01 < found.pop("first-order") < best + 0.01
    assert abs(found["level-set"] - best) < 3e-6
    assert all(value <= best for value in found.values())
    assert found["pixeldp"] < found["renyi"] < best


def test_a_larger_scale_gives_a_larger_radius() -> None:
    """The noise is in the units of the input."""
    evaluator = EVALUATORS["smoothing-exponential-l2"](n=20_000)
    for scale in (Fraction(1, 10), Fraction(1)):
        problem = ask("exponential-l2", [0.8 * float(scale)], Norm.L2, scale=scale)
        (found,) = radii(evaluator(problem))
        assert 0.3 < found / float(scale) < 0.8


def test_a_noise_of_another_name_is_not_taken() -> None:
    problem = ask("gaussian", [0.5], Norm.L2)
    assert isinstance(problem.network, SmoothedNetwork)
    problem = replace(problem, network=replace(problem.network, distribution="cauchy"))
    for name in EVALUATORS:
        (verdict,) = EVALUATORS[name](n=100)(problem)
        assert verdict.note == "unsupported: the noise is cauchy"
