"""Lines of sigmoid and tanh that an ascent chooses: always on their side, and worth it."""

import math
from fractions import Fraction
from itertools import product

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluators.branching.search import start
from evaluators.branching.state import Search
from evaluators.branching.tuning import Tuning
from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.crown import CROWN
from evaluators.network.elementwise import Elementwise, LeakyReLU, Sigmoid, Slopes, Tanh
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled.ascent import Rates, ascend
from evaluators.unrolled.curves import curves_of
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Layer, Rows
from tests.evaluators.test_elementwise import (
    TERMS,
    assert_lines_hold,
    intervals,
    real,
    tensors,
)
from tests.fixtures.effort import examples, first_alone
from tests.fixtures.tiny import FAMILIES, ask, centers, chain, least_margins, points_of
from tests.fixtures.unrolled import WITH_SIGMOIDS, about, around

CURVED: tuple[Elementwise, ...] = (Sigmoid(), Tanh())
curved = st.sampled_from(CURVED)
shares = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))


def layer(function: Elementwise, *ends: tuple[float, float]) -> Layer:
    """Units with these bounds."""
    lower, upper = (torch.tensor(end, dtype=torch.float64) for end in zip(*ends, strict=True))
    count = len(lower)
    zero = torch.zeros(count, dtype=torch.float64)
    rows = Rows(torch.zeros(count, 2, dtype=torch.float64), zero, zero)
    return Layer(1, function, torch.arange(count), rows, lower, upper)


@pytest.mark.slow
@given(curved, intervals(), shares)
@settings(max_examples=examples(400), deadline=None)
@example(Sigmoid(), (-745.0, 20.0), 0.0)
@example(Tanh(), (-0.5, 400.0), 1.0)
@example(Sigmoid(), (-1e-8, 1e-8), 0.5)
def test_every_line_of_a_family_is_on_its_side(
    function: Elementwise, interval: tuple[float, float], share: float
) -> None:
    family = function.family(*tensors(*interval))
    (parameter,) = tensors(share)
    assert_lines_hold(function, interval, family.slopes(parameter))


@given(curved, intervals(), shares)
@settings(max_examples=examples(200), deadline=None)
def test_what_a_proof_uses_is_on_its_side(
    function: Elementwise, interval: tuple[float, float], share: float
) -> None:
    """The lines of units, from a parameter as it is stored, in many digits."""
    lower, upper = interval
    if lower == upper:
        return
    lines = UnitLines.of([layer(function, interval)])
    stored = torch.tensor([[share]]).half().double()
    choice = lines.choice(stored)
    assert choice.floors is not None
    parts = [float(part.reshape(-1)[0]) for part in (choice.slopes, choice.floors)]
    parts += [float(part.reshape(-1)[0]) for part in (choice.chords, choice.offsets)]
    with mpmath.workdps(TERMS):
        slope, floor, chord, offset = map(mpmath.mpf, parts)
        for step in range(33):
            x = min(max(lower + (upper - lower) * step / 32, lower), upper)
            assert slope * x + floor <= real(function, x) <= chord * x + offset


@pytest.mark.parametrize("function", CURVED, ids=repr)
@pytest.mark.parametrize(
    "interval", [(-2.0, 3.0), (-4.0, 1.0), (0.5, 2.0), (-3.0, -1.0), (-8.0, 8.0), (-9.0, 0.1)]
)
def test_a_family_holds_the_best_line_for_every_point(
    function: Elementwise, interval: tuple[float, float]
) -> None:
    """At each z some line is as high below (as low above) as f's convex (concave) hull."""
    x = torch.linspace(*interval, 1501, dtype=torch.float64)
    values = function(x)
    family = function.family(*tensors(*interval))
    parameters = torch.linspace(0, 1, 1501, dtype=torch.float64)
    slopes = family.slopes(parameters)
    low, high = function.intercepts(slopes, *tensors(*interval))
    for z in x[::50]:
        below = (slopes.lower * z + low).max()
        above = (slopes.upper * z + high).min()
        every = torch.linspace(-0.1, 1.1, 4001, dtype=torch.float64)
        reach = function.intercepts(Slopes(every, every), *tensors(*interval))
        assert float(below) >= float((every * z + reach[0]).max()) - 1e-4
        assert float(above) <= float((every * z + reach[1]).min()) + 1e-4
    assert bool((slopes.lower[:, None] * x + low[:, None] <= values + 1e-12).all())


