"""Lines and planes of the named relaxations: the papers' formulas, by hand and on grids."""

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic.cnn_cert import CNNCert, balanced_planes
from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.deeppoly import DEEPPOLY, DeepPoly
from evaluators.deterministic.fast_lin import PARALLEL, FastLin
from evaluators.deterministic.ibp import IBP
from evaluators.evaluator import Evaluator
from evaluators.network.elementwise import Elementwise, LeakyReLU, Sigmoid, Tanh
from evaluators.network.network import MaxPool
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import linear_relaxation, margins
from evaluators.propagation.relaxation import ADAPTIVE, PoolPlanes, Relaxation, winner_planes
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from tests.evaluators.test_backward import by_hand
from tests.fixtures.effort import examples
from tests.fixtures.tiny import FAMILIES, REGIONS, ask, centers

NEAR = 1e-12


def interval(*pairs: tuple[float, float]) -> Interval:
    bounds = torch.tensor(pairs, dtype=torch.float64)
    return Interval(bounds[None, :, 0], bounds[None, :, 1])


def line(relaxation: Relaxation, function: Elementwise, *ends: float) -> list[float]:
    """Slope and intercept below, slope and intercept above."""
    return [float(part) for part in relaxation.lines(function, interval((ends[0], ends[1])))]


def test_fast_lins_lines_are_parallel() -> None:
    """[-1, 3]: slope 3/4 through the origin below and through (3, 3) above."""
    assert line(PARALLEL, LeakyReLU(), -1.0, 3.0) == pytest.approx(
        [0.75, 0.0, 0.75, 0.75], abs=NEAR
    )
    # Leak 1/4: the chord from (-1, -1/4) to (3, 3) has slope 13/16 and height 9/16 at 0.
    leaky = line(PARALLEL, LeakyReLU(0.25), -1.0, 3.0)
    assert leaky == pytest.approx([13 / 16, 0.0, 13 / 16, 9 / 16], abs=NEAR)
    for function in (LeakyReLU(), LeakyReLU(0.25)):
        assert line(PARALLEL, function, 1.0, 3.0) == [1.0, 0.0, 1.0, 0.0]
        assert line(PARALLEL, function, -3.0, -1.0) == [function.leak, 0.0, function.leak, 0.0]


@pytest.mark.parametrize("function", [Sigmoid(), Tanh()], ids=repr)
@pytest.mark.parametrize(
    ("ends", "chord_below", "chord_above"),
    [
        ((0.5, 2.0), True, False),
        ((-2.0, -0.5), False, True),
        ((-1.0, 2.0), False, False),
        ((0.0, 2.0), False, False),
        ((-2.0, 0.0), False, True),
    ],
)
def test_deeppolys_lines_are_the_published_ones(
    function: Sigmoid | Tanh, ends: tuple[float, float], chord_below: bool, chord_above: bool
) -> None:
    """Through (l, f(l)) below and (u, f(u)) above, with the chord's slope or the lesser f'."""
    lower, upper = (torch.tensor(end, dtype=torch.float64) for end in ends)
    start, end = float(function(lower)), float(function(upper))
    chord = (end - start) / (ends[1] - ends[0])
    gentle = min(float(function.derivative(lower)), float(function.derivative(upper)))
    below, floor, above, ceiling = line(DEEPPOLY, function, *ends)
    assert below == pytest.approx(chord if chord_below else gentle, abs=NEAR)
    assert above == pytest.approx(chord if chord_above else gentle, abs=NEAR)
    assert below * ends[0] + floor == pytest.approx(start, abs=NEAR)
    assert above * ends[1] + ceiling == pytest.approx(end, abs=NEAR)


@given(
    st.sampled_from([DEEPPOLY, PARALLEL, ADAPTIVE]),
    st.sampled_from([LeakyReLU(), LeakyReLU(0.125), Sigmoid(), Tanh()]),
    st.floats(-20, 20),
    st.floats(0, 30),
)
@settings(max_examples=examples(300), deadline=None)
def test_lines_hold_on_a_grid(
    relaxation: Relaxation, function: Elementwise, start: float, width: float
) -> None:
    below, floor, above, ceiling = line(relaxation, function, start, start + width)
    x = torch.linspace(0, 1, 2001, dtype=torch.float64) * width + start
    x = x.clamp(max=start + width)
    value = function(x)
    slack = NEAR * (1 + value.abs())
    assert bool((below * x + floor <= value + slack).all())
    assert bool((value - slack <= above * x + ceiling).all())


Maker = Callable[[MaxPool, Interval], PoolPlanes]

POOL = MaxPool((1, 2, 2), (2, 2), (2, 2), (0, 0))
"""One window of four inputs."""


def planes_of(pool: MaxPool, *pairs: tuple[float, float]) -> PoolPlanes:
    return balanced_planes(pool, interval(*pairs))


