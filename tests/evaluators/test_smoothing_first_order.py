"""First order: the worst case given the gradient, its confidence bound, and the evaluator."""

from fractions import Fraction
from math import inf, nan, pi, sqrt

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, vstack
from scipy.stats import binom, norm

from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.noises import distributions
from evaluators.noises.distribution import Probabilities
from evaluators.probabilistic.first_order import FirstOrder, FirstOrderSmoothing
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.smoothing import gradient as gradient_module
from evaluators.smoothing.balls import RESOLUTION
from evaluators.smoothing.confidence import clopper_pearson_lower
from evaluators.smoothing.gradient import (
    VARIANCE_PROXY,
    gradient_bound,
    least_given_gradient,
    solve,
)
from evaluators.smoothing.neyman_pearson import NeymanPearson
from evaluators.smoothing.radius import RadiusTarget
from tests.fixtures.effort import examples, first_alone
from tests.fixtures.networks import Graph, linear

GAUSSIAN = distributions()["gaussian"]


def radius(p: float, gradient: float, upper: float | None = None) -> Fraction:
    bounds = Probabilities(p, 1 - p if upper is None else upper)
    return RadiusTarget(FirstOrder(gradient), GAUSSIAN, Fraction(1), Norm.L2, 3).certified(bounds)


def zeroth(p: float, upper: float | None = None) -> Fraction:
    bounds = Probabilities(p, 1 - p if upper is None else upper)
    return RadiusTarget(NeymanPearson(), GAUSSIAN, Fraction(1), Norm.L2, 3).certified(bounds)


def steepest(p: float) -> float:
    return float(norm.pdf(norm.ppf(p)))


# The worst case


def brute_force(p: float, gradient: float, shift: tuple[float, float], cells: int = 61) -> float:
    """The least probability after the shift, over all f on the cells of a grid of the plane.

    The gradient's length is bounded in 24 directions: by a polygon around the disc.
    """
    axis = np.linspace(-5.5, 5.5, cells)
    x, y = (part.ravel() for part in np.meshgrid(axis, axis))
    before = np.exp(-(x**2 + y**2) / 2)
    total = before.sum()
    before /= total
    after = np.exp(-((x - shift[0]) ** 2 + (y - shift[1]) ** 2) / 2) / total
    turns = np.arange(24) * 2 * pi / 24
    moments = [csr_matrix(before * (np.cos(t) * x + np.sin(t) * y)) for t in turns]
    rows = vstack([csr_matrix(-before), *moments])
    most = np.concatenate(([-p], np.full(24, gradient)))
    found = linprog(after, A_ub=rows, b_ub=most, bounds=(0, 1), method="highs")
    assert found.status == 0
    return float(found.fun)


@pytest.mark.parametrize(
    "shift", first_alone([(1.2 / sqrt(2), 1.2 / sqrt(2)), (1.2, 0.0), (0.0, -1.2)])
)
@pytest.mark.parametrize(("p", "part"), [(0.8, 0.5), (0.9, 0.2), (0.9, 0.8), (0.95, 0.0)])
def test_the_worst_case_is_that_of_all_networks_on_the_plane(
    shift: tuple[float, float], p: float, part: float
) -> None:
    gradient = part * steepest(p)
    mine = least_given_gradient(p, gradient, 1.2)
    assert mine == pytest.approx(brute_force(p, gradient, shift), abs=6e-3)
    assert mine > norm.cdf(norm.ppf(p) - 1.2)


def worst_on_a_line(p: float, gradient: float, t: float) -> float:
    z = np.linspace(-9, 9, 6001)
    before, after = norm.pdf(z) * (z[1] - z[0]), norm.pdf(z - t) * (z[1] - z[0])
    rows = np.array([-before, -before * z])
    return float(linprog(after, A_ub=rows, b_ub=[-p, gradient], bounds=(0, 1)).fun)


@pytest.mark.parametrize("p", [0.6, 0.9, 0.999])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("t", first_alone([0.8, 0.01, 3.0]))
def test_the_worst_case_is_that_of_all_networks_on_a_line(p: float, part: float, t: float) -> None:
    gradient = part * steepest(p)
    expected = worst_on_a_line(p, gradient, t)
    assert least_given_gradient(p, gradient, t) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("error", [(0.2, 0.0), (-0.2, 0.0), (0.0, 0.1), (0.0, -0.1), (0.1, -0.1)])