@given(curved, intervals())
@settings(max_examples=examples(200), deadline=None)
def test_a_family_starts_with_crowns_lines(
    function: Elementwise, interval: tuple[float, float]
) -> None:
    lower, upper = tensors(*interval)
    family, crown = function.family(lower, upper), function.slopes(lower, upper)
    for mine, its in zip(family.slopes(family.start), crown, strict=True):
        assert float(mine) == pytest.approx(float(its), rel=1e-9, abs=1e-15)
    for first, last in zip(family.first, family.last, strict=True):
        assert float(first) <= float(last) * (1 + 1e-9) + 1e-300


@given(curved, st.floats(-8, 8), st.floats(0.01, 12), shares)
@settings(max_examples=examples(200), deadline=None)
def test_a_search_has_the_same_lines_up_to_rounding(
    function: Elementwise, start_: float, width: float, share: float
) -> None:
    ends = tensors(start_, start_ + width)
    slopes = function.family(*ends).slopes(*tensors(share))
    (low, high), points = function.supports(slopes, *ends)
    below, above = function.intercepts(slopes, *ends)
    assert float(low) == pytest.approx(float(below), abs=3e-6)
    assert float(high) == pytest.approx(float(above), abs=3e-6)
    for slope, intercept, point in zip(slopes, (low, high), points, strict=True):
        touched = float(slope * point + intercept - function(point))
        assert touched == pytest.approx(0, abs=1e-12)
        assert start_ <= float(point) <= start_ + width


def test_a_function_without_a_choice_keeps_its_lines() -> None:
    """A new one needs no family; those with a kink have a rule of their own."""

    class Plain(Tanh):
        family = Elementwise.family

    assert curves_of([layer(Plain(), (-1.0, 2.0)), layer(LeakyReLU(), (-1.0, 2.0))]) == ()
    lines = UnitLines.of([layer(Plain(), (-1.0, 2.0))])
    choice = lines.choice(torch.full((1, 1), 0.25, dtype=torch.float64))
    assert torch.equal(choice.slopes[0], lines.lines.lower_slope)
    assert not bool(lines.curved.any())


def test_units_are_told_apart_by_function_and_selected() -> None:
    layers = [
        layer(Tanh(), (-1.0, 2.0), (-3.0, -2.0)),
        layer(Tanh(), (-2.0, 2.0)),
        layer(LeakyReLU(), (-1.0, 1.0)),
        layer(Sigmoid(), (-1.0, 1.0), (0.5, 1.0)),
    ]
    lines = UnitLines.of(layers)
    assert [curve.span for curve in lines.curves] == [slice(0, 3), slice(4, 6)]
    assert lines.curved.tolist() == [True, True, True, False, True, True]
    some = torch.tensor([1, 3, 5])
    few, parameters = lines.select(some), torch.tensor([[0.25, 0.5, 0.75]], dtype=torch.float64)
    assert [curve.span for curve in few.curves] == [slice(0, 1), slice(2, 3)]
    whole = torch.zeros(1, 6, dtype=torch.float64)
    whole[:, some] = parameters
    for of_all, of_few in zip(lines.choice(whole)[:5], few.choice(parameters)[:5], strict=True):
        assert of_all is not None
        assert of_few is not None
        assert torch.equal(of_all[..., some], of_few)
    assert [len(lines.select(torch.tensor([3])).curves)] == [0]


@pytest.mark.parametrize("name", first_alone(["sigmoid 2-3-3-2", "tanh 2-3-3-2"]))
def test_optimised_lines_prove_more_and_hold_on_a_grid(name: str) -> None:
    gained = proved = 0.0
    for seed in range(3):
        network = FAMILIES[name](seed)
        for region in (
            Ball(Norm.LINF, Fraction(1, 10), -9.0, 9.0),
            Ball(Norm.L2, Fraction(1, 5), -9.0, 9.0),
        ):
            problem = ask(network, centers(network, seed, 2), region)
            for row, (before, after) in enumerate(
                zip(CROWN()(problem), AlphaCROWN()(problem), strict=True)
            ):
                points = points_of(region, problem.x[row], 21)
                least = float(least_margins(network, points, int(problem.labels[row])).min())
                assert before.margin is not None
                assert after.margin is not None
                assert after.margin <= least + 1e-12 * max(1.0, abs(least))
                gained += max(0.0, after.margin - before.margin)
                proved += after.status is Status.CERTIFIED
    assert gained > 0.02
    assert proved


