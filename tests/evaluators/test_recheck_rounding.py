"""The recheck's float64: never above what fractions give, whatever the weights."""

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Network
from evaluators.numerics.errors import CertificateError
from evaluators.propagation.intervals import interval_bounds
from evaluators.question.certificate import BOX, Certificate, LayerBounds
from evaluators.recheck.arithmetic import SIDES, Arithmetic, root_above
from evaluators.recheck.checker import Checker
from evaluators.recheck.claim import Region, Step
from tests.fixtures.checked import checked, recheck
from tests.fixtures.effort import examples
from tests.fixtures.forgeries import leaves_of, no_cuts
from tests.fixtures.networks import Graph

Array = NDArray[Any]


def wild(random: Generator, *shape: int) -> Array:
    """Numbers of very different magnitudes, so that sums of products cancel and absorb."""
    size: Array = random.normal(size=shape) * 10.0 ** random.integers(-9, 9, size=shape)
    return np.where(random.random(shape) < 0.2, np.round(size) * 3.0, size)


def wild_network(random: Generator, leak: float) -> Network:
    """3-4-4-3 with a skip connection, biases and weights all wild."""
    graph = Graph((3,))
    widths = (4, 4)
    for width in widths:
        (inputs,) = graph.nodes[-1].shape
        weight, bias = wild(random, width, inputs), wild(random, width)
        # A copy with the other sign beside it: coefficients cancel on the way back.
        weight[1] = -weight[0] * (1 + 1e-16 * random.integers(-4, 5))
        graph.dense(width, torch.from_numpy(weight), torch.from_numpy(bias))
        graph.relu(leak)
    graph.sum(2, 4, 2)
    graph.dense(3, torch.from_numpy(wild(random, 3, 4)), torch.from_numpy(wild(random, 3)))
    return graph.network()


def claim(network: Network, random: Generator, norm: str) -> Certificate:
    """Claims that follow from interval arithmetic with room to spare, about an empty proof."""
    x = random.random(3, dtype=np.float32)
    center = torch.from_numpy(x)[None].double()
    bounds = interval_bounds(network, (center - 0.5).clamp(0, 1), (center + 0.5).clamp(0, 1))
    layers, units = list[LayerBounds](), 0
    for node in network.nodes:
        if isinstance(node.operation, LeakyReLU):
            lower, upper = (end[0].numpy() for end in bounds[node.parents[0]])
            room = 1e-6 * (np.abs(lower) + np.abs(upper))
            lower, upper = lower - room, upper + room
            none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int8)
            slopes = np.zeros((0, units), dtype=np.float16)
            layers.append(LayerBounds(lower, upper, *none, slopes))
            units += int(((lower < 0) & (upper > 0)).sum())
    leaves = leaves_of([], 1)
    empty = np.zeros((0, units), dtype=np.float16)
    return Certificate(
        norm=norm,
        radius=Fraction(1, 2),
        label=0,
        classes=3,
        x=x,
        layers=tuple(layers),
        leaves=replace(leaves, slopes=empty),
        cuts=no_cuts(units),
    )


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(
    seed=st.integers(0, 10**9),
    norm=st.sampled_from(["linf", "l2", "l1"]),
    leak=st.sampled_from([0.0, 0.1]),
)
def test_float64_bounds_are_never_above_the_exact_ones(seed: int, norm: str, leak: float) -> None:
    random = np.random.default_rng(seed)
    network = wild_network(random, leak)
    made = claim(network, random, norm)
    checkers = [Checker(checked(network), made, exact) for exact in (False, True)]
    for checker in checkers:
        with suppress(CertificateError):  # there are no leaves
            checker.run()
        assert len(checker.floors) == len(network.nodes)
    for node in range(len(network.nodes)):
        rounded, exact = ([*c.floors[node].flat] for c in checkers)
        assert all(Fraction(a) <= b for a, b in zip(rounded, exact, strict=True))
    rows = wild(random, 6, 3)
    units = made.leaves.slopes.shape[1]
    alpha = random.uniform(0.2, 1, (6, units)).astype(np.float16)
    sign = random.choice([0, 0, 1, -1], (6, units))
    beta = np.abs(wild(random, 6, units)) * (sign != 0)
    proofs = csr_matrix(rows), alpha, csr_matrix(sign), csr_matrix(sign * beta), np.full(6, -1)
    floors = narrowed(checkers[0].units[:, None].repeat(6, axis=1), random)
    last, found = len(network.nodes) - 1, []
    for c in checkers:
        with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):  # as in a recheck
            patch.setattr(c, "_resting", lambda _cut, ar=c.ar: ar.array(floors))
            ((_, planes),) = c._planes(np.arange(6), last, *proofs)
        found.append(c.region.least(*planes, c.gamma).tolist())
    assert all(Fraction(a) <= b for a, b in zip(*found, strict=True))


