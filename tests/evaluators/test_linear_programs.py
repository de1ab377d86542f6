"""Linear programs: the relaxation's own value, complete trees, a solver that need not be right."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.lp import LP
from evaluators.deterministic.milp import MILP
from evaluators.deterministic.multi_neuron import MultiNeuron
from evaluators.deterministic.refine_zono import RefineZono
from evaluators.deterministic.sdp import SDP
from evaluators.evaluator import Evaluator
from evaluators.linear_programs.triangle import Float64Array, Solution, TriangleProgram
from evaluators.network.maxima import without_max_pools
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box
from evaluators.question.verdict import Status
from evaluators.unrolled.proof import prove
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.evaluators.test_branch_and_bound import truth
from tests.fixtures.cases import cases
from tests.fixtures.checked import recheck
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers
from tests.fixtures.unrolled import PIECEWISE, about

NAMES = ("relu 2-4-4-3", "leaky 2-4-3-3", "residual", "pooled", "convolutional")


def opened(name: str, seed: int, radius: Fraction = Fraction(1, 2)) -> UnrolledProblem:
    network = FAMILIES[name](seed)
    region = Ball(Norm.LINF, radius, -1.0, 2.0)
    problem = ask(network, centers(network, seed, 3), region).select([2])
    problem = replace(problem, deployed=False)
    return UnrolledProblem.of(problem, 0, Deadline())


@pytest.mark.parametrize("method", [LP, MILP, MultiNeuron, RefineZono, SDP])
def test_bounds_beyond_float32_are_no_program(method: type[Evaluator]) -> None:
    """Of a slope that is no number HiGHS ends the process."""
    graph = Graph((2,))
    for _ in range(3):
        weight = torch.tensor([[2.0, -1.0], [-(2.0**27), 2.0**28]], dtype=torch.float64)
        graph.dense(2, weight, torch.ones(2, dtype=torch.float64))
        graph.relu(1 - 2.0**-24)
    graph.dense(2)
    region = Ball(Norm.LINF, Fraction(1, 2), -9.0, 9.0)
    network, x = graph.network(), torch.ones(1, 2)
    label = network(x.double()).argmax(1)
    (verdict,) = method().solve(Problem(network, x, label, region, seconds=5.0))
    assert (verdict.status, verdict.note) == (Status.UNKNOWN, "bound not finite")


def by_scipy(around: UnrolledProblem, row: int) -> float:
    """The triangle relaxation's least value, from rows that are written out here once more."""
    lines, n = around.lines, around.unrolled.inputs
    units = len(lines.leak)
    left, right = list[Float64Array](), list[float]()
    low, high = lines.lower.numpy(), lines.upper.numpy()
    for layer in around.unrolled.layers:
        for index, (weight, bias) in enumerate(
            zip(layer.rows.weight.numpy(), layer.rows.bias.numpy(), strict=True)
        ):
            unit = layer.first - n + index
            z, a = np.zeros(n + units), np.zeros(n + units)
            z[: len(weight)], a[n + unit] = weight, 1.0
            leak, least, most = float(lines.leak[unit]), low[unit], high[unit]
            slope = (most - leak * least) / (most - least)
            # a >= z, a >= leak·z, a <= leak·l + slope·(z - l)
            left += [z - a, leak * z - a, a - slope * z]
            right += [-bias, -leak * bias, slope * bias + (leak - slope) * least]
    hull = [bound.flatten().numpy() for bound in around.unrolled.bounds[0]]
    bounds = [*zip(*hull, strict=True), *[(None, None)] * units]
    goal = around.goals.select(slice(row, row + 1))
    cost = np.zeros(n + units)
    cost[: goal.weight.shape[1]] = goal.weight[0].numpy()
    found = linprog(cost, np.array(left) if left else None, right or None, bounds=bounds)
    assert found.status == 0
    return float(found.fun) + float(goal.bias)


