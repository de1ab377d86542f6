"""The bound that counts, against the same bound in fractions and against the network itself."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.network.elementwise import LeakyReLU, Sigmoid, Slopes
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Box
from evaluators.unrolled import proof
from evaluators.unrolled.proof import prove, prove_at_once, stored
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Layer, Rows, Unrolled
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.effort import examples, only
from tests.fixtures.exact import Vector, fractions
from tests.fixtures.networks import Graph
from tests.fixtures.unrolled import (
    PIECEWISE,
    TELLING,
    WITH_SIGMOIDS,
    about,
    around,
    box,
    dot,
    inside,
    node_values,
    wild,
)

Lines = list[Vector]


def choose(found: UnrolledProblem, seed: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes as they are stored, signs and multipliers, at random."""
    generator = torch.Generator().manual_seed(seed)
    shape, lines = (rows, len(found.lines.leak)), found.lines
    slopes = stored(torch.rand(shape, generator=generator) * 1.5 - 0.25, lines)
    signs = torch.randint(-1, 2, shape, generator=generator) * lines.optimizable
    power = 10.0 ** torch.randint(-6, 3, shape, generator=generator)
    betas = torch.rand(shape, generator=generator) * power
    return slopes, signs.to(torch.int8), betas


def exact_bound(
    found: UnrolledProblem, rows: Rows, number: int, slopes: Tensor, signs: Tensor, betas: Tensor
) -> tuple[Fraction, Fraction]:
    """One row's bound, and what was lost in rows, in real arithmetic; over a box or an l1 ball."""
    lines = [part.clone() for part in found.lines.lines]
    for curve in found.lines.curves:
        for whole, part in zip(lines, curve.lines(slopes[number, None].double()), strict=True):
            whole[curve.span] = part[0]
    below, floors, above, ceilings = (fractions(part) for part in lines)
    leaks = [Fraction(0 if v != v else v) for v in found.lines.leak.tolist()]
    free = found.lines.optimizable.tolist()
    chosen, sides, pulls = (fractions(part[number].double()) for part in (slopes, signs, betas))
    columns = fractions(rows.weight[number])
    constant, lost = Fraction(float(rows.bias[number])), Fraction(float(rows.lost[number]))
    n = found.unrolled.inputs
    for layer in reversed(found.unrolled.layers):
        weights, biases = [fractions(row) for row in layer.rows.weight], fractions(layer.rows.bias)
        errors = fractions(layer.rows.lost)
        for k in range(len(layer)):
            unit = layer.first - n + k
            a = columns[layer.first + k]
            if sides[unit]:
                line, offset = (Fraction(1) if sides[unit] > 0 else leaks[unit]), Fraction(0)
            elif a >= 0:
                line, offset = (chosen[unit] if free[unit] else below[unit]), floors[unit]
            else:
                line, offset = above[unit], ceilings[unit]
            through = a * line - sides[unit] * pulls[unit]
            constant += through * biases[k] + a * offset
            lost += abs(through) * errors[k]
            for column, weight in enumerate(weights[k]):
                columns[column] += through * weight
    return constant + least(found, columns[:n]), lost


def least(found: UnrolledProblem, row: Vector) -> Fraction:
    lower, upper = (fractions(end) for end in found.unrolled.bounds[0])
    ends = zip(row, lower, upper, strict=True)
    value = sum((min(r * lo, r * hi) for r, lo, hi in ends), Fraction(0))
    if found.region.norm is Norm.L1:
        ball = dot(row, fractions(found.x)) - found.region.radius * max(abs(r) for r in row)
        value = max(value, ball)
    return value


def check(found: UnrolledProblem, seed: int, close: float = 1e-9) -> None:
    """That the bound is the exact one, lowered, and by next to nothing where numbers are tame."""
    count = 4
    rows = found.goals.select(torch.arange(count) % len(found.goals))
    slopes, signs, betas = choose(found, seed, count)
    where = (found.unrolled, found.lines, rows, found.x, found.region)
    proved = prove(*where, slopes, signs, betas)
    for number in range(count):
        value, lost = exact_bound(found, rows, number, slopes, signs, betas)
        bound = Fraction(float(proved[number]))
        assert bound <= value - lost
        assert float(value - lost - bound) <= close * (1 + abs(float(value)))


