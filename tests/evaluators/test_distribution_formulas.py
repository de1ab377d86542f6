"""Formulas of smoothing noise: growth rates against slopes of samples, the rest to fifty digits."""

from math import log, pi, sqrt
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluators.noises.distribution import Shift
from evaluators.question.norm import Norm
from tests.fixtures.effort import examples
from tests.fixtures.smoothing import NAMES, Array, draw, of, size

# Growth rates by the slopes of samples, in any dimension


def slopes(name: str, z: Array, norm: Norm) -> Array:
    """The slope of minus the log density at samples, along the worst direction of a norm."""
    if name == "exponential-linf":
        largest = np.abs(z).argmax(1)
        signs = np.sign(z[np.arange(len(z)), largest])
        return signs if norm is Norm.LINF else np.where(largest == 0, signs, 0.0)
    if name == "exponential-l2":
        return z[:, 0] / size(z, Norm.L2)
    return z[:, 0] if name == "gaussian" else np.sign(z[:, 0])


@pytest.mark.parametrize("entries", [1, 2, 3, 20])
@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("gaussian", Norm.L2),
        ("laplace", Norm.L1),
        ("exponential-l2", Norm.L2),
        ("exponential-linf", Norm.LINF),
        ("exponential-linf", Norm.L1),
    ],
)
def test_events_grow_as_the_slopes_of_samples_say(name: str, norm: Norm, entries: int) -> None:
    samples = 200_000
    found = np.sort(slopes(name, draw(name, samples, entries, seed=4), norm))[::-1]
    q = np.array([0.002, 0.02, 0.1, 0.3, 0.5])
    means = np.array([found[: int(one * samples)].sum() / samples for one in q])
    growth = of(name).growth(q, norm, entries)
    assert growth == pytest.approx(means, abs=5 / sqrt(samples))


@pytest.mark.parametrize("name", ["uniform", "uniform-ball"])
@pytest.mark.parametrize("entries", [1, 2, 9])
def test_bodies_grow_by_what_a_small_shift_misses(name: str, entries: int) -> None:
    norm = of(name).own[0]
    growth = of(name).growth(np.array([0.01, 0.5]), norm, entries)
    missed = of(name).total_variation(Shift(1e-5, norm, entries)) / 1e-5
    assert growth == pytest.approx([missed, missed], rel=1e-6)
    assert (growth >= missed * (1 - 1e-9)).all()


def test_growth_of_exponential_noise_in_two_and_three_dimensions_is_elementary() -> None:
    q = np.array([1e-9, 1e-3, 0.1, 0.4, 0.5])
    noise = of("exponential-l2")
    assert noise.growth(q, Norm.L2, 2) == pytest.approx(np.sin(pi * q) / pi, rel=1e-7)
    assert noise.growth(q, Norm.L2, 3) == pytest.approx(q * (1 - q), rel=1e-7)
    for p in (0.6, 0.9, 0.999):
        # Its integral, the logarithm of the odds, moves by the shift.
        moved = log(p / (1 - p)) - 0.7
        expected = 1 / (1 + np.exp(-moved))
        assert noise.least(p, Shift(0.7, Norm.L2, 3)) == pytest.approx(expected, abs=1e-7)


def test_balls_in_three_dimensions_miss_an_elementary_part() -> None:
    for t in (0.01, 0.5, 1.0, 1.9):
        expected = 3 * t / 4 - t**3 / 16
        assert of("uniform-ball").total_variation(Shift(t, Norm.L2, 3)) == pytest.approx(expected)
    assert of("uniform-ball").total_variation(Shift(2.0, Norm.L2, 3)) == 1


# Fifty digits


@settings(deadline=None)
@given(
    st.sampled_from(NAMES),
    st.floats(0, 1) | st.sampled_from([1e-300, 1e-30, 1e-17, 1 - 1e-16, 0.5, 0.25, 0.75]),
    st.floats(1e-9, 1e4),
    st.sampled_from([1, 2, 3, 784, 150_528]),
)
def test_no_formula_leaves_more_than_there_was(name: str, p: float, t: float, d: int) -> None:
    for norm in of(name).own:
        shift = Shift(t, norm, d)
        assert 0 <= of(name).least(p, shift) <= p
        assert of(name).least(p, Shift(2 * t, norm, d)) <= of(name).least(p, shift)
        assert 0 < of(name).total_variation(shift) < 1 + 1e-8


