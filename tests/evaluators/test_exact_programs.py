"""Methods that decide exact systems agree with enumeration, and cover float32 runs."""

import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from scipy.optimize import linprog

from evaluators.deterministic.extended_simplex import ExtendedSimplex
from evaluators.deterministic.smt import SMT
from evaluators.evaluator import Evaluator
from evaluators.exact_programs.decide import Emptiness
from evaluators.exact_programs.simplex import Simplex
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.effort import first_alone
from tests.fixtures.exact import fractions, least_margin
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers


def ready(method: Evaluator) -> Evaluator:
    if isinstance(method, SMT):
        pytest.importorskip("z3")
    return method


@pytest.mark.parametrize("ask_all", first_alone([True, False]))
@pytest.mark.parametrize("kind", [SMT, ExtendedSimplex], ids=lambda kind: kind.name())
def test_it_decides_tiny_networks_as_enumeration_does(
    kind: type[SMT | ExtendedSimplex], ask_all: bool
) -> None:
    method, answers = kind(ask_all), Counter[Status]()
    for seed in range(50):
        network = FAMILIES["relu 2-3-2"](seed)
        radius = Fraction(1 + seed % 4, 10)
        region = Ball(Norm.LINF, radius, -9.0, 9.0)
        problem = replace(ask(network, centers(network, seed, 2), region), seconds=5.0)
        for row, verdict in enumerate(ready(method).solve(problem)):
            x = fractions(problem.x[row])
            box = [v - radius for v in x], [v + radius for v in x]
            truth = least_margin(network, *box, int(problem.labels[row]))
            if verdict.status is Status.CERTIFIED:
                assert verdict.margin is not None
                assert 0 < Fraction(verdict.margin) <= truth
            else:
                assert truth < Fraction(1, 10**4), verdict
                assert verdict.status is Status.FALSIFIED or abs(truth) < Fraction(1, 500)
            answers[verdict.status] += 1
    assert answers[Status.CERTIFIED] > 12
    assert answers[Status.FALSIFIED] > 12


@pytest.mark.parametrize("method", [SMT(), ExtendedSimplex()], ids=lambda m: m.name())
def test_a_margin_that_float32_runs_lose_is_proved_of_real_arithmetic_alone(
    method: Evaluator,
) -> None:
    """Logits relu(x - 1/2) + 2^24 + 1/4 and 2^24: the quarter is lost where they are summed."""
    graph = Graph((1,))
    one = torch.ones(1, 1, dtype=torch.float64)
    graph.dense(1, one, torch.tensor([-0.5], dtype=torch.float64))
    graph.relu()
    weight = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.tensor([2.0**24, 2.0**24], dtype=torch.float64))
    graph.dense(2, torch.eye(2, dtype=torch.float64), torch.tensor([0.25, 0.0]).double())
    x, label = torch.tensor([[0.5]]), torch.tensor([0])
    problem = Problem(graph.network(), x, label, Ball(Norm.LINF, Fraction(1, 8)))
    statuses = [
        ready(method).solve(replace(problem, deployed=deployed))[0].status
        for deployed in (False, True)
    ]
    assert statuses[0] is Status.CERTIFIED
    assert statuses[1] is not Status.CERTIFIED


@pytest.mark.parametrize("kind", [SMT, ExtendedSimplex], ids=lambda kind: kind.name())
def test_a_margin_that_is_proved_already_is_not_asked_about(
    kind: type[SMT | ExtendedSimplex], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[bool]()

    def decide(*_: object) -> Emptiness:
        asked.append(True)
        return Emptiness.EMPTY

    method = kind()
    ready(method)
    for name in ("by_z3", "by_simplex"):
        monkeypatch.setattr(sys.modules[kind.__module__], name, decide, raising=False)
    network = FAMILIES["relu 2-3-2"](1)
    near = Ball(Norm.LINF, Fraction(1, 10**4), -9.0, 9.0)
    problem = ask(network, centers(network, 1, 2), near).select([1])
    (verdict,) = method.solve(problem)
    assert (verdict.status, asked) == (Status.CERTIFIED, [])
    kind(ask_all=True).solve(problem)
    assert asked == [True]


def test_simplex_tells_feasible_rows_as_a_solver_does() -> None:
    generator = torch.Generator().manual_seed(0)
    answers = Counter[bool]()
    for _ in range(100):
        weight = torch.randint(-3, 4, (4, 3), generator=generator)
        upper = torch.randint(-4, 3, (4,), generator=generator)
        found = linprog([0.0] * 3, weight.numpy(), upper.numpy(), bounds=[(-1, 1)] * 3)
        rows = [{c: Fraction(v) for c, v in enumerate(row) if v} for row in weight.tolist()]
        box = [(Fraction(-1), Fraction(1))] * 3
        bounds = [*box, *((None, Fraction(u)) for u in upper.tolist())]
        simplex = Simplex(bounds, rows, Deadline(60.0))
        feasible = simplex.feasible()
        assert feasible == (found.status == 0)
        for row, most in zip(rows, upper.tolist(), strict=True):
            value = sum((c * simplex.values[at] for at, c in row.items()), Fraction(0))
            assert not feasible or value <= most
        answers[feasible] += 1
    assert min(answers[True], answers[False]) > 8