def test_slopes_whose_lines_are_above_a_unit_are_not_taken() -> None:
    region, x = Ball(Norm.LINF, Fraction(1), -9.0, 9.0), torch.tensor([0.5, 0.25])
    for name in ("leaky 2-4-3-3", "read twice"):
        found = around(about(PIECEWISE[name](0), region, x))
        leak, rows = found.lines.leak, found.goals
        one = torch.ones_like(leak)
        for wrong, nearest in ((leak - 0.01, leak), (one + 0.01, one)):
            both = (slopes.expand(len(rows), -1) for slopes in (wrong, nearest))
            where = (found.unrolled, found.lines, rows, found.x, found.region)
            assert torch.equal(*(prove(*where, slopes) for slopes in both))


@pytest.mark.parametrize("name", only(PIECEWISE | WITH_SIGMOIDS, TELLING))
def test_the_bound_is_that_of_real_arithmetic_lowered(name: str) -> None:
    for seed in range(3):
        network = (PIECEWISE | WITH_SIGMOIDS)[name](seed)
        region = box(torch.Generator().manual_seed(seed), network)
        check(around(about(network, region)), seed)


def test_the_bound_over_an_l1_ball_is_that_of_real_arithmetic_lowered() -> None:
    for seed in range(3):
        network = PIECEWISE["leaky 2-4-3-3"](seed)
        region = Ball(Norm.L1, Fraction(3, 4), -9.0, 9.0)
        check(around(about(network, region, torch.tensor([0.25, -0.5]))), seed)


@pytest.mark.parametrize("name", only((name for name in PIECEWISE if name != "windowed"), TELLING))
def test_the_bound_is_lowered_enough_for_weights_of_wild_magnitudes(name: str) -> None:
    for seed in range(8):
        network = wild(PIECEWISE[name](seed), seed)
        region = box(torch.Generator().manual_seed(seed), network)
        check(around(about(network, region)), seed, close=torch.inf)


def cancelling(seed: int, layers: int) -> Network:
    """Big rows that hardly differ, subtracted from each other: what rounding loses remains."""
    generator = torch.Generator().manual_seed(seed)
    graph = Graph((3,), seed)
    for _ in range(layers):
        (inputs,) = graph.nodes[-1].shape
        row = torch.randn(1, inputs, generator=generator, dtype=torch.float64)
        big = 10.0 ** torch.randint(0, 9, (1, 1), generator=generator)
        small = 1e-9 * torch.randn(4, inputs, generator=generator, dtype=torch.float64)
        shift = torch.randn(1, generator=generator, dtype=torch.float64) * big[0]
        graph.dense(4, row * big * (1 + small), shift * (1 + small[:, 0]))
        graph.relu(0.25)
    pair = torch.randn(1, 2, generator=generator, dtype=torch.float64)
    weight = torch.cat((pair, -pair), 1)
    graph.dense(2, torch.cat((weight, 0 * weight)), torch.zeros(2, dtype=torch.float64))
    return graph.network()


@pytest.mark.parametrize("layers", [1, 2])
def test_the_bound_is_lowered_enough_where_big_numbers_cancel(layers: int) -> None:
    for seed in range(25):
        network = cancelling(seed, layers)
        region = box(torch.Generator().manual_seed(seed), network)
        check(around(about(network, region)), seed, close=torch.inf)


def by_hand(layers: list[Layer], ends: Tensor, network: Network) -> UnrolledProblem:
    """A system written down, without a network behind it."""
    problem = about(network, Box(ends[:1], ends[1:]))
    made = around(problem)
    unrolled = Unrolled(made.unrolled.network, made.unrolled.bounds, layers)
    return UnrolledProblem(problem, made.x, unrolled, UnitLines.of(layers), made.goals, {})


