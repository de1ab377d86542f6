"""CERTIFY with Gaussian noise, where the truth is known in closed form."""

from dataclasses import replace
from fractions import Fraction
from math import nextafter, sqrt

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.noises.distribution import Probabilities
from evaluators.noises.gaussian import GaussianNoise
from evaluators.probabilistic import smoothing_gaussian
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from evaluators.smoothing.balls import RESOLUTION, inscribed
from evaluators.smoothing.neyman_pearson import NeymanPearson
from evaluators.smoothing.radius import RadiusTarget
from tests.fixtures.networks import linear, two_convolutions

WEIGHT = (3.0, -4.0)
"""Class 1 where 3a - 4b > 0: a point's distance to the boundary is |3a - 4b| / 5."""


def half_plane(scale: Fraction = Fraction(1, 2)) -> SmoothedNetwork:
    return SmoothedNetwork(linear([[0.0, 0.0], WEIGHT], [0.0, 0.0]), "gaussian", scale)


def points(*distances: float) -> torch.Tensor:
    """Points of class 1 at these distances from the boundary."""
    return torch.tensor([[d * 3 / 5, -d * 4 / 5] for d in distances])


def ask(
    network: Network | SmoothedNetwork,
    x: torch.Tensor,
    label: int = 1,
    radius: str = "0.1",
    norm: Norm = Norm.L2,
    seed: int = 0,
    seconds: float = 60.0,
) -> Problem:
    labels = torch.full((len(x),), label)
    ball = Ball(norm, Fraction(radius), low=-10.0, high=10.0)
    return Problem(network, x, labels, ball, seconds, seed=seed)


def radius_of(p_lower: float, scale: Fraction = Fraction(1)) -> Fraction:
    bounds = Probabilities(p_lower, 1 - p_lower)
    return RadiusTarget(NeymanPearson(), GaussianNoise(), scale, Norm.L2, 1).certified(bounds)


def test_the_radius_converges_to_the_distance_from_a_plane() -> None:
    distances = (0.05, 0.2, 0.5, 0.9)
    evaluator = SmoothingGaussian(n=50_000)
    for distance, verdict in zip(
        distances, evaluator(ask(half_plane(), points(*distances))), strict=True
    ):
        assert verdict.prediction == 1
        assert verdict.radius is not None
        assert 0.9 * distance - 0.01 < verdict.radius < distance
        assert (verdict.status is Status.CERTIFIED) == (verdict.radius >= Fraction("0.1"))


@pytest.mark.slow
def test_the_guarantee_is_violated_no_more_often_than_stated_and_is_not_slack() -> None:
    distances = (0.1, 0.3, 0.6)
    repetitions, failure_probability = 250, 0.2
    evaluator = SmoothingGaussian(n0=5, n=200, failure_probability=failure_probability)
    network, x = half_plane(), points(*distances)
    violations = [0] * len(distances)
    for seed in range(repetitions):
        for row, verdict in enumerate(evaluator(ask(network, x, seed=seed))):
            too_large = verdict.radius is not None and verdict.radius > distances[row]
            violations[row] += too_large or verdict.prediction == 0
    most = binom.ppf(1 - 1e-6, repetitions, failure_probability)
    least = binom.ppf(1e-6, repetitions, failure_probability / 2)
    assert all(least <= count <= most for count in violations), violations


def test_a_boundary_point_is_abstained_on() -> None:
    (verdict,) = SmoothingGaussian(n=1000)(ask(half_plane(), points(0.0)))
    assert (verdict.status, verdict.prediction, verdict.radius) == (Status.UNKNOWN, None, None)
    assert verdict.note == "abstained"
    assert verdict.sampling is not None
    assert verdict.sampling.p_lower <= 0.5


def test_a_wrong_prediction_is_unknown_and_has_no_radius() -> None:
    (verdict,) = SmoothingGaussian(n=1000)(ask(half_plane(), points(0.9), label=0))
    assert (verdict.status, verdict.prediction, verdict.radius) == (Status.UNKNOWN, 1, None)
    assert verdict.note == "predicted 1"


