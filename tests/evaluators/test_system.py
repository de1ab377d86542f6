"""The search's bounds are the proof's, and their gradients are what differences say."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.network.elementwise import LeakyReLU
from evaluators.numerics.adam import Adam
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.unrolled.ascent import Rates, ascend
from evaluators.unrolled.members import Member
from evaluators.unrolled.proof import prove
from evaluators.unrolled.system import System
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.tiny import chain
from tests.fixtures.unrolled import PIECEWISE, WITH_SIGMOIDS, about, around

NETWORKS = PIECEWISE | WITH_SIGMOIDS
NAMES = [name for name in NETWORKS if name not in ("linear", "dead")]
STEP = 1e-6


def precise(system: System, unrolled: UnrolledProblem) -> System:
    """The system in float64, so that differences can be taken."""
    layers = unrolled.unrolled.layers
    lower, upper = (bound.flatten() for bound in unrolled.unrolled.bounds[0])
    weights = tuple(layer.rows.weight for layer in layers)
    member = Member(weights, torch.cat([layer.rows.bias for layer in layers]))
    middle, reach = (lower + upper) / 2, (upper - lower) / 2
    x = unrolled.x.reshape(1, -1)
    return replace(system, members=(member,), middle=middle[None], reach=reach[None], x=x)


def setting(name: str, norm: Norm, seed: int) -> tuple[UnrolledProblem, System, torch.Generator]:
    network = NETWORKS[name](seed)
    region = Ball(norm, Fraction(3, 4), -9.0, 9.0)
    found = around(about(network, region, torch.tensor([0.25, -0.125])), 0)
    system = System.of(found.unrolled, found.x, region)
    return found, precise(system, found), torch.Generator().manual_seed(seed)


def random_choice(
    found: UnrolledProblem, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes, signs and multipliers, a row for each goal."""
    leak = found.lines.leak.nan_to_num(0.0)
    shape = (len(found.goals), len(leak))
    slopes = leak + (1 - leak) * (0.05 + 0.9 * torch.rand(shape, generator=generator).double())
    signs = torch.randint(-1, 2, shape, generator=generator) * found.lines.optimizable
    betas = (0.1 + torch.rand(shape, generator=generator).double()) * (signs != 0)
    return slopes, signs.to(torch.int8), betas