def test_cnn_certs_planes_by_hand() -> None:
    """[0, 2] and [1, 2] beside two that cannot win: γ = (1 + 2 - 1) / (1/2 + 1) = 4/3.

    Weights (2 - 4/3)/2 = 1/3 and (2 - 4/3)/1 = 2/3 add up to 1: above z/3 + 2(y - 1)/3 + 4/3.
    """
    planes = planes_of(POOL, (0, 2), (-1, 0.5), (1, 2), (0, 0.75))
    weight = torch.tensor([1 / 3, 0, 2 / 3, 0], dtype=torch.float64)
    assert torch.allclose(planes.lower_weight[0, 0], weight)
    assert torch.allclose(planes.upper_weight[0, 0], weight)
    assert float(planes.upper_intercept) == pytest.approx(2 / 3, abs=NEAR)
    assert float(planes.lower_intercept) == pytest.approx(0.0, abs=NEAR)


def test_cnn_certs_level_is_at_most_the_least_upper_bound() -> None:
    """[0, 1] and three times [0, 10]: γ = (1 + 3 - 1) / (1 + 3/10) > 1 is cut to 1, G = 27/10."""
    planes = planes_of(POOL, (0, 10), (0, 1), (0, 10), (0, 10))
    weight = torch.tensor([0.9, 0, 0.9, 0.9], dtype=torch.float64)
    assert torch.allclose(planes.upper_weight[0, 0], weight)
    assert float(planes.upper_intercept) == pytest.approx(1.0, abs=NEAR)
    assert float(planes.lower_intercept) == pytest.approx(10 * (1 - 2.7), abs=NEAR)


def test_cnn_certs_points_take_what_the_others_leave() -> None:
    """The point 2 makes γ = 2: (3 - 2)/3, (4 - 2)/4 and the rest, 1/6, for the point."""
    planes = planes_of(POOL, (2, 2), (0, 3), (0, 4), (0, 1))
    weight = torch.tensor([1 / 6, 1 / 3, 1 / 2, 0], dtype=torch.float64)
    assert torch.allclose(planes.upper_weight[0, 0], weight)
    assert float(planes.upper_intercept) == pytest.approx(5 / 3, abs=NEAR)


@pytest.mark.parametrize("make", [winner_planes, balanced_planes])
def test_a_sure_winner_is_passed_on(make: Maker) -> None:
    planes = make(POOL, interval((-1, 0), (1, 2), (0, 0.5), (0.75, 0.875)))
    place = planes.entry[0, 0].tolist()
    for weight in (planes.lower_weight, planes.upper_weight):
        assert weight[0, 0][place.index(1)] == pytest.approx(1.0, abs=NEAR)
        assert float(weight.sum()) == pytest.approx(1.0, abs=NEAR)
    assert abs(float(planes.lower_intercept)) + abs(float(planes.upper_intercept)) < NEAR


def test_deeppolys_planes_by_hand() -> None:
    """The input with the largest lower bound below, the largest upper bound above."""
    planes = winner_planes(POOL, interval((0, 5), (1, 2), (-1, 6), (0, 0.5)))
    assert [float(part) for part in planes] == [1.0, 1.0, 0.0, 0.0, 6.0]


PADDED = MaxPool((1, 2, 3), (2, 2), (2, 2), (1, 1))
"""Six inputs; windows of two, two and one, all cut by the edge."""

ends = st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6))


@pytest.mark.parametrize("make", [winner_planes, balanced_planes])
@given(pairs=st.lists(ends, min_size=6, max_size=6), pool=st.sampled_from([POOL, PADDED]))
@settings(max_examples=examples(150), deadline=None)
def test_planes_hold_in_exact_arithmetic(
    make: Maker, pairs: list[tuple[float, float]], pool: MaxPool
) -> None:
    """At vertices, where the plane above is closest, and where that below is: z_i = min(u_i, t)."""
    box = [(start, start + width) for start, width in pairs[: prod(pool.input_shape)]]
    planes = make(pool, interval(*box))
    exact = [(Fraction(lower), Fraction(upper)) for lower, upper in box]
    levels = {end for pair in exact for end in pair}
    for output, window in enumerate(pool.windows.tolist()):
        inside = [exact[place] for place in window if place >= 0]
        vertices = list(product(*inside))
        ridges = [tuple(min(max(t, lo), hi) for lo, hi in inside) for t in levels]
        for point in vertices + ridges:
            at = dict(zip([place for place in window if place >= 0], point, strict=True))
            below, above = sides(planes, output, at)
            assert below <= max(point) <= above


