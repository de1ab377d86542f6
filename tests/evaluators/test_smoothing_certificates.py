"""Certificates of smoothed networks: closed forms, soundness, order and rounding, for all noise."""

from collections.abc import Callable
from fractions import Fraction
from math import atanh, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from evaluators.listing import catalogue
from evaluators.noises.distribution import Probabilities
from evaluators.question.norm import Norm
from evaluators.smoothing.balls import RESOLUTION, inscribed, outer
from evaluators.smoothing.confidence import clopper_pearson_lower
from tests.fixtures.effort import examples
from tests.fixtures.smoothing import CERTIFICATES, NAMES, one_sided, radius, supported

STEP = Fraction(1, RESOLUTION)


def test_every_certificate_takes_every_noise_that_answers_it() -> None:
    assert set(supported()) == {
        (name, noise)
        for name in CERTIFICATES
        for noise in NAMES
        if name != "first-order" or noise == "gaussian"
    }


# Closed forms

CLOSED: dict[str, Callable[[float, int], float]] = {
    "gaussian": lambda p, _: float(stats.norm.ppf(p)),
    "laplace": lambda p, _: log(1 / (2 * (1 - p))),
    "uniform": lambda p, _: 2 * (p - 0.5),
    "exponential-linf": lambda p, _: log(1 / (2 * (1 - p))),
    "exponential-l2": lambda p, d: (d - 1) * atanh(2 * float(beta_quantile(p, d)) - 1),
    "uniform-ball": lambda p, d: 2 * sqrt(float(stats.beta.ppf(p - 0.5, 0.5, (d + 1) / 2))),
}


def beta_quantile(p: float, d: int) -> float:
    return float(stats.beta.ppf(p, (d - 1) / 2, (d - 1) / 2))


@pytest.mark.parametrize("dimension", [2, 3, 784])
@pytest.mark.parametrize("p", [0.51, 0.7, 0.99, 0.9999])
@pytest.mark.parametrize("noise", NAMES)
def test_radii_are_the_closed_forms_rounded_down(noise: str, p: float, dimension: int) -> None:
    """Yang et al. 2020, table 1."""
    true = CLOSED[noise](p, dimension) * 0.5
    names = ["neyman-pearson"] if noise == "uniform-ball" else ["neyman-pearson", "level-set"]
    for name in names:
        mine = radius(name, noise, one_sided(p), Fraction(1, 2), dimension=dimension)
        assert mine.denominator <= RESOLUTION
        assert float(mine) < true + 1e-12
        assert float(mine) > true - 1.2e-6 - 1e-6 * true


@pytest.mark.parametrize("p", [0.55, 0.9, 0.97, 0.999])
def test_cubes_certify_l1_by_a_constant_slope_then_by_a_logarithm(p: float) -> None:
    d = 10
    end = 1 - 1 / (2 * d)
    true = 2 * d * (p - 0.5) if p <= end else d - 1 + log(1 / (2 * d * (1 - p)))
    for name in ("neyman-pearson", "level-set"):
        mine = radius(name, "exponential-linf", one_sided(p), norm=Norm.L1, dimension=d)
        assert true - 3e-6 < float(mine) < true
    l2 = radius("level-set", "exponential-linf", one_sided(0.9), norm=Norm.L2, dimension=d)
    assert float(l2) == pytest.approx(2 * d * 0.4 / sqrt(d), abs=1e-5)


def test_published_radii_of_gaussian_noise() -> None:
    """Lecuyer et al., Li et al., Salman et al., each by its own formula."""
    p, q = 0.9, 0.1
    alpha = np.linspace(1.0005, 60, 200_000)
    mean = (0.5 * (p ** (1 - alpha) + q ** (1 - alpha))) ** (1 / (1 - alpha))
    renyi = np.sqrt(np.max(-2 / alpha * np.log(1 - p - q + 2 * mean)))
    assert float(radius("renyi", "gaussian", one_sided(p))) == pytest.approx(renyi, abs=2e-4)
    lipschitz = sqrt(2 * np.pi) * (p - q) / 2
    assert float(radius("lipschitz", "gaussian", one_sided(p))) == pytest.approx(
        lipschitz, abs=2e-6
    )
    epsilon = np.linspace(1e-3, 0.99999, 20_000)
    delta = (p - np.exp(2 * epsilon) * q) / (1 + np.exp(epsilon))
    positive = delta > 0
    private = epsilon[positive] / np.sqrt(2 * np.log(1.25 / delta[positive]))
    assert float(radius("pixeldp", "gaussian", one_sided(p))) == pytest.approx(
        private.max(), abs=2e-4
    )
    total = 2 * stats.norm.ppf(0.5 + 0.4 / 2)
    kullback = sqrt(-np.log(4 * p * q))
    best = max(total, kullback)
    assert float(radius("f-divergence", "gaussian", one_sided(p))) == pytest.approx(best, abs=2e-6)