def narrowed(floors: Array, random: Generator) -> Array:
    """Bounds inside these, some of which touch zero or each other, or exclude each other."""
    shares = random.choice([-0.5, 0.0, 0.25, 1.0, 1.0], floors.shape)
    narrow: Array = np.maximum(floors, floors * shares)
    return narrow


def checker_of(seed: int, norm: str = "linf") -> tuple[Checker, Generator]:
    """In float64, with the claims of a wild network verified."""
    random = np.random.default_rng(seed)
    network = wild_network(random, 0.1)
    checker = Checker(checked(network), claim(network, random, norm), False)
    with suppress(CertificateError):
        checker.run()
    return checker, random


def lines_of(checker: Checker, alpha: Array, sign: Array, beta: Array) -> list[Array]:
    """What the first units use in one backward pass, as `_planes` makes it."""
    made: list[list[Array]] = []

    def watch(position: int, rows: Array, lines: list[Array]) -> tuple[Array, Array, Array]:
        made.append(lines)
        return np.zeros((len(rows), 3)), np.zeros(len(rows)), np.zeros(len(rows))

    units, count = checker.units, alpha.shape[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checker, "_walk", watch)
        patch.setattr(checker, "units", units[:, :count])
        patch.setattr(checker, "leak", checker.leak[:count])
        splits = csr_matrix(sign), csr_matrix(sign * beta)
        list(checker._planes(np.arange(1), 1, csr_matrix((1, 1)), alpha, *splits, np.array([-1])))
    return made[0]


def line_at(z: Fraction, leak: Fraction, a: float, before: float) -> Fraction:
    """What a coefficient behind a leaky ReLU gains over the one before it."""
    return Fraction(a) * (z if z >= 0 else leak * z) - Fraction(before) * z


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 10**9))
def test_what_a_relu_adds_is_below_what_it_gains_anywhere(seed: int) -> None:
    """Piecewise linear in z: least at the ends of its interval, or at the kink."""
    checker, random = checker_of(seed)
    claimed = checker.made.layers[0]
    units = np.flatnonzero((claimed.lower < 0) & (claimed.upper > 0))
    rows = wild(random, 1, 4)
    alpha = random.uniform(0.2, 1, (1, len(units))).astype(np.float16).astype(float)
    sign = random.choice([0.0, 1.0, -1.0], (1, len(units)))
    beta = np.abs(wild(random, 1, len(units))) * (sign != 0)
    before, added, lost = checker._through(2, rows, lines_of(checker, alpha, sign, beta))
    gained, leak = Fraction(0), Fraction(0.1)
    for entry, (low, high) in enumerate(zip(claimed.lower, claimed.upper, strict=True)):
        ends = {Fraction(low), Fraction(high)} | ({Fraction(0)} if low < 0 < high else set())
        if entry in units:
            side = Fraction(float(sign[0][units == entry][0]))
            ends = {z for z in ends if z * side >= 0}
        gained += min(line_at(z, leak, rows[0, entry], before[0, entry]) for z in ends)
    assert Fraction(added[0]) - Fraction(lost[0]) * (1 + Fraction(1, 10**6)) <= gained


def test_a_relu_is_charged_for_each_of_its_roundings() -> None:
    """The same with one unit at a time, where nothing else could hide an error left out."""
    sharp = 0
    for seed in range(60):
        checker, random = checker_of(seed)
        units, _, _ = checker.relaxed[2]
        if not len(units):
            continue
        rows = np.zeros((1, 4))
        rows[0, units[0]] = random.normal()
        one = np.full((1, len(units)), 0.7)
        sign, beta = np.zeros_like(one), np.zeros_like(one)
        if seed % 2:
            sign[0, 0], beta[0, 0] = 1.0, 10.0 ** random.uniform(0, 15)
        before, added, lost = checker._through(2, rows, lines_of(checker, one, sign, beta))
        claimed, entry = checker.made.layers[0], units[0]
        ends = (Fraction(claimed.lower[entry]), Fraction(0), Fraction(claimed.upper[entry]))
        parts = ends[seed % 2 :]
        gained = min(line_at(z, Fraction(0.1), rows[0, entry], before[0, entry]) for z in parts)
        assert Fraction(added[0]) - Fraction(lost[0]) <= gained
        sharp += Fraction(added[0]) > gained
    assert sharp, "rounding was never to be seen"


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["linf", "l2", "l1"]))
def test_the_least_value_over_a_region_is_below_the_exact_one(seed: int, norm: str) -> None:
    random = np.random.default_rng(seed)
    x = random.random(40, dtype=np.float32)
    made = replace(claim(wild_network(random, 0.0), random, norm), x=x, radius=Fraction(1, 50))
    rows, value = random.normal(size=(5, 40)), wild(random, 5)
    gamma = Arithmetic(False).gamma(128)
    rounded = Region(made, Arithmetic(False)).least(rows, value, 0 * value, gamma)
    ar = Arithmetic(True)
    zero = ar.array(np.zeros(5))
    exact = Region(made, ar).least(ar.array(rows), ar.array(value), zero, Fraction(0))
    assert all(Fraction(a) <= b for a, b in zip(rounded, exact, strict=True))