@pytest.mark.slow
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_differences_of_the_bound(name: str, norm: Norm) -> None:
    smooth = tried = 0
    for seed in range(2):
        found, system, generator = setting(name, norm, seed)
        slopes, signs, betas = random_choice(found, generator)
        goals = found.goals

        def bound(slopes: Tensor, betas: Tensor, given=(found, system, signs)) -> Tensor:  # type: ignore[no-untyped-def]
            found, system, signs = given
            choice = found.lines.choice(slopes, signs, betas)
            goals = found.goals
            result: Tensor = system.backward(goals.weight, goals.bias, choice).bounds
            return result

        choice = found.lines.choice(slopes, signs, betas)
        parameters = torch.where(found.lines.curved, slopes, choice.slopes)
        choice = found.lines.follow(choice, parameters, choice.pulls)
        walked = system.backward(goals.weight, goals.bias, choice)
        z = system.forward(walked, choice)
        by_slope = choice.gradient(walked.units, z)
        by_beta = -signs * z
        for unit in range(system.units):
            move = torch.zeros_like(slopes)
            move[:, unit] = STEP
            for expected, up, down in (
                (by_slope[:, unit], bound(slopes + move, betas), bound(slopes - move, betas)),
                (by_beta[:, unit], bound(slopes, betas + move), bound(slopes, betas - move)),
            ):
                here = bound(slopes, betas)
                right, left = (up - here) / STEP, (here - down) / STEP
                flat = (right - left).abs() < 1e-3 * (1 + right.abs())
                tried += len(flat)
                smooth += int(flat.sum())
                assert torch.allclose(right[flat], expected[flat], rtol=1e-3, atol=1e-3)
    assert smooth > 0.8 * tried


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", NAMES)
def test_the_proof_computes_the_same_bound(name: str, norm: Norm) -> None:
    found, system, generator = setting(name, norm, 0)
    slopes, signs, betas = random_choice(found, generator)
    choice = found.lines.choice(slopes, signs, betas)
    searched = system.backward(found.goals.weight, found.goals.bias, choice).bounds
    where = (found.unrolled, found.lines, found.goals, found.x, found.region)
    proved = prove(*where, slopes, signs, betas)
    assert bool((proved <= searched + 1e-12 * (1 + searched.abs())).all())
    assert torch.allclose(proved, searched, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("norm", list(Norm))
def test_passes_through_a_narrow_first_matrix_are_those_over_the_inputs(norm: Norm) -> None:
    network = chain(12, 4, 5, 4, 3, function=LeakyReLU(0.125), seed=1)
    x = torch.linspace(-1, 1, 12)
    found = around(about(network, Ball(norm, Fraction(1, 2), -9.0, 9.0), x), 0)
    system = System.of(found.unrolled, found.x, found.region)
    plain, generator = precise(system, found), torch.Generator().manual_seed(0)
    assert (system.outputs, plain.outputs) == (4, None)
    slopes, signs, betas = random_choice(found, generator)
    answers = []
    for its in (system, plain):
        columns = found.goals.weight.to(its.middle)
        choice = found.lines.choice(slopes.to(columns), signs, betas.to(columns))
        walked = its.backward(columns, found.goals.bias.to(columns), choice)
        answers.append((*walked, its.forward(walked, choice)))
        assert torch.equal(columns, found.goals.weight.to(columns)), "rows are kept"
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", list(Norm))
def test_the_least_value_is_taken_at_the_minimiser(norm: Norm) -> None:
    _, system, generator = setting("relu 2-3-2", norm, 0)
    rows = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    points = system.minimizer(rows)
    assert torch.allclose((rows * points).sum(1), system.least(rows))
    shift = (points - system.x).abs()
    length = {Norm.LINF: shift.amax(1), Norm.L1: shift.sum(1), Norm.L2: shift.norm(dim=1)}[norm]
    assert bool((length <= 0.75 * (1 + 1e-9)).all())


def test_splits_replace_lines_and_leave_others_alone() -> None:
    found, _, _ = setting("leaky 2-4-3-3", Norm.LINF, 0)
    lines, units = found.lines, len(found.lines.leak)
    slopes = torch.full((1, units), 0.5, dtype=torch.float64)
    signs = torch.zeros(1, units, dtype=torch.int8)
    signs[0, 0], signs[0, 1] = 1, -1
    betas = torch.full((1, units), 2.0, dtype=torch.float64)
    choice = lines.choice(slopes, signs, betas)
    assert choice.slopes[0, :3].tolist() == [*choice.chords[0, :2].tolist(), 0.5] == [1, 0.1, 0.5]
    assert choice.offsets[0, :2].tolist() == [0, 0]
    assert torch.equal(choice.offsets[0, 2:], lines.lines.upper_intercept[2:])
    assert torch.equal(choice.chords[0, 2:], lines.lines.upper_slope[2:])
    assert choice.free[0].tolist() == [0, 0] + [1] * (units - 2)
    assert choice.pulls is not None
    assert choice.pulls[0, :3].tolist() == [2, -2, 0]


def test_an_ascent_raises_bounds_and_stays_allowed() -> None:
    gained = 0.0
    for name in ("relu 2-4-4-3", "leaky 2-4-3-3", "residual", "mixed"):
        found, _, _ = setting(name, Norm.LINF, 0)
        system = System.of(found.unrolled, found.x, found.region)
        units = len(found.lines.leak)
        start = found.lines.start.float().expand(len(found.goals), -1)
        signs = torch.zeros(len(found.goals), units, dtype=torch.int8)
        signs[:, found.lines.optimizable.nonzero()[:1, 0]] = 1
        betas = torch.zeros(len(found.goals), units)
        rows = found.goals.weight.float(), found.goals.bias.float()
        runs = [
            ascend(system, found.lines, *rows, start, Rates(steps), Deadline(), signs, betas)
            for steps in (0, 20)
        ]
        before, after = (run.bounds for run in runs)
        assert bool((after >= before).all())
        gained += float((after - before).sum())
        slopes, multipliers = runs[1].slopes, runs[1].betas
        assert multipliers is not None
        assert bool((multipliers >= 0).all())
        open_ = (signs == 0) & found.lines.optimizable
        leak = found.lines.leak.float().expand_as(slopes)
        assert bool(((slopes >= leak) & (slopes <= 1))[open_].all())
    assert gained > 0.01


def test_an_ascent_without_a_split_is_that_without_signs() -> None:
    for name in ("relu 2-4-4-3", "leaky 2-4-3-3", "mixed"):
        found, system, _ = setting(name, Norm.LINF, 0)
        rows = found.goals.weight, found.goals.bias
        start = found.lines.start.expand(len(found.goals), -1)
        given = system, found.lines, *rows, start, Rates(5), Deadline()
        plain = ascend(*given)
        betas = torch.full_like(plain.slopes, 0.5)
        signed = ascend(*given, torch.zeros_like(betas, dtype=torch.int8), betas)
        assert torch.equal(signed.bounds, plain.bounds)
        assert torch.equal(signed.slopes, plain.slopes)
        assert signed.betas is not None
        assert torch.equal(signed.betas, betas)


def test_the_steps_of_adam_are_those_of_its_paper_at_zeros_too() -> None:
    sizes = torch.tensor([0.0, 1e-30, 1e-12, 1e-8, 1.0, -2.0])
    adam = Adam(sizes, 0.5, 0.9)
    mean, square = torch.zeros(6), torch.zeros(6)
    for step in range(1, 4):
        gradient = sizes / step
        mean, square = 0.5 * mean + 0.5 * gradient, 0.9 * square + 0.1 * gradient**2
        scale = (1 - 0.9**step) ** 0.5 / (1 - 0.5**step)
        expected = scale * mean / (square.sqrt() + 1e-8)
        torch.testing.assert_close(adam.step(gradient), expected, rtol=1e-5, atol=0)


def test_an_ascent_whose_time_is_up_gives_the_first_bound() -> None:
    found, _, _ = setting("relu 2-4-4-3", Norm.LINF, 1)
    system = System.of(found.unrolled, found.x, found.region)
    start = found.lines.start.float().expand(len(found.goals), -1)
    rows = found.goals.weight.float(), found.goals.bias.float()
    late = ascend(system, found.lines, *rows, start, Rates(9), Deadline(0.0))
    once = ascend(system, found.lines, *rows, start, Rates(0), Deadline())
    assert torch.equal(late.bounds, once.bounds)


def test_multipliers_alone_raise_bounds() -> None:
    gained = 0.0
    for name in ("relu 2-4-4-3", "leaky 2-4-3-3", "residual"):
        found, _, _ = setting(name, Norm.LINF, 1)
        system = System.of(found.unrolled, found.x, found.region)
        start = found.lines.start.float().expand(len(found.goals), -1)
        rows = found.goals.weight.float(), found.goals.bias.float()
        for unit in range(system.units):
            for sign in (1, -1):
                signs = torch.zeros(start.shape, dtype=torch.int8)
                signs[:, unit] = sign
                before, after = (
                    ascend(
                        system,
                        found.lines,
                        *rows,
                        start,
                        Rates(steps, slope=0.0),
                        Deadline(),
                        signs,
                        torch.zeros(start.shape),
                    )
                    for steps in (0, 20)
                )
                assert torch.equal(before.slopes[signs == 0], after.slopes[signs == 0])
                gained += float((after.bounds - before.bounds).sum())
    assert gained > 1