def test_a_radius_below_the_one_asked_about_is_kept() -> None:
    (verdict,) = SmoothingGaussian(n=1000)(ask(half_plane(), points(0.5), radius="0.6"))
    assert verdict.status is Status.UNKNOWN
    assert verdict.prediction == 1
    assert verdict.radius is not None
    assert verdict.radius > Fraction("0.3")
    assert verdict.note == f"radius {float(verdict.radius):.6g} is below 0.6"


def test_the_radius_asked_about_is_compared_exactly() -> None:
    (verdict,) = SmoothingGaussian(n=1000)(ask(half_plane(), points(0.5)))
    assert verdict.radius is not None
    for change, outcome in ((Fraction(0), "certified "), (Fraction(1, 10**30), "unknown radius")):
        asked = str(verdict.radius + change)
        (again,) = SmoothingGaussian(n=1000)(ask(half_plane(), points(0.5), radius=asked))
        assert f"{again.status} {again.note}".startswith(outcome)


def test_the_evidence_is_recorded() -> None:
    (verdict,) = SmoothingGaussian(n0=50, n=1000, failure_probability=0.01)(
        ask(half_plane(), points(0.9), seed=7)
    )
    sampling = verdict.sampling
    assert verdict.confidence == pytest.approx(0.99)
    assert sampling is not None
    assert (sampling.n0, sampling.n, sampling.sigma, sampling.seed) == (50, 1000, Fraction(1, 2), 7)
    true = norm.cdf(0.9 / 0.5)
    assert abs(sampling.count / 1000 - true) < 5 * sqrt(true * (1 - true) / 1000)
    assert sampling.p_lower < sampling.count / 1000


def test_few_samples_limit_the_radius() -> None:
    """Certain answers give σ Φ⁻¹(failure_probability^(1/n)) and no more."""
    (verdict,) = SmoothingGaussian(n=100)(ask(half_plane(), points(5.0)))
    assert verdict.radius is not None
    assert float(verdict.radius) == pytest.approx(0.5 * norm.ppf(0.001 ** (1 / 100)), abs=2e-6)


def without_time(verdicts: list[Verdict]) -> list[Verdict]:
    return [replace(verdict, seconds=0.0) for verdict in verdicts]


def test_verdicts_do_not_depend_on_batch_order_or_shards() -> None:
    network = SmoothedNetwork(two_convolutions((3, 8, 8)), "gaussian", Fraction(1))
    x = torch.rand(13, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    evaluator = SmoothingGaussian(n0=20, n=700)
    problem = ask(network, x, label=3)
    whole = without_time(evaluator(problem))
    assert len({verdict.sampling.count for verdict in whole if verdict.sampling}) > 5
    order = [5, 0, 12, 7, 1, 2, 11, 3, 9, 4, 10, 6, 8]
    permuted = without_time(evaluator(problem.select(order)))
    assert permuted == [whole[row] for row in order]
    single = [without_time(evaluator(problem.select([row])))[0] for row in range(13)]
    assert single == whole
    shards = [evaluator(problem.select(range(*part))) for part in ((0, 4), (4, 13))]
    assert without_time(shards[0] + shards[1]) == whole


def test_selection_and_estimation_use_different_samples() -> None:
    """With one sample each, agreeing streams would always find what they selected."""
    evaluator = SmoothingGaussian(n0=1, n=1, failure_probability=0.4)
    network, x = half_plane(), points(0.01)
    counts = set()
    for seed in range(40):
        (verdict,) = evaluator(ask(network, x, seed=seed))
        assert verdict.sampling is not None
        counts.add(verdict.sampling.count)
    assert counts == {0, 1}


def test_a_ball_of_another_norm_lies_inside_the_l2_ball() -> None:
    radii = {}
    for kind in Norm:
        (verdict,) = SmoothingGaussian(n=1000)(ask(half_plane(), points(0.5), norm=kind))
        assert verdict.radius is not None
        radii[kind] = verdict.radius
    assert radii[Norm.L1] == radii[Norm.L2]
    assert 2 * radii[Norm.LINF] ** 2 <= radii[Norm.L2] ** 2
    assert float(radii[Norm.LINF]) == pytest.approx(float(radii[Norm.L2]) / sqrt(2), abs=2e-6)


@settings(deadline=None)
@given(st.fractions(0, 10), st.integers(1, 10**6))
def test_the_inscribed_cube_is_inside_and_cannot_grow_by_a_step(
    radius: Fraction, dimension: int
) -> None:
    step = Fraction(1, RESOLUTION)
    cube = inscribed(radius, Norm.LINF, dimension)
    rounded = inscribed(radius, Norm.L2, dimension)
    assert cube.denominator <= RESOLUTION
    assert rounded <= radius < rounded + step
    assert cube**2 * dimension <= rounded**2 < (cube + step) ** 2 * dimension


@settings(deadline=None)
@given(st.floats(0.5, 1, exclude_min=True, exclude_max=True), st.fractions("0.01", 4))
def test_the_radius_is_never_above_the_true_one(p_lower: float, scale: Fraction) -> None:
    radius = radius_of(p_lower, scale)
    with mpmath.workdps(60):
        quantile = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p_lower) - 1)
        true = quantile * scale.numerator / scale.denominator
        mine = mpmath.mpf(radius.numerator) / radius.denominator
        assert mine < true
        assert mine > true - mpmath.mpf("1.1e-6")


