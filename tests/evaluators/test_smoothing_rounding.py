"""Certificates of smoothed networks: rounding, impossible bounds, and what a radius needs."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import inf, nan, nextafter

import mpmath
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.noises import distributions
from evaluators.noises.distribution import Distribution, Probabilities, Shift
from evaluators.probabilistic.renyi import least_divergence
from evaluators.question.norm import Norm
from evaluators.smoothing.balls import RESOLUTION
from evaluators.smoothing.neyman_pearson import NeymanPearson, complement
from evaluators.smoothing.radius import RadiusTarget
from tests.fixtures.cases import cases
from tests.fixtures.effort import examples
from tests.fixtures.smoothing import CERTIFICATES, one_sided, radius, supported

STEP = Fraction(1, RESOLUTION)
PROBABILITY = st.floats(0.501, 1 - 1e-6)


@settings(deadline=None, max_examples=examples(50))
@given(st.floats(0.5, 1, exclude_min=True, exclude_max=True), st.fractions("0.01", 4))
def test_radii_are_below_the_true_ones_of_fifty_digits(p: float, scale: Fraction) -> None:
    with mpmath.workdps(50):
        q = mpmath.mpf(p)
        times = mpmath.mpf(scale.numerator) / scale.denominator
        true = {
            "gaussian": mpmath.sqrt(2) * mpmath.erfinv(2 * q - 1),
            "laplace": -mpmath.log(2 * (1 - q)),
            "uniform": 2 * q - 1,
        }
        for noise, value in true.items():
            for name in ("neyman-pearson", "level-set", "renyi", "f-divergence"):
                found = radius(name, noise, one_sided(p), scale)
                assert mpmath.mpf(found.numerator) / found.denominator < times * value


@settings(deadline=None, max_examples=examples(100))
@given(PROBABILITY, st.floats(0.01, 1))
def test_least_divergences_are_below_those_of_fifty_digits(p: float, part: float) -> None:
    bounds = Probabilities(p, (1 - p) * part)
    orders = np.array([0.5, 1.0, 1.001, 2.0, 30.0, 1e4])
    mine = least_divergence(orders, bounds)
    with mpmath.workdps(50):
        a, b = mpmath.mpf(bounds.lower), mpmath.mpf(bounds.upper)
        for order, value in zip(orders.tolist(), mine.tolist(), strict=True):
            power = 1 - mpmath.mpf(order)
            mean = ((a**power + b**power) / 2) ** (1 / power) if power else mpmath.sqrt(a * b)
            true = -mpmath.log(1 - a - b + 2 * mean)
            assert true - mpmath.mpf("1e-6") * (1 + true) < value < true


@settings(deadline=None, max_examples=examples(200))
@given(
    st.floats(0.1, 0.9),
    st.floats(0.01, 0.99),
    st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    st.sampled_from([0.5, 0.9, 1.0, 1.001, 2.0, 20.0]),
)
def test_no_tie_has_less_than_the_least_divergence(
    top: float, part: float, after: list[float], order: float
) -> None:
    """Three classes before; after, any probabilities with the second at least as likely."""
    before = np.array([top, 0.0, 0.0])
    before[1] = min(part * top, (1 - top) * part)
    before[2] = 1 - top - before[1]
    chosen = np.array(after)
    chosen[1] = max(chosen[1], chosen[0])
    chosen /= chosen.sum()
    bounds = Probabilities(float(before[0]), float(before[1]))
    if order == 1:
        divergence = float((chosen * np.log(chosen / before)).sum())
    else:
        divergence = float(np.log((chosen**order * before ** (1 - order)).sum()) / (order - 1))
    assert divergence > least_divergence(np.array([order]), bounds)[0] - 1e-12


# Nothing from nothing

NOTHING = [
    *((p, 1 - p) for p in (0.5, 0.3, 0.0, 1.0, nan, inf, -0.1, 1.5)),
    (0.9, nan),
    (nan, 0.1),
    (0.9, 0.0),
    (0.9, -0.1),
    (0.4, 0.4),
    (0.3, 0.4),
    (1.0, 0.1),
]


def test_no_majority_or_no_probability_certifies_nothing() -> None:
    with cases() as case:
        for kind, (lower, upper) in product(supported(), NOTHING):
            with case((kind, lower, upper)):
                assert radius(*kind, Probabilities(lower, upper)) == 0


def test_almost_a_half_and_almost_one_stay_small_and_finite() -> None:
    with cases() as case:
        for kind in supported():
            with case(kind):
                assert radius(*kind, one_sided(nextafter(0.5, 1))) == 0
                assert radius(*kind, one_sided(0.5 + 1e-12)) <= STEP
                assert 0 < radius(*kind, one_sided(nextafter(1.0, 0))) < 40


def test_a_formula_that_never_gives_way_certifies_nothing() -> None:
    class Endless(NeymanPearson):
        def keeps(self, *_: object) -> bool:
            return True

    noise = distributions()["gaussian"]
    target = RadiusTarget(Endless(), noise, Fraction(1), Norm.L2, 1)
    assert target.certified(one_sided(0.9)) == 0


@settings(deadline=None)
@given(st.floats(0, 1))
def test_complements_are_rounded_down(p: float) -> None:
    assert Fraction(complement(p)) <= 1 - Fraction(p)
    assert complement(p) < 1 or p == 0
    assert Fraction(complement(p)) > 1 - Fraction(p) - Fraction(1, 2**50)


# What is needed


@settings(deadline=None, max_examples=examples(80))
@given(
    st.sampled_from(supported()),
    st.fractions("0.001", 1),
    st.fractions("0.1", 2),
    st.sampled_from(list(Norm)),
)
def test_what_is_needed_reaches_the_radius_and_a_little_less_does_not(
    kind: tuple[str, str], asked: Fraction, scale: Fraction, norm: Norm
) -> None:
    name, noise = kind
    least = RadiusTarget(CERTIFICATES[name], distributions()[noise], scale, norm, 3, asked).needed
    if least == inf:
        highest = radius(*kind, one_sided(nextafter(1.0, 0)), scale, norm, 3)
        assert highest < asked
        return
    assert radius(*kind, one_sided(least), scale, norm, 3) >= asked
    if least - 1e-6 > 0.5:
        assert radius(*kind, one_sided(least - 1e-6), scale, norm, 3) < asked


def test_no_probability_reaches_beyond_the_noise() -> None:
    noise = distributions()["uniform"]
    target = RadiusTarget(NeymanPearson(), noise, Fraction(1), Norm.L1, 3, Fraction(1))
    assert target.needed == inf
    assert 0.75 < replace(target, radius=Fraction(1, 2)).needed < 0.750001


def test_a_shift_is_about_one_of_the_own_norms() -> None:
    class Recorder(NeymanPearson):
        asked: list[Norm] = []  # noqa: RUF012

        def keeps(self, distribution: Distribution, _: Probabilities, shift: Shift) -> bool:
            assert shift.norm in distribution.own
            self.asked.append(shift.norm)
            return shift.distance < 1

    noise = distributions()["exponential-linf"]
    target = RadiusTarget(Recorder(), noise, Fraction(1), Norm.L2, 4)
    found = target.certified(one_sided(0.9))
    assert set(Recorder.asked) == {Norm.LINF, Norm.L1}
    assert 0.999 < found < 1