P = st.floats(1e-12, 1 - 1e-12)
T = st.floats(1e-6, 6)


@settings(deadline=None)
@given(P, T)
def test_what_gaussian_noise_leaves_is_rounded_down(p: float, t: float) -> None:
    with mpmath.workdps(50):
        quantile = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1)
        true = mpmath.ncdf(quantile - t)
        mine = of("gaussian").least(p, Shift(t, Norm.L2, 4))
        assert mine < true
        assert mine > true - mpmath.mpf("1e-9")


@settings(deadline=None)
@given(P, T)
def test_what_laplace_noise_leaves_is_rounded_down(p: float, t: float) -> None:
    with mpmath.workdps(50):
        q = mpmath.mpf(p)
        place = (-mpmath.log(2 * (1 - q)) if q >= 0.5 else mpmath.log(2 * q)) - mpmath.mpf(t)
        true = 1 - mpmath.exp(-place) / 2 if place >= 0 else mpmath.exp(place) / 2
        for name, norm in (("laplace", Norm.L1), ("exponential-linf", Norm.LINF)):
            mine = of(name).least(p, Shift(t, norm, 4))
            assert mine < true
            assert mine > true - mpmath.mpf("1e-9")


@settings(deadline=None)
@given(P, st.floats(1e-6, 40), st.integers(2, 30))
def test_what_cubes_leave_in_l1_is_rounded_down(p: float, t: float, d: int) -> None:
    def rise(place: Any) -> Any:
        """Solution of q' = min(q, 1 - q, 1/(2d)) through 1/2 at 0."""
        if abs(place) <= d - 1:
            return mpmath.mpf(1) / 2 + place / (2 * d)
        tail = mpmath.exp(d - 1 - abs(place)) / (2 * d)
        return 1 - tail if place > 0 else tail

    with mpmath.workdps(50):
        mine = mpmath.mpf(of("exponential-linf").least(p, Shift(t, Norm.L1, d)))
        if mine > 0:
            true = rise(place_of(mpmath.mpf(p), d) - mpmath.mpf(t))
            assert true - mpmath.mpf("1e-9") < mine < true


def place_of(q: Any, d: int) -> Any:
    if abs(q - mpmath.mpf(1) / 2) <= mpmath.mpf(d - 1) / (2 * d):
        return (q - mpmath.mpf(1) / 2) * 2 * d
    place = d - 1 - mpmath.log(2 * d * min(q, 1 - q))
    return place if q > 0.5 else -place


@settings(deadline=None, max_examples=examples(60))
@given(
    st.floats(-4.5, 4.5) | st.floats(-1e-6, 1e-6),
    st.floats(1e-9, 6) | st.floats(1e-9, 1e-6),
    st.sampled_from([2, 3, 10, 784, 3072]),
)
@example(0.0, 1e-7, 784)
@example(1e-8, 3e-8, 784)
@example(1e-8, 1e-9, 3072)
def test_what_exponential_balls_leave_is_rounded_down(start: float, t: float, d: int) -> None:
    with mpmath.workdps(30):

        def below(place: Any) -> Any:
            """P(arctanh(u) <= place)."""
            rest = mpmath.cosh(place) ** -2
            tail = mpmath.betainc(mpmath.mpf(d - 1) / 2, 0.5, 0, rest, regularized=True) / 2
            return 1 - tail if place > 0 else tail

        place, moved = mpmath.mpf(start) / sqrt(d), mpmath.mpf(t) / sqrt(d)
        p, shift = float(below(place)), Shift(float(moved * (d - 1)), Norm.L2, d)
        true = below(place - mpmath.mpf(shift.distance) / (d - 1))
        mine = of("exponential-l2").least(p, shift)
        assert max(true - mpmath.mpf("2e-9"), 0) <= mine < true
        variation = below(moved / 2) - below(-moved / 2)
        assert variation < of("exponential-l2").total_variation(shift) < variation + 3e-9


