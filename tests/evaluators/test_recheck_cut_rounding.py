"""The recheck's combination of planes: in float64 never above what fractions give."""

from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from evaluators.numerics.errors import CertificateError
from evaluators.recheck.checker import Checker
from tests.evaluators.test_recheck_rounding import claim, wild, wild_network
from tests.fixtures.checked import checked
from tests.fixtures.cuts import cuts_of
from tests.fixtures.effort import examples

Array = NDArray[Any]
FAR = 1e90


def narrowed(
    random: Generator, norm: str, unit: float, margin: float, sizes: float
) -> list[list[Fraction]]:
    """Both bounds of some units by a cut, in float64 and exactly.

    Args:
        unit, margin: slacks of the planes of units and of the margin, relative to their values:
            the exact planes are lower by that much.
        sizes: powers of ten that numbers differ by.
    """
    network = wild_network(random, 0.1)
    made, found = claim(network, random, norm), []
    planes = {(u, s): (wild(random, 3), wild(random, 1)[0]) for u in range(3) for s in (1, -1)}
    gammas = np.abs(random.normal(size=6)) * 10.0 ** random.uniform(-sizes, sizes, 6)
    gammas = gammas.astype(np.float32).astype(np.float64)
    # With the first unit's plane it cancels, and what is left is mostly rounding errors.
    own, constant = (-part / gammas[0] for part in planes[0, 1])
    clips = [(*key, float(g)) for key, g in zip(planes, gammas, strict=True)]
    cuts = cuts_of([(1, [], 0.0)], [10.0 ** random.uniform(-sizes, sizes)], [clips])
    for exact in (False, True):
        checker = Checker(checked(network), made, exact)
        with suppress(CertificateError):  # there are no leaves
            checker.run()
        ar, errors = checker.ar, not exact
        for key, (weight, value) in planes.items():
            off = Fraction(abs(value) * unit)
            shift = np.array([value if errors else Fraction(value) - off])
            slack = np.array([float(off) if errors else Fraction(0)])
            checker.planes[key] = ar.array(weight), shift[0], slack[0]
        off = Fraction(abs(constant) * margin)
        plane = [constant, float(off)] if errors else [Fraction(constant) - off, Fraction(0)]
        checker.cuts, checker.units = cuts, ar.array(np.full((2, 3), -FAR))
        with np.errstate(all="ignore"):
            checker._narrow(0, ar.array(own), *plane)
        found.append([Fraction(v) for v in checker._resting(np.array([0])).flat])
    return found


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["linf", "l2", "l1"]))
def test_bounds_of_cuts_are_never_above_the_exact_ones(seed: int, norm: str) -> None:
    rounded, exact = narrowed(np.random.default_rng(seed), norm, 0.0, 0.0, 8.0)
    assert all(a <= b for a, b in zip(rounded, exact, strict=True))
    assert max(rounded) > -FAR


@pytest.mark.parametrize(("unit", "margin"), [(1e-3, 0.0), (0.0, 1e-3), (1e-3, 1e-3)])
def test_slacks_of_the_planes_are_paid_for(unit: float, margin: float) -> None:
    for seed in range(20):
        rounded, exact = narrowed(np.random.default_rng(seed), "linf", unit, margin, 1.0)
        assert all(a <= b for a, b in zip(rounded, exact, strict=True))