def test_wrong_ends_of_the_slab_only_lose(
    error: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for p, part, t in ((0.9, 0.5, 1.0), (0.7, 0.1, 0.6)):
        gradient = part * steepest(p)
        right = least_given_gradient(p, gradient, t)
        start, end = gradient_module._interval(p, gradient) or (0.0, 0.0)
        moved = start + error[0], end + error[1]
        monkeypatch.setattr(gradient_module, "_interval", lambda *_, ends=moved: ends)
        assert least_given_gradient(p, gradient, t) < right
        monkeypatch.undo()


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.floats(0.51, 0.9999), st.floats(0, 0.999), st.floats(1e-3, 4))
def test_what_is_left_is_below_the_slab_of_forty_digits(p: float, part: float, t: float) -> None:
    """The slab is a network; its bounds are as given, so nothing above it can be proved."""
    gradient = part * steepest(p)
    with mpmath.workdps(40):
        q, g = mpmath.mpf(p), mpmath.mpf(gradient)

        def quantile(u: mpmath.mpf) -> mpmath.mpf:
            return mpmath.sqrt(2) * mpmath.erfinv(2 * u - 1)

        def slope(below: mpmath.mpf) -> mpmath.mpf:
            return mpmath.npdf(quantile(q + below)) - mpmath.npdf(quantile(below))

        low, high = mpmath.mpf("1e-40"), (1 - q) / 2
        for _ in range(120):
            middle = mpmath.sqrt(low * high) if low < high / 2 else (low + high) / 2
            low, high = (middle, high) if slope(middle) > g else (low, middle)
        start, end = quantile(high), quantile(q + high)
        true = mpmath.ncdf(end - t) - mpmath.ncdf(start - t)
        assert least_given_gradient(p, gradient, t) < true


@settings(deadline=None, max_examples=examples(100))
@given(st.floats(0.5001, 0.99999), st.floats(0, 2), st.floats(0.01, 1))
def test_first_order_is_never_below_zeroth_and_falls_with_the_gradient(
    p: float, part: float, less: float
) -> None:
    found = radius(p, part * steepest(p))
    assert found >= zeroth(p)
    assert radius(p, part * less * steepest(p)) >= found
    assert found.denominator <= RESOLUTION
    upper = (1 - p) * less
    assert radius(p, part * steepest(p), upper) >= max(found, zeroth(p, upper))


def test_a_half_space_gains_nothing_and_a_flat_network_much() -> None:
    for p in (0.6, 0.9, 0.99):
        assert radius(p, steepest(p)) == zeroth(p)
        assert radius(p, inf) == radius(p, nan) == zeroth(p)
        # With no gradient the worst is the slab across: Φ(a - r) - Φ(-a - r) = 1/2.
        a, r = norm.ppf((1 + p) / 2), float(radius(p, 0.0))
        assert r > float(zeroth(p)) + 0.05
        assert norm.cdf(a - r) - norm.cdf(-a - r) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0, nan])
def test_no_majority_or_no_probability_certifies_nothing(p: float) -> None:
    assert radius(p, 0.0) == 0
    assert radius(p, 0.1) == 0


@pytest.mark.parametrize("gradient", [-0.1, nan, inf])
def test_what_is_no_bound_of_a_gradient_proves_nothing(gradient: float) -> None:
    assert least_given_gradient(0.9, gradient, 0.5) == 0


# The gradient's bound


def exponent(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bound of ln E exp(s (w - E w)) in the module's docstring, over s²/2."""
    u, end = s * s / 2, s / sqrt(2 * pi)
    at = np.minimum(np.expm1(u), end)
    return np.asarray((np.log(np.exp(u) - at) + at) / u)


def test_the_variance_proxy_is_proved_for_every_multiplier() -> None:
    s = np.linspace(1e-4, 2.3, 1_000_001)
    values = exponent(s)
    # NearbyConstants differ by less than the room that is left.
    assert values.max() + np.abs(np.diff(values)).max() < VARIANCE_PROXY
    assert 1 + 2 / (2.3 * sqrt(2 * pi)) < VARIANCE_PROXY
    assert values.max() > VARIANCE_PROXY - 0.02


def test_no_event_has_a_larger_variance_proxy() -> None:
    """f = 1 outside of an interval (0, c) is the worst for some c."""
    worst = 0.0
    for s in np.linspace(0.05, 8, 160):
        c = np.linspace(0, 4, 200)
        inside = norm.cdf(c - s) - norm.cdf(-s)
        mean = -(norm.pdf(0) - norm.pdf(c))
        power = np.exp(s * s / 2) * (1 - inside) + norm.cdf(c) - 0.5
        worst = max(worst, float(((np.log(power) - s * mean) / (s * s / 2)).max()))
    assert 1.1 < worst < VARIANCE_PROXY


def sums_of(event: NDArray[np.bool_], z: NDArray[np.float64]) -> "torch.Tensor":
    kept = np.where(event[:, None], z, 0.0)
    return torch.from_numpy(np.stack((kept[::2].sum(0), kept[1::2].sum(0))))


@pytest.mark.parametrize("samples", first_alone([40, 401]))
@pytest.mark.parametrize("kind", ["half-space", "slab", "ring"])
def test_repeated_bounds_miss_the_gradient_no_more_often_than_stated(
    kind: str, samples: int
) -> None:
    entries, runs, failure_probability = 6, 2000, 0.3
    generator = np.random.default_rng(1)
    true = {"half-space": float(norm.pdf(0.2)), "slab": 0.0, "ring": 0.0}[kind]
    missed = 0
    for _ in range(runs):
        z = generator.standard_normal((samples, entries))
        event = {
            "half-space": z[:, 0] < 0.2,
            "slab": np.abs(z[:, 0]) < 1,
            "ring": (z**2).sum(1) > 5,
        }[kind]
        found = gradient_bound(sums_of(event, z), samples, failure_probability)
        missed += found.bound < true
        assert found.bound > 0
    assert missed <= binom.ppf(1 - 1e-6, runs, failure_probability)


def test_the_bound_fails_where_its_inequality_does() -> None:
    """Each of the two deviations alone, at the size where it is just allowed."""
    spread = 2 * VARIANCE_PROXY * np.log(2 / 0.01)
    m, halves = 0.3, (500, 500)
    first, second = sqrt(spread / 500), sqrt(spread / 500)
    # X = m - first along m, so ⟨X - m, m⟩ is as low as allowed, and Y = m - second along X.
    length = m - first
    product = length * (m - second)
    assert solve(product, length, halves, 0.01) == pytest.approx(m, rel=1e-9)


def test_the_bound_converges_to_the_gradient() -> None:
    generator = np.random.default_rng(2)
    z = generator.standard_normal((400_000, 3))
    found = gradient_bound(sums_of(z[:, 1] < 1.0, z), 400_000, 0.001)
    assert norm.pdf(1.0) < found.bound < norm.pdf(1.0) + 0.03
    assert found.length == pytest.approx(norm.pdf(1.0), abs=0.01)


def test_too_few_samples_or_impossible_sums_bound_nothing() -> None:
    assert gradient_bound(torch.zeros(2, 3).double(), 1, 0.001).bound == inf
    assert solve(-1.0, 0.1, (1000, 1000), 0.001) == inf
    assert solve(nan, 0.1, (1000, 1000), 0.001) == inf
    assert gradient_bound(torch.full((2, 3), nan).double(), 100, 0.001).bound == inf


# The evaluator


def slab(width: float) -> Network:
    """Class 1 where |first entry| < width, of two entries."""
    graph = Graph((2,))
    graph.dense(2, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).double(), torch.zeros(2).double())
    graph.relu()
    weight = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).double()
    graph.dense(2, weight, torch.tensor([0.0, width]).double())
    return graph.network()


