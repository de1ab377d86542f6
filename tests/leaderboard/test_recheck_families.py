"""The recheck's radii: held to published formulas, to integrals, and then to the evaluators'."""

from fractions import Fraction

import mpmath
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mpmath import mpf

from evaluators.noises.distribution import Probabilities
from evaluators.probabilistic.first_order import FirstOrder
from evaluators.question.norm import Norm
from evaluators.smoothing.radius import RadiusTarget
from leaderboard.recheck.families import FAMILIES, laplace_divergence, radius, tie
from leaderboard.recheck.gradient import gradient_bound, slab_radius
from leaderboard.recheck.noises import NOISES, height, inner, reach
from tests.fixtures.smoothing import CERTIFICATES, of, supported
from tests.fixtures.smoothing import radius as evaluators_radius

pytestmark = pytest.mark.slow

PAIRS = [(name, noise) for name, noise in supported() if name in FAMILIES]


def found(
    family: str, noise: str, norm: str, lower: float, upper: float, dimension: int = 9
) -> float:
    value = radius(noise, norm, mpf(1), mpf(lower), mpf(upper), dimension, family)
    assert value is not None
    return float(value)


def of_two(lower: float) -> float:
    return 1 - lower


@pytest.mark.parametrize(
    ("family", "noise", "norm", "lower", "expected"),
    [
        ("neyman-pearson", "gaussian", "l2", 0.9772498680518208, 2.0),
        ("neyman-pearson", "gaussian", "linf", 0.9772498680518208, 2 / 3),
        ("neyman-pearson", "gaussian", "l1", 0.9772498680518208, 2.0),
        ("neyman-pearson", "laplace", "l1", 0.8, 0.9162907318741551),
        ("neyman-pearson", "laplace", "linf", 0.8, 0.9162907318741551 / 9),
        ("neyman-pearson", "uniform", "l1", 0.8, 0.6),
        ("neyman-pearson", "uniform", "l2", 0.8, 0.2),
        ("level-set", "exponential-linf", "linf", 0.8, 0.9162907318741551),
        ("level-set", "exponential-linf", "l1", 0.8, 2 * 9 * 0.3),
        ("level-set", "uniform", "l1", 0.8, 0.6),
        ("lipschitz", "gaussian", "l2", 0.8, 0.3 * 2.5066282746310002),
        ("lipschitz", "laplace", "l1", 0.8, 0.6),
        ("pixeldp", "uniform", "l1", 0.8, 0.6),
        ("f-divergence", "uniform", "l1", 0.8, 0.6),
    ],
)
def test_radii_are_the_published_ones(
    family: str, noise: str, norm: str, lower: float, expected: float
) -> None:
    assert found(family, noise, norm, lower, of_two(lower)) == pytest.approx(expected, rel=1e-9)


def test_renyi_is_the_supremum_over_a_fine_list_of_orders() -> None:
    lower, upper = mpf("0.9"), mpf("0.05")
    best = max(
        mpmath.sqrt(2 * tie(mpf(k) / 500, lower, upper) / (mpf(k) / 500)) for k in range(1, 5000)
    )
    assert found("renyi", "gaussian", "l2", 0.9, 0.05) == pytest.approx(float(best), rel=1e-6)


@pytest.mark.parametrize("twice", [2, 3, 8, 785])
@pytest.mark.parametrize("mass", ["0.01", "0.3", "0.4999"])
def test_a_place_has_the_mass_of_its_density(twice: int, mass: str) -> None:
    at, top = reach(mpf(mass), twice), height(twice)
    area = mpmath.quad(
        lambda s: top * (1 - s * s) ** (mpf(twice) / 2 - 1), mpmath.linspace(0, at, 20)
    )
    assert float(area) == pytest.approx(float(mass), rel=1e-12)


@pytest.mark.parametrize("order", [0.3, 0.5, 0.9, 1.0, 2.0, 7.5])
@pytest.mark.parametrize("t", [0.1, 1.5])
def test_laplaces_divergence_is_an_integral(order: float, t: float) -> None:
    def one(z: mpf) -> mpf:
        before, after = mpmath.exp(-abs(z)) / 2, mpmath.exp(-abs(z - t)) / 2
        if order == 1:
            return after * mpmath.log(after / before)
        return after**order * before ** (1 - order)

    area = mpmath.quad(one, [-40, 0, t, 40])
    expected = area if order == 1 else mpmath.log(area) / (order - 1)
    assert float(laplace_divergence(mpf(order), mpf(t))) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("own", ["linf", "l2", "l1"])