def test_what_is_proved_is_the_value_of_the_linear_program() -> None:
    with cases() as case:
        for name in NAMES:
            for seed in range(3):
                with case(f"{name} {seed}"):
                    around = opened(name, seed)
                    program = TriangleProgram(around.unrolled, around.lines)
                    for row, weight in enumerate(around.goals.weight.numpy()):
                        solution = program.minimize(weight)
                        assert solution is not None
                        slopes = program.multipliers(weight, solution.through).slopes
                        goal = around.goals.select(slice(row, row + 1))
                        unrolled, lines = around.unrolled, around.lines
                        x, region = around.x, around.region
                        proved = prove(unrolled, lines, goal, x, region, slopes[None])
                        value = by_scipy(around, row)
                        assert float(proved) == pytest.approx(value, abs=1e-6, rel=1e-6)


@pytest.mark.slow
def test_linear_programs_are_no_looser_than_crown() -> None:
    tighter = 0
    for name in NAMES:
        for seed in range(3):
            network = FAMILIES[name](seed)
            problem = ask(network, centers(network, seed, 3), Ball(Norm.LINF, Fraction(1, 4)))
            pairs = zip(CROWN()(problem), LP(all_bounds=False)(problem), LP()(problem), strict=True)
            for crown, last, every in pairs:
                if crown.margin is None:
                    continue
                assert last.margin is not None
                assert every.margin is not None
                assert last.margin >= crown.margin - 1e-4 * (1 + abs(crown.margin)), name
                assert every.margin >= last.margin - 1e-4 * (1 + abs(last.margin)), name
                tighter += every.margin > crown.margin + 1e-2
    assert tighter > 3


@pytest.mark.slow
def test_a_tree_decides_and_its_proof_can_be_checked() -> None:
    answers = dict.fromkeys(Status, 0)
    with cases() as case:
        for name, build in PIECEWISE.items():
            for seed in range(3):
                for radius in (Fraction(1, 20), Fraction(1, 4)):
                    with case(f"{name} {seed} {radius}"):
                        x = torch.rand(2, generator=torch.Generator().manual_seed(seed))
                        network = build(seed)
                        label = int(network(x[None].double())[0].argmax())
                        region = Ball(Norm.LINF, radius, -1.0, 2.0)
                        problem = about(network, region, x, label)
                        answers[decided(MILP(), replace(problem, evidence=True))] += 1
    assert answers[Status.CERTIFIED] > 10
    assert answers[Status.FALSIFIED] > 5


def decided(method: Evaluator, problem: Problem) -> Status:
    """The method's answer, which is right, and one at all unless it is too close."""
    (verdict,) = method(problem)
    least = truth(problem)
    assert not verdict.note.startswith(("failed", "refused")), verdict.note
    if verdict.status is Status.CERTIFIED:
        assert verdict.margin is not None
        assert Fraction(verdict.margin) <= least
        assert verdict.certificate is not None
        assert problem.network.classes
        network = without_max_pools(problem.network)  # type: ignore[arg-type]
        found = recheck(network, verdict.certificate, exact=True)
        assert found.accepted, found.reason
    elif verdict.status is Status.FALSIFIED:
        assert least <= 0 or verdict.stage == "prediction"
    else:
        assert abs(least) < Fraction(1, 10**4), (verdict, float(least))
    return verdict.status


@pytest.mark.slow
@pytest.mark.parametrize("method", [LP(), MILP()])
def test_a_solver_that_lies_proves_nothing_false(
    method: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Duals of any size and sign, values that promise a proof, and domains said to be empty."""
    random = np.random.default_rng(0)

    def lie(program: TriangleProgram, weight: Float64Array, seconds: float = 0.0) -> Solution:
        del weight, seconds
        through = random.normal(size=program.units) * 10.0 ** random.integers(-3, 4)
        point = random.normal(size=program.inputs + 2 * program.units)
        return Solution(1e9, through, None if random.random() < 0.2 else point)

    monkeypatch.setattr(TriangleProgram, "minimize", lie)
    low, high = (torch.full((1, 2), end, dtype=torch.float64) for end in (-0.5, 0.75))
    for build in PIECEWISE.values():
        for seed in range(3):
            for label in range(2):
                problem = replace(about(build(seed), Box(low, high), label=label), seconds=0.2)
                (verdict,) = method.solve(problem)
                if verdict.status is Status.CERTIFIED:
                    assert truth(problem) > 0
                if verdict.margin is not None:
                    assert Fraction(verdict.margin) <= truth(problem)