def ask(network: Network, x: torch.Tensor, seed: int = 0) -> Problem:
    smoothed = SmoothedNetwork(network, "gaussian", Fraction(1, 2))
    ball = Ball(Norm.L2, Fraction("0.1"), low=-10.0, high=10.0)
    return Problem(smoothed, x, torch.ones(len(x), dtype=torch.int64), ball, seed=seed)


def test_a_slab_is_certified_beyond_zeroth_order_and_not_beyond_the_truth() -> None:
    problem = ask(slab(0.8), torch.zeros(1, 2))
    (first,) = FirstOrderSmoothing(n=50_000)(problem)
    (plain,) = SmoothingGaussian(n=50_000)(problem)
    assert first.status is Status.CERTIFIED
    assert first.radius is not None
    assert plain.radius is not None
    r = float(first.radius)
    assert r > float(plain.radius) + 0.02
    a = 0.8 / 0.5
    assert norm.cdf(a - r / 0.5) - norm.cdf(-a - r / 0.5) > 0.5


def test_a_half_plane_is_not_certified_beyond_its_distance() -> None:
    network = linear([[0.0, 0.0], [3.0, -4.0]], [0.0, 0.0])
    distances = torch.tensor([0.2, 0.5, 0.9])
    x = distances[:, None] * torch.tensor([[0.6, -0.8]])
    for seed in range(5):
        for distance, verdict in zip(
            distances.tolist(), FirstOrderSmoothing(n=20_000)(ask(network, x, seed)), strict=True
        ):
            assert verdict.radius is not None
            assert 0.85 * distance - 0.02 < verdict.radius < distance


def test_the_evidence_gives_the_radius_again() -> None:
    """Half of the failure probability is for the gradient."""
    evaluator = FirstOrderSmoothing(n=10_000, failure_probability=0.01)
    (verdict,) = evaluator(ask(slab(0.8), torch.zeros(1, 2)))
    sampling = verdict.sampling
    assert sampling is not None
    assert verdict.radius is not None
    known = dict(sampling.statistics)
    bound = solve(known["gradient_product"], known["gradient_length"], (5000, 5000), 0.005)
    assert known["gradient_bound"] == bound
    bounds = Probabilities(sampling.p_lower, 1 - sampling.p_lower)
    target = RadiusTarget(FirstOrder(bound), GAUSSIAN, Fraction(1, 2), Norm.L2, 2)
    assert target.certified(bounds) == verdict.radius
    assert sampling.p_lower == clopper_pearson_lower(sampling.count, 10_000, 0.005)
    assert verdict.confidence == pytest.approx(0.99)


def test_other_noise_is_not_certified() -> None:
    problem = ask(slab(0.8), torch.zeros(1, 2))
    smoothed = SmoothedNetwork(slab(0.8), "laplace", Fraction(1, 2))
    problem = Problem(smoothed, problem.x, problem.labels, problem.region)
    (verdict,) = FirstOrderSmoothing(n=100)(problem)
    assert verdict.status is Status.UNKNOWN
    assert verdict.note.startswith("unsupported: first-order with laplace noise")