def test_a_radius_just_below_a_multiple_of_the_resolution_is_rounded_down() -> None:
    for steps in range(1_000, 3_000_000, 10_007):
        with mpmath.workdps(60):
            true = mpmath.ncdf(mpmath.mpf(steps) / RESOLUTION)
        p_lower = float(true)
        if p_lower > true:
            p_lower = nextafter(p_lower, 0)
        assert radius_of(p_lower) < Fraction(steps, RESOLUTION)


@pytest.mark.parametrize("p_lower", [0.0, 0.3, 0.5, 1.0, float("nan")])
def test_no_majority_or_no_probability_certifies_nothing(p_lower: float) -> None:
    assert radius_of(p_lower) == 0


def test_nothing_is_certified_from_fewer_samples_than_stated() -> None:
    problem = ask(half_plane(), points(0.9), seconds=1e-9)
    (verdict,) = SmoothingGaussian(n=1000)(problem)
    assert (verdict.status, verdict.note) == (Status.UNKNOWN, "timeout")
    assert verdict.radius is None


def test_a_network_without_finite_answers_is_never_certified() -> None:
    network = SmoothedNetwork(linear([[1e308], [-1e308]], [0, 0]), "gaussian", Fraction(1))
    (verdict,) = SmoothingGaussian(n=1000)(ask(network, torch.zeros(1, 1), label=0))
    assert (verdict.status, verdict.note) == (Status.UNKNOWN, "abstained")


def test_samples_without_a_class_count_against_the_prediction() -> None:
    """Class 1 has the left half line, where the first logit overflows beyond -1.13."""
    network = SmoothedNetwork(linear([[3e38], [0.0]], [-1, 0]), "gaussian", Fraction(10))
    (verdict,) = SmoothingGaussian(n=1000)(ask(network, torch.full((1, 1), -0.5), label=1))
    assert verdict.note == "abstained"
    assert verdict.sampling is not None
    assert verdict.sampling.count < 100


def test_other_noise_is_not_certified() -> None:
    network = replace(half_plane(), distribution="laplace")
    (verdict,) = SmoothingGaussian()(ask(network, points(0.9)))
    assert (verdict.status, verdict.note) == (Status.UNKNOWN, "unsupported: the noise is laplace")


def test_a_deterministic_network_is_refused() -> None:
    network = half_plane().base
    assert isinstance(network, Network)
    with pytest.raises(TypeError, match="smoothing-gaussian"):
        SmoothingGaussian()(ask(network, points(0.9)))


@pytest.mark.parametrize("options", [{"n": 0}, {"n0": 0}, {"failure_probability": 0.0}])
def test_impossible_options_certify_nothing(options: dict[str, float]) -> None:
    (verdict,) = SmoothingGaussian(**options)(ask(half_plane(), points(0.9)))  # type: ignore[arg-type]
    assert verdict.status is Status.UNKNOWN
    assert verdict.note.startswith("failed: ValueError")


def test_the_evaluator_is_in_the_catalogue() -> None:
    assert catalogue()["smoothing-gaussian"] is smoothing_gaussian.SmoothingGaussian