@pytest.mark.slow
def test_wider_networks_gain_at_their_margins() -> None:
    """Of CROWN's gap to an upper bound by sampling, a good part is closed."""
    closed = total = 0.0
    for function in CURVED:
        network = chain(4, 12, 12, 3, function=function, seed=0)
        problem = ask(network, centers(network, 0, 3), Ball(Norm.LINF, Fraction(1, 20), -9.0, 9.0))
        before, after = CROWN()(problem), AlphaCROWN()(problem)
        for row, (loose, tight) in enumerate(zip(before, after, strict=True)):
            points = points_of(problem.region, problem.x[row], 7)  # type: ignore[arg-type]
            least = float(least_margins(network, points, int(problem.labels[row])).min())
            assert loose.margin is not None
            assert tight.margin is not None
            assert tight.margin <= least
            closed, total = closed + tight.margin - loose.margin, total + least - loose.margin
    assert closed > 0.05 * total


def root_bounds(network: Network, seed: int, steps: int) -> list[float]:
    region = Ball(Norm.LINF, Fraction(1, 2), -9.0, 9.0)
    found = around(about(network, region, centers(network, seed, 3)[2]), 0)
    (state,) = start([Search(found, Deadline(), Tuning(root=Rates(steps)))])
    return [float(bound) for bound in state.lower_bounds()]


def test_networks_with_kinks_and_curves_gain_by_both() -> None:
    gained = 0.0
    for seed in range(4):
        network = WITH_SIGMOIDS["mixed"](seed)
        few, many = (root_bounds(network, seed, steps) for steps in (0, 20))
        assert all(b >= a - 1e-9 for a, b in zip(few, many, strict=True))
        gained += sum(b - a for a, b in zip(few, many, strict=True) if math.isfinite(a))
    assert gained > 0.01


@pytest.mark.parametrize("name", ["mixed", "tanh 2-3-3-2"])
def test_examples_with_curves_find_together_what_they_find_alone(name: str) -> None:
    network = (WITH_SIGMOIDS | FAMILIES)[name](1)
    region = Ball(Norm.LINF, Fraction(1, 3), -9.0, 9.0)
    problem = ask(network, centers(network, 1, 4), region)
    together, alone = list[float](), list[float]()
    for rows in ([[0, 1, 2, 3]], [[0], [1], [2], [3]]):
        for group in rows:
            searches = [
                Search(around(problem.select([row]), 0), Deadline(), Tuning(root=Rates(5)))
                for row in group
            ]
            into = together if len(group) > 1 else alone
            into += [float(bound) for state in start(searches) for bound in state.lower_bounds()]
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-4)


def test_an_ascent_reports_the_bound_of_the_lines_that_it_returns() -> None:
    """With kinks and curves in one network, both must have moved as reported."""
    moved = torch.zeros(2)
    for seed, name in product(range(4), WITH_SIGMOIDS):
        network = WITH_SIGMOIDS[name](seed)
        region = Ball(Norm.LINF, Fraction(1, 2), -9.0, 9.0)
        found = around(about(network, region, centers(network, seed, 3)[2]), 0)
        system, lines = System.of(found.unrolled, found.x, region), found.lines
        for sign in (1, -1):
            rows = sign * found.goals.weight.float(), sign * found.goals.bias.float() - 100
            begun = lines.start.float().expand(len(found.goals), -1)
            best = ascend(system, lines, *rows, begun, Rates(8), Deadline())
            choice = lines.choice(best.slopes)
            again = system.backward(*rows, choice).bounds
            assert torch.allclose(again, best.bounds, rtol=1e-5)
            steps = (best.slopes - begun).abs().amax(0)
            moved += torch.stack((steps[lines.curved].sum(), steps[~lines.curved].sum()))
    assert bool((moved > 0.1).all())