def test_the_inner_ball_touches_the_outer_one(norm: str, own: str) -> None:
    powers = {"linf": mpmath.inf, "l2": 2, "l1": 1}
    corner, axis = [mpf(1)] * 4, [mpf(1), mpf(0), mpf(0), mpf(0)]
    ratios = [mpmath.norm(v, powers[norm]) / mpmath.norm(v, powers[own]) for v in (corner, axis)]
    assert float(inner(norm, own, 4)) == pytest.approx(float(min(ratios)))


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(data=st.data())
@pytest.mark.parametrize(("family", "noise"), PAIRS)
def test_what_evaluators_find_is_at_most_this_and_hardly_less(
    family: str, noise: str, data: st.DataObject
) -> None:
    lower = data.draw(st.floats(0.05, 0.99999))
    upper = data.draw(st.one_of(st.just(1 - lower), st.floats(1e-6, lower)))
    if not 0 < upper < lower or lower + upper > 1 + 1e-12:
        return
    norm = data.draw(st.sampled_from(of(noise).norms))
    dimension = data.draw(st.sampled_from([1, 2, 3, 64, 784]))
    theirs = float(
        evaluators_radius(
            family, noise, Probabilities(lower, upper), norm=norm, dimension=dimension
        )
    )
    ours = found(family, noise, str(norm), lower, upper, dimension)
    assert theirs <= ours
    loose = {"renyi": 0.1, "pixeldp": 0.05}.get(family, 1e-6)
    assert theirs >= ours * (1 - loose) - 1e-5


@settings(max_examples=40, deadline=None)
@given(st.floats(0.501, 0.9999), st.floats(0, 1), st.floats(0, 1.1))
def test_a_slab_is_what_evaluators_find_and_never_less(p: float, share: float, part: float) -> None:
    upper = min((1 - p) * max(share, 1e-3), 1 - p)
    steepest = mpmath.npdf(NOISES["gaussian"]("l2", 1).place(mpf(p)))
    gradient = float(steepest) * part
    target = RadiusTarget(FirstOrder(gradient), of("gaussian"), Fraction(1), Norm.L2, 1)
    theirs = target.certified(Probabilities(p, upper))
    ours = max(
        float(slab_radius(mpf(p), mpf(upper), mpf(gradient))),
        found("neyman-pearson", "gaussian", "l2", p, upper),
    )
    assert float(theirs) <= ours
    assert float(theirs) >= ours - 1e-5


def test_a_gradient_bound_solves_its_inequality() -> None:
    product, length, n, failure = mpf("0.01"), mpf("0.2"), 1001, mpf("0.001")
    bound = gradient_bound(product, length, n, failure)
    spread = 2 * mpf("1.36") * mpmath.log(2 / failure)
    right = product + length * mpmath.sqrt(spread / 500) + bound * mpmath.sqrt(spread / 501)
    assert float(bound**2) == pytest.approx(float(right), rel=1e-15)
    assert gradient_bound(product, length, 1, failure) == mpmath.inf
    assert gradient_bound(mpf(-1), mpf(0), n, failure) == mpmath.inf


@pytest.mark.parametrize(("lower", "upper"), [("0.5", "0.5"), ("0.4", "0.6"), ("1", "0")])
def test_no_lead_and_no_probability_give_no_radius(lower: str, upper: str) -> None:
    for family in FAMILIES:
        assert radius("gaussian", "l2", mpf(1), mpf(lower), mpf(upper), 4, family) == 0


def test_what_is_not_known_has_no_radius() -> None:
    assert radius("splitting", "l1", mpf(1), mpf("0.9"), mpf("0.1"), 4) is None
    assert radius("gaussian", "l2", mpf(1), mpf("0.9"), mpf("0.1"), 4, "first-order") is None
    assert set(FAMILIES) == set(CERTIFICATES) - {"first-order"}