def test_published_radii_of_laplace_noise() -> None:
    p = 0.9
    assert float(radius("pixeldp", "laplace", one_sided(p))) == pytest.approx(
        0.5 * log(p / (1 - p)), abs=2e-6
    )
    assert float(radius("lipschitz", "laplace", one_sided(p))) == pytest.approx(0.8, abs=2e-6)


@pytest.mark.parametrize(("p", "q"), [(0.6, 0.05), (0.3, 0.1), (0.9, 0.6)])
def test_two_sides_give_the_published_gaussian_radius(p: float, q: float) -> None:
    true = (stats.norm.ppf(p) - stats.norm.ppf(q)) / 2
    for name in ("neyman-pearson", "level-set"):
        assert true - 2e-6 < float(radius(name, "gaussian", Probabilities(p, q))) < true


@settings(deadline=None)
@given(st.fractions(0, 5), st.integers(1, 10**6), st.sampled_from(list(Norm)))
def test_an_outer_ball_is_the_least_that_holds_the_inner_one(
    radius: Fraction, dimension: int, norm: Norm
) -> None:
    for own in Norm:
        least = outer(radius, norm, dimension, own)
        assert inscribed(least, norm, dimension, own) >= radius
        assert inscribed(least - STEP, norm, dimension, own) < radius or not radius


def test_an_inner_ball_touches_its_outer_one() -> None:
    one = Fraction(1)
    expected = {
        (Norm.L2, Norm.L1): 1,
        (Norm.L2, Norm.LINF): 0.1,
        (Norm.L1, Norm.L2): 0.1,
        (Norm.L1, Norm.LINF): 0.01,
        (Norm.LINF, Norm.L1): 1,
        (Norm.LINF, Norm.L2): 1,
    }
    for (own, norm), size in expected.items():
        assert float(inscribed(one, norm, 100, own)) == size
    for norm in Norm:
        assert inscribed(one, norm, 100, norm) == 1


# Soundness against networks on a line, whose smoothed probabilities are sums of a known function

CDF: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "gaussian": stats.norm.cdf,
    "laplace": stats.laplace.cdf,
    "exponential-l2": stats.laplace.cdf,
    "exponential-linf": stats.laplace.cdf,
    "uniform": stats.uniform(-1, 2).cdf,
    "uniform-ball": stats.uniform(-1, 2).cdf,
}

cuts = st.lists(st.floats(-3, 3), min_size=1, max_size=6, unique=True).map(sorted)