@given(st.integers(0, 10**6), st.sampled_from([1.0, 1e8]))
@settings(max_examples=examples(60), deadline=None)
def test_every_rounding_of_a_pass_is_paid_for(seed: int, width: float) -> None:
    """Rows of a system that cancel at the input: only the sums on the way can err.

    Units whose values are small may come from big numbers, which are rounded.
    """
    generator = torch.Generator().manual_seed(seed)
    units, n = 6, 2

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight = normal(1, n).expand(units, n) * 1e6
    bias = normal(1).expand(units) * 1e6
    zero = torch.zeros(units, dtype=torch.float64)
    rows = Rows(weight.contiguous(), bias.contiguous(), zero)
    wide = torch.full((units,), width, dtype=torch.float64)
    layer = Layer(1, LeakyReLU(0.25), torch.arange(units), rows, -wide, wide)
    ends = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    found = by_hand([layer], ends, PIECEWISE["linear"](0))
    half = normal(4, units // 2)
    goals = Rows(
        torch.cat((torch.zeros(4, n, dtype=torch.float64), half, -half), 1),
        torch.zeros(4, dtype=torch.float64),
        torch.zeros(4, dtype=torch.float64),
    )
    slopes, signs, betas = choose(found, seed, 4)
    signs = torch.ones_like(signs)
    betas = torch.cat((betas[:, : units // 2], betas[:, : units // 2]), 1)
    signs[:, units // 2 :] = 1
    where = (found.unrolled, found.lines, goals, found.x, found.region)
    for multipliers in (torch.zeros_like(betas), betas):
        proved = prove(*where, slopes, signs, multipliers)
        for number in range(4):
            value, lost = exact_bound(found, goals, number, slopes, signs, multipliers)
            assert Fraction(float(proved[number])) <= value - lost


@pytest.mark.parametrize("name", only(PIECEWISE, TELLING))
def test_the_bound_holds_where_the_splits_do(name: str) -> None:
    """Of the network itself, at points of the region; the signs are those of one of them."""
    held = 0
    for seed in range(4):
        network = PIECEWISE[name](seed)
        generator = torch.Generator().manual_seed(seed)
        problem = about(network, box(generator, network))
        found = around(problem)
        points = inside(problem, generator, 12)
        inner = found.unrolled.network
        values = [node_values(inner, point) for point in points]
        margins = [value[-1][0] - max(value[-1][1:]) for value in values]
        signs_at = [unit_signs(found, value) for value in values]
        slopes, signs, betas = choose(found, seed, len(points))
        signs = signs.abs() * torch.tensor(signs_at, dtype=torch.int8).reshape(len(points), -1)
        for goal in range(len(found.goals)):
            rows = found.goals.select(torch.full((len(points),), goal))
            where = (found.unrolled, found.lines, rows, found.x, found.region)
            proved = prove(*where, slopes, signs, betas).tolist()
            others = [v for c, v in enumerate(range(len(values[0][-1]))) if c != 0]
            for number, bound in enumerate(proved):
                for value, at in zip(values, signs_at, strict=True):
                    want = signs[number].tolist()
                    if all(s in (0, t) for s, t in zip(want, at, strict=True)):
                        held += 1
                        assert Fraction(bound) <= value[-1][0] - value[-1][others[goal]]
        assert margins
    assert held > 20


def unit_signs(found: UnrolledProblem, values: list[Vector]) -> list[int]:
    signs = []
    for layer in found.unrolled.layers:
        before = values[found.unrolled.network.nodes[layer.position].parents[0]]
        signs += [1 if before[entry] >= 0 else -1 for entry in layer.entries.tolist()]
    return signs


def test_negative_multipliers_prove_nothing() -> None:
    found = around(about(PIECEWISE["relu 2-3-2"](0), WIDE))
    slopes, signs, betas = choose(found, 0, len(found.goals))
    where = (found.unrolled, found.lines, found.goals, found.x, found.region)
    signs = torch.ones_like(signs)
    without = prove(*where, slopes, signs, torch.zeros_like(betas))
    assert torch.equal(prove(*where, slopes, signs, -betas - 1), without)


def test_numbers_that_are_none_prove_nothing() -> None:
    found = around(about(PIECEWISE["relu 2-3-2"](0), WIDE))
    slopes, signs, betas = choose(found, 0, len(found.goals))
    where = (found.unrolled, found.lines, found.goals, found.x, found.region)
    for bad in (torch.nan, torch.inf):
        proved = prove(*where, slopes, torch.ones_like(signs), torch.full_like(betas, bad))
        assert not bool((proved > -torch.inf).any())
    worse = Rows(found.goals.weight, found.goals.bias, found.goals.lost * torch.nan)
    assert not bool((prove(found.unrolled, found.lines, worse, *where[3:], slopes) > 0).any())


def test_parts_of_the_rows_give_the_same_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = around(about(PIECEWISE["leaky 2-4-3-3"](0), WIDE))
    rows = found.goals.select(torch.arange(7) % len(found.goals))
    choice = choose(found, 0, 7)
    where = (found.unrolled, found.lines, rows, found.x, found.region)
    whole = prove(*where, *choice)
    monkeypatch.setattr(proof, "AT_ONCE", 2 * rows.weight.shape[1])
    assert torch.allclose(prove(*where, *choice), whole, rtol=1e-9)


WIDE = Box(*(torch.full((1, 2), end, dtype=torch.float64) for end in (-2.0, 2.0)))


def lines_of(leak: float) -> UnitLines:
    one = torch.ones(1, dtype=torch.float64)
    rows = Rows(one[None], one, one)
    return UnitLines.of([Layer(1, LeakyReLU(leak), torch.tensor([0]), rows, -one, one)])


@given(
    st.floats(0, 1, exclude_max=True),
    st.lists(st.floats(-1, 2), min_size=1, max_size=9),
    st.sampled_from([torch.float16, torch.float32, torch.float64]),
)
@settings(deadline=None)
def test_stored_slopes_lie_between_the_leak_and_one(
    leak: float, slopes: list[float], kind: torch.dtype
) -> None:
    given_ = torch.tensor([*slopes, leak, 0.0, 1.0], dtype=torch.float64).to(kind)
    found = stored(given_[:, None], lines_of(leak))
    assert found.dtype is torch.float16
    for before, after in zip(given_.tolist(), found.flatten().tolist(), strict=True):
        assert Fraction(leak) <= Fraction(after) <= 1
        inside_ = min(max(before, leak), 1.0)
        assert abs(after - inside_) <= 2.0**-10 * inside_ + 2.0**-23


@pytest.mark.parametrize("leak", [0.25 + 1e-12, 0.1, 1 / 3, 2.0**-30, 1 - 2.0**-53])
def test_a_leak_that_no_short_number_holds_is_not_undercut(leak: float) -> None:
    for kind in (torch.float16, torch.float32, torch.float64):
        slope = torch.tensor([[leak]], dtype=torch.float64).to(kind)
        assert Fraction(float(stored(slope, lines_of(leak)))) >= Fraction(leak)


def test_parameters_choose_both_lines_of_functions_without_a_kink() -> None:
    one = torch.ones(1, dtype=torch.float64)
    rows = Rows(one[None], one, one)
    lines = UnitLines.of([Layer(1, Sigmoid(), torch.tensor([0]), rows, -one, 2 * one)])
    assert not bool(lines.optimizable.any())
    for share in (0.0, 0.375, 1.0):
        choice = lines.choice(torch.full((1, 1), share, dtype=torch.float64))
        below, above = lines.curves[0].family.slopes(torch.tensor([share], dtype=torch.float64))
        floor, ceiling = Sigmoid().intercepts(Slopes(below, above), -one, 2 * one)
        assert (choice.slopes, choice.floors) == (below, floor)
        assert (choice.chords, choice.offsets) == (above, ceiling)
        assert not bool(choice.free.any())
    # At first, CROWN's.
    crown = lines.choice(lines.start[None])
    assert torch.allclose(crown.slopes[0], lines.lines.lower_slope, rtol=1e-15)
    assert torch.allclose(crown.chords[0], lines.lines.upper_slope, rtol=1e-15)


@pytest.mark.parametrize("name", only(PIECEWISE | WITH_SIGMOIDS, TELLING))
def test_bounds_by_ranges_alone_hold_too(name: str) -> None:
    for seed in range(3):
        network = (PIECEWISE | WITH_SIGMOIDS)[name](seed)
        generator = torch.Generator().manual_seed(seed)
        problem = about(network if seed else wild(network, seed), box(generator, network))
        found = around(problem)
        proved = fractions(prove_at_once(found.unrolled, found.goals))
        ends: list[Vector] = [[], []]
        for end, limits in zip(ends, found.unrolled.bounds[0], strict=True):
            end += fractions(limits)
        for layer in found.unrolled.layers:
            values = layer.function.bounds(layer.lower, layer.upper)
            for end, limits in zip(ends, values, strict=True):
                end += fractions(limits)
        for number, bound in enumerate(proved):
            row = fractions(found.goals.weight[number])
            exact = dot(
                row, [low if r > 0 else high for r, low, high in zip(row, *ends, strict=True)]
            )
            exact += Fraction(float(found.goals.bias[number]))
            exact -= Fraction(float(found.goals.lost[number]))
            assert bound <= exact
            size = sum(map(abs, ends[0] + ends[1]), Fraction(0)) * max(map(abs, row))
            assert exact - bound <= (1 + size) / 10**9