def sides(planes: PoolPlanes, output: int, at: dict[int, Fraction]) -> tuple[Fraction, Fraction]:
    """Both planes of a window at a point, in exact arithmetic."""
    place = planes.entry[0, output].tolist()

    def plane(weight: Tensor, intercept: Tensor) -> Fraction:
        weights = [Fraction(w) for w in weight[0, output].tolist()]
        terms = (w * at[p] for w, p in zip(weights, place, strict=True) if w)
        return sum(terms, Fraction(float(intercept[0, output])))

    return (
        plane(planes.lower_weight, planes.lower_intercept),
        plane(planes.upper_weight, planes.upper_intercept),
    )


@pytest.mark.parametrize("make", [winner_planes, balanced_planes])
@pytest.mark.parametrize("pair", [(torch.nan, torch.nan), (0.0, torch.inf), (-torch.inf, 1.0)])
def test_planes_of_what_is_not_finite_prove_nothing(make: Maker, pair: tuple[float, float]) -> None:
    planes = make(POOL, interval((0.0, 1.0), pair, (0.5, 2.0), (0.0, 0.5)))
    above = planes.upper_intercept + planes.upper_weight.sum(2)
    assert not float(above) < 2.0
    assert not float(planes.lower_intercept) > 0


METHODS: list[Evaluator] = [FastLin(), DeepPoly(), CNNCert(), CNNCert(adaptive=False)]


def proved(evaluator: Evaluator, family: str, region: str, seed: int) -> list[Verdict]:
    network = FAMILIES[family](seed)
    return evaluator(ask(network, centers(network, seed, 4), REGIONS[region]))


def numbers(verdicts: list[Verdict]) -> list[float]:
    assert all(verdict.margin is not None for verdict in verdicts)
    return [verdict.margin or 0.0 for verdict in verdicts]


RELUS = ["relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual", "convolutional"]
CURVES = ["sigmoid 2-3-3-2", "tanh 2-3-3-2", "repeated"]


@pytest.mark.slow
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(
    ("one", "other", "families"),
    [
        (DeepPoly(), CROWN(), [*RELUS, "pooled"]),
        (CNNCert(), CROWN(), RELUS + CURVES),
        (CNNCert(adaptive=False), FastLin(), RELUS),
    ],
    ids=["deeppoly is crown on relus", "cnn-cert is crown unpooled", "cnn-cert-relu is fast-lin"],
)
def test_methods_with_the_same_lines_prove_the_same(
    one: Evaluator, other: Evaluator, families: list[str], region: str
) -> None:
    for family in families:
        for seed in range(2):
            assert numbers(proved(one, family, region, seed)) == numbers(
                proved(other, family, region, seed)
            )


@pytest.mark.parametrize(
    ("one", "other", "family"),
    [
        (FastLin(), CROWN(), "relu 2-4-4-3"),
        (DeepPoly(), CROWN(), "tanh 2-3-3-2"),
        (CNNCert(), CROWN(), "pooled"),
    ],
)
def test_methods_with_other_lines_prove_something_else(
    one: Evaluator, other: Evaluator, family: str
) -> None:
    pairs = [
        (
            numbers(proved(one, family, "linf unclipped", seed)),
            numbers(proved(other, family, "linf unclipped", seed)),
        )
        for seed in range(4)
    ]
    assert any(mine != theirs for mine, theirs in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", METHODS, ids=repr)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_method_proves_less_than_intervals(evaluator: Evaluator, family: str) -> None:
    for region in ("linf", "l2"):
        loose = numbers(proved(IBP(), family, region, 0))
        for before, verdict in zip(loose, proved(evaluator, family, region, 0), strict=True):
            if verdict.note.startswith("unsupported"):
                assert isinstance(evaluator, FastLin)
                continue
            assert verdict.margin is not None
            assert verdict.margin >= before - NEAR * max(1.0, abs(before))


def test_fast_lins_margin_by_hand() -> None:
    """As in `test_backward`, with slope 3/4 below as well: 3 + 3/4 (z1 - z2) - 3/8 >= 15/8.

    CROWN has 7/4 there: neither is always the tighter one.
    """
    problem = ask(by_hand(), torch.tensor([[0.5, 0.0]]), Ball(Norm.LINF, Fraction(1, 2), -1.0, 1.0))
    relaxed = linear_relaxation(problem, PARALLEL)
    assert float(margins(relaxed, problem.labels, True)) == pytest.approx(1.875, abs=NEAR)


@pytest.mark.parametrize(
    ("family", "missing"),
    [("sigmoid 2-3-3-2", "Sigmoid"), ("pooled", "MaxPool"), ("repeated", "Sigmoid")],
)
def test_fast_lin_says_what_it_has_no_lines_for(family: str, missing: str) -> None:
    verdicts = proved(FastLin(), family, "linf", 0)
    assert {v.note for v in verdicts} == {f"unsupported: the method has no bounds for {missing}"}
    assert {v.status for v in verdicts} == {Status.UNKNOWN}


def test_none_of_them_changes_the_cascade() -> None:
    assert all(evaluator.cascade is None for evaluator in METHODS)