def test_a_leak_is_rounded_outward(monkeypatch: pytest.MonkeyPatch) -> None:
    checker, random = checker_of(0)
    values = random.normal(size=50)
    checker.steps = (checker.steps[0], Step(50, (0,)), Step(50, (1,), leak=0.1))
    checker.floors[1:] = [np.stack((values, -values))]
    monkeypatch.setattr(checker, "_verify", lambda *_: None)
    lowers, uppers = SIDES * checker._interval(2)
    for value, lower, upper in zip(values, lowers, uppers, strict=True):
        true = Fraction(value) * (1 if value > 0 else Fraction(0.1))
        assert Fraction(lower) <= true <= Fraction(upper)


def test_the_interval_of_a_sum_of_branches_is_rounded_outward() -> None:
    for seed in range(20):
        x = np.random.default_rng(seed).random(3, dtype=np.float32)
        graph = Graph((3,))
        graph.sum(*[0] * 9)
        made = Certificate(
            norm=BOX,
            radius=Fraction(0),
            label=0,
            classes=3,
            box_lower=x.astype(np.float64) / 3,
            box_upper=x.astype(np.float64) / 3,
            layers=(),
            leaves=leaves_of([], 0),
            cuts=no_cuts(0),
        )
        checker = Checker(checked(graph.network()), made, False)
        with suppress(CertificateError):
            checker.run()
        total = [9 * Fraction(value) for value in (x.astype(np.float64) / 3).tolist()]
        least, negated = checker.floors[1]
        assert all(Fraction(a) <= b for a, b in zip(least, total, strict=True))
        assert all(Fraction(a) <= -b for a, b in zip(negated, total, strict=True))


@pytest.mark.parametrize("place", ["weights", "biases"])
def test_a_sum_that_float64_gets_wrong_proves_nothing(place: str) -> None:
    """Of -x + 1/2, or -1 + 1/2, with the -1 lost between 10^17 and -10^17."""
    for order in ([1e17, -1.0, -1e17], [1e17, -1e17, -1.0], [-1.0, 1e17, -1e17]):
        graph = Graph((1,))
        numbers, zeros = torch.tensor(order, dtype=torch.float64), torch.zeros(3).double()
        if place == "weights":
            graph.dense(3, numbers[:, None], zeros)
        else:
            graph.dense(3, zeros[:, None], numbers)
        last = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
        graph.dense(2, last, torch.tensor([0.5, 0.0], dtype=torch.float64))
        made = Certificate(
            norm="linf",
            radius=Fraction(1, 2),
            label=0,
            classes=2,
            x=np.array([0.5], dtype=np.float32),
            layers=(),
            leaves=leaves_of([(1, [], 0.0)], 0),
            cuts=no_cuts(0),
        )
        for exact in (False, True):
            found = recheck(graph.network(), made, exact=exact)
            assert found.reason == "leaf 0 is not proved positive."


@settings(deadline=None)
@given(st.fractions(0, 10**30), st.integers(-400, 400))
def test_a_root_is_bounded_from_above_and_closely(number: Fraction, power: int) -> None:
    number *= Fraction(2) ** power
    root = root_above(number)
    assert root * root >= number
    assert (root * (1 - Fraction(1, 2**60))) ** 2 <= number


@settings(deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([1.0, 1e-200, 1e-320, 1e100]))
def test_a_euclidean_norm_is_bounded_from_above_and_closely(seed: int, scale: float) -> None:
    rows = wild(np.random.default_rng(seed), 3, 5) * scale
    for row, found in zip(rows.tolist(), Arithmetic(False).two_norm(rows).tolist(), strict=True):
        square = sum((Fraction(value) ** 2 for value in row), Fraction(0))
        assert Fraction(found) ** 2 >= square
        assert Fraction(found) <= root_above(square) * (1 + Fraction(1, 10**12)) + Fraction(1e-322)