def class_probabilities(
    noise: str, ends: list[float], classes: list[int], shifts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of three classes, each on some intervals of the line, at every shift: `[shifts, 3]`."""
    edges = np.array([-1e9, *ends, 1e9])
    parts = np.diff(CDF[noise](edges[None] - shifts[:, None]), axis=1)
    return np.stack([parts[:, [c == one for c in classes]].sum(1) for one in range(3)], axis=1)


@settings(deadline=None, max_examples=examples(400))
@given(
    st.sampled_from(supported()),
    cuts,
    st.lists(st.integers(0, 2), min_size=7, max_size=7),
    st.booleans(),
)
def test_no_radius_exceeds_the_truth_on_a_line(
    kind: tuple[str, str], ends: list[float], classes: list[int], both: bool
) -> None:
    name, noise = kind
    classes = classes[: len(ends) + 1]
    at = class_probabilities(noise, ends, classes, np.zeros(1))[0]
    top = int(at.argmax())
    lower = float(at[top]) - 1e-9
    other = float(np.delete(at, top).max()) + 1e-9
    bounds = Probabilities(lower, other) if both else one_sided(lower)
    found = float(radius(name, noise, bounds))
    if found == 0:
        return
    shifts = np.linspace(-found, found, 401)
    after = class_probabilities(noise, ends, classes, shifts)
    rest = np.delete(after, top, axis=1).max(1)
    assert (after[:, top] > rest - 1e-9).all()


@pytest.mark.parametrize("noise", NAMES)
def test_the_half_line_shows_that_neyman_and_pearson_is_tight(noise: str) -> None:
    place = {"uniform": 0.7, "uniform-ball": 0.7}.get(noise, 1.7)
    p = float(CDF[noise](np.array(place)))
    found = float(radius("neyman-pearson", noise, one_sided(p)))
    assert place - 3e-6 < found < place + 1e-12


# Guarantees of counts


@pytest.mark.parametrize("noise", ["gaussian", "laplace", "uniform"])
def test_repeated_runs_exceed_the_true_distance_as_seldom_as_stated(noise: str) -> None:
    """And nearly as often: 20,000 counts of a half-line's samples for each distance."""
    n, failure_probability, runs = 300, 0.1, 20_000
    generator = np.random.default_rng(0)
    for distance in (0.1, 0.5, 0.8):
        p = float(CDF[noise](np.array(distance)))
        counts, times = np.unique(generator.binomial(n, p, runs), return_counts=True)
        wrong = 0
        for count, repeated in zip(counts.tolist(), times.tolist(), strict=True):
            lower = clopper_pearson_lower(count, n, failure_probability)
            wrong += repeated * (
                float(radius("neyman-pearson", noise, one_sided(lower))) > distance
            )
        assert wrong <= stats.binom.ppf(1 - 1e-6, runs, failure_probability)
        assert wrong >= runs * failure_probability / 2


# Order

PROBABILITY = st.floats(0.501, 1 - 1e-6)
DIMENSION = st.sampled_from([1, 2, 10, 784])
ROOM = 2 * STEP


@settings(deadline=None, max_examples=examples(80))
@given(st.sampled_from(NAMES), PROBABILITY, DIMENSION)
def test_certificates_are_ordered_as_theory_says(noise: str, p: float, dimension: int) -> None:
    found = {
        name: radius(name, noise, one_sided(p), dimension=dimension)
        for name, kind in supported()
        if kind == noise
    }
    best = found["neyman-pearson"]
    room = ROOM + best / 10**6
    assert found["lipschitz"] <= found["level-set"] + room
    for name in ("level-set", "pixeldp", "renyi", "f-divergence", "lipschitz"):
        assert found[name] <= best + room, name
    if noise == "uniform-ball":
        # Neyman and Pearson's is strictly better than the slope at 0.
        assert found["level-set"] < best or p < 0.6 or dimension == 1
    else:
        assert abs(found["level-set"] - best) <= room + best / 10**5
    if noise == "gaussian":
        assert found["first-order"] == best
    if noise == "uniform":
        assert found["lipschitz"] == best == found["pixeldp"]


@settings(deadline=None, max_examples=examples(150))
@given(st.sampled_from(supported()), PROBABILITY, st.floats(0.05, 0.999), DIMENSION)
def test_a_second_side_never_hurts(
    kind: tuple[str, str], p: float, part: float, dimension: int
) -> None:
    one = radius(*kind, one_sided(p), dimension=dimension)
    two = radius(*kind, Probabilities(p, (1 - p) * part), dimension=dimension)
    assert two >= one
    if part < 0.9 and p < 0.999 and one > 1000 * STEP and kind != ("renyi", "uniform"):
        assert two > one


@settings(deadline=None, max_examples=examples(150))
@given(
    st.sampled_from(supported()),
    st.floats(0.3, 1 - 1e-6),
    st.floats(1e-7, 0.2),
    st.floats(0.05, 0.95),
    DIMENSION,
)
def test_radii_grow_with_the_first_bound_and_fall_with_the_second(
    kind: tuple[str, str], p: float, more: float, part: float, dimension: int
) -> None:
    q = min(p, 1 - p) * part
    first = radius(*kind, Probabilities(p, q), dimension=dimension)
    assert radius(*kind, Probabilities(p, q * 0.9), dimension=dimension) >= first
    higher = min(p + more, 1 - q)
    if higher > p:
        assert radius(*kind, Probabilities(higher, q), dimension=dimension) >= first


@settings(deadline=None, max_examples=examples(150))
@given(
    st.sampled_from(supported()),
    PROBABILITY,
    st.fractions("0.01", 3),
    st.integers(2, 9),
    st.sampled_from(list(Norm)),
)
def test_the_radius_scales_with_the_noise(
    kind: tuple[str, str], p: float, scale: Fraction, times: int, norm: Norm
) -> None:
    small = radius(*kind, one_sided(p), scale, norm, 4)
    large = radius(*kind, one_sided(p), scale * times, norm, 4)
    assert times * small <= large < times * (small + ROOM)
    assert small * RESOLUTION == int(small * RESOLUTION)


def test_each_family_is_in_the_catalogue_under_its_name() -> None:
    families = {"pixeldp", "renyi", "f-divergence", "level-set", "smoothing-lipschitz"}
    assert {*families, "first-order", *(f"smoothing-{noise}" for noise in NAMES)} <= set(
        catalogue()
    )