@settings(deadline=None, max_examples=examples(60))
@given(st.floats(1e-6, 1.99), st.sampled_from([1, 2, 3, 10, 784, 3072, 150_528]))
def test_parts_missed_and_growth_of_balls_are_rounded_up(t: float, d: int) -> None:
    with mpmath.workdps(20):
        half = mpmath.mpf(d) / 2
        slope = mpmath.gamma(half + 1) / mpmath.gamma(half + 0.5) / mpmath.sqrt(mpmath.pi)
        mine = mpmath.mpf(of("uniform-ball").growth(np.array([0.5]), Norm.L2, d)[0])
        assert slope < mine < slope * (1 + mpmath.mpf("1e-8"))
        # Slices of the ball, up to half of the shift on either side.
        end = min(t / 2, 30 / sqrt(d))
        pieces = np.linspace(0, end, 9).tolist()
        slices = mpmath.quad(lambda x: (1 - x * x) ** (half - 0.5), pieces)
        missed = mpmath.mpf(of("uniform-ball").total_variation(Shift(t, Norm.L2, d)))
        true = min(2 * slope * slices, mpmath.mpf(1))
        assert true <= missed <= true * (1 + mpmath.mpf("1e-8"))


@settings(deadline=None, max_examples=examples(60))
@given(st.floats(1e-15, 0.5))
def test_gaussian_growth_is_rounded_up(q: float) -> None:
    with mpmath.workdps(50):
        true = mpmath.npdf(mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(q) - 1))
        mine = mpmath.mpf(of("gaussian").growth(np.array([q]), Norm.L2, 1)[0])
        assert true < mine < true * (1 + mpmath.mpf("1e-8"))


@settings(deadline=None, max_examples=examples(60))
@given(st.floats(1e-3, 0.9999), st.sampled_from([2, 3, 10, 784, 3072, 150_528]))
def test_growth_of_exponential_balls_is_rounded_up(a: float, d: int) -> None:
    a = a / sqrt(d) * 3 if d > 9 else a
    with mpmath.workdps(50):
        m, rest = mpmath.mpf(d - 1) / 2, 1 - mpmath.mpf(a) ** 2
        q = float(mpmath.betainc(m, 0.5, 0, rest, regularized=True) / 2)
        factor = mpmath.gamma(m + 0.5) / mpmath.gamma(m + 1) / (2 * mpmath.sqrt(mpmath.pi))
        # Φ has slope a: it is corrected for the rounding of q.
        exact = mpmath.betainc(m, 0.5, 0, rest, regularized=True) / 2
        true = factor * rest**m + a * (mpmath.mpf(q) - exact)
        mine = mpmath.mpf(of("exponential-l2").growth(np.array([q]), Norm.L2, d)[0])
        assert true < mine < true * (1 + mpmath.mpf("1e-7"))


@settings(deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.05, 3))
def test_the_published_gaussian_mechanism_is_private(epsilon: float, t: float) -> None:
    """Against the exact δ of Balle and Wang 2018, theorem 8."""
    with mpmath.workdps(50):
        e, d = mpmath.mpf(epsilon), mpmath.mpf(t)
        exact = mpmath.ncdf(d / 2 - e / d) - mpmath.exp(e) * mpmath.ncdf(-d / 2 - e / d)
        (mine,) = of("gaussian").privacy(np.array([epsilon]), Shift(t, Norm.L2, 3))
        assert mine >= exact


def test_the_gaussian_mechanism_claims_nothing_beyond_its_theorem() -> None:
    epsilon = np.array([0.0, 1.0, 5.0])
    assert (of("gaussian").privacy(epsilon, Shift(0.01, Norm.L2, 3)) == 1).all()


@settings(deadline=None)
@given(st.sampled_from([1.0, 1.001, 1.01, 1.5, 2.0, 30.0, 1e4, 0.5]), st.floats(1e-4, 20))
def test_renyi_divergences_of_laplace_noise_are_rounded_up(order: float, t: float) -> None:
    with mpmath.workdps(50):
        a, d = mpmath.mpf(order), mpmath.mpf(t)
        if order == 1:
            true = d + mpmath.exp(-d) - 1
        elif order == 0.5:
            true = -2 * mpmath.log(mpmath.exp(-d / 2) * (1 + d / 2))
        else:
            first, second = a / (2 * a - 1), (a - 1) / (2 * a - 1)
            inner = first * mpmath.exp((a - 1) * d) + second * mpmath.exp(-a * d)
            true = mpmath.log(inner) / (a - 1)
        mine = mpmath.mpf(of("laplace").renyi(np.array([order]), Shift(t, Norm.L1, 3))[0])
        assert true < mine < true * (1 + mpmath.mpf("1e-9")) + mpmath.mpf("1e-9")
