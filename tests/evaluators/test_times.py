"""A row's seconds are what its example cost, and those of all rows what the evaluation took.

The clock counts operations of PyTorch, so that the same work takes the same time.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar

import pytest
import torch

from evaluators.branching.tuning import Tuning
from evaluators.cascade import Cascade, default_stages
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.deterministic.ibp import IBP
from evaluators.evaluator import PREDICTION, Evaluator
from evaluators.falsification.pgd import PGD
from evaluators.listing import catalogue
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.noises import distributions
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from tests.fixtures.effort import first_alone
from tests.fixtures.methods import LONG, quick_first
from tests.fixtures.operations import Operations, counted_operations
from tests.fixtures.tiny import chain

WRONG = 5
"""The example of `plain` that is classified wrongly."""
SMALL = (5, 6, 5, 3)

Evaluate = Callable[[Problem], list[Verdict]]


@pytest.fixture
def clock() -> Iterator[Operations]:
    with counted_operations() as operations:
        yield operations


def plain(*widths: int) -> Problem:
    """Some are easy, some hard, and one is classified wrongly."""
    inputs, *layers = widths or (14, 12, 12, 3)
    network = chain(inputs, *layers, function=LeakyReLU(), seed=3)
    x = torch.rand(8, inputs, generator=torch.Generator().manual_seed(0))
    labels = network(x.double()).argmax(1)
    labels[WRONG] = (labels[WRONG] + 1) % 3
    return Problem(network, x, labels, Ball(Norm.LINF, Fraction(1, 20)), seconds=1e6)


def smoothed(distribution: str, scale: Fraction) -> Problem:
    base = chain(4, 6, 3, function=LeakyReLU(), seed=0)
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    x = (255 * x).round() / 255
    labels = base(x.double()).argmax(1)
    network = SmoothedNetwork(base, distribution, scale)
    return Problem(network, x, labels, Ball(Norm.L2, Fraction(1, 20)), seconds=1e6)


def asked_of(evaluator: type[Evaluator]) -> tuple[Evaluate, Problem]:
    if evaluator.accepts is Network:
        # What takes long is asked about a smaller network: the sums are the same.
        return evaluator(), plain(*SMALL) if evaluator.name() in LONG else plain()
    if "splitting" in getattr(evaluator, "noises", ()):
        return evaluator(), smoothed("splitting", Fraction(20, 510))
    only = getattr(evaluator, "only", None)
    names = [only] if only else list(distributions())
    few: dict[str, Any] = {"n0": 20, "n": 200}
    made = evaluator(**few)
    for name in names:
        for norm in Norm:
            problem = smoothed(name, Fraction(1, 4))
            problem = replace(problem, region=Ball(norm, Fraction(1, 20)))
            if made.certificate.supports(distributions()[name], norm):  # type: ignore[attr-defined]
                return made, problem
    raise AssertionError(f"{evaluator.name()} supports nothing")


@pytest.mark.parametrize("name", quick_first(catalogue()))
def test_the_seconds_of_all_rows_sum_to_what_the_evaluation_took(
    name: str, clock: Operations
) -> None:
    evaluate, problem = asked_of(catalogue()[name])
    evaluate(problem.select([0]))  # what is computed once for a network
    began = clock.now
    verdicts = evaluate(problem)
    took = clock.now - began
    assert sum(verdict.seconds for verdict in verdicts) == pytest.approx(took, rel=0.05)
    assert min(verdict.seconds for verdict in verdicts) > 0


@pytest.mark.slow
def test_a_wrong_example_costs_its_prediction_alone_whatever_is_asked(clock: Operations) -> None:
    """It pays its share of the forward pass, and the check of itself as a witness."""
    costs = dict[str, float]()
    problem = plain(*SMALL)
    for evaluator in catalogue().values():
        if evaluator.accepts is Network:
            verdict = evaluator()(problem)[WRONG]
            assert (verdict.status, verdict.stage) == (Status.FALSIFIED, PREDICTION)
            costs[evaluator.name()] = verdict.seconds
    alone = sum(v.seconds for v in IBP()(problem.select([WRONG])))
    assert max(costs.values()) <= alone
    assert max(costs.values()) == pytest.approx(min(costs.values()), rel=0.1)


def test_a_cascade_charges_a_stage_to_those_that_it_is_asked_about(clock: Operations) -> None:
    problem = plain()
    first, whole = PGD()(problem), Cascade()(problem)
    names = [stage.name() for stage in default_stages()]
    until = Cascade(default_stages()[: names.index("pgd") + 1])(problem)
    began = clock.now
    cascade = Cascade((PGD(), IBP()))(problem)
    assert sum(v.seconds for v in cascade) == pytest.approx(clock.now - began, rel=0.05)
    decided = [row for row, verdict in enumerate(first) if verdict.status is Status.FALSIFIED]
    assert len(decided) > 1
    for row in decided:
        assert cascade[row].seconds == pytest.approx(first[row].seconds, rel=0.1)
        assert whole[row].seconds == pytest.approx(until[row].seconds, rel=0.1)


def test_an_example_that_an_attack_breaks_at_once_pays_no_restart(clock: Operations) -> None:
    one, three = PGD(restarts=1)(plain()), PGD(restarts=3)(plain())
    statuses = {verdict.status for verdict in one}
    assert statuses == {Status.FALSIFIED, Status.UNKNOWN}
    for before, now in zip(one, three, strict=True):
        if before.status is Status.FALSIFIED:
            assert now.seconds == pytest.approx(before.seconds, rel=0.1)
        elif now.status is Status.UNKNOWN:
            assert now.seconds > 2 * before.seconds


@pytest.mark.parametrize("joined", first_alone([64, 0]))
def test_branch_and_bound_charges_each_example_with_its_own_search(
    clock: Operations, joined: int
) -> None:
    """Nobody pays for a harder one beside it, whether they are bounded in common batches or not."""

    class Search(BranchAndBound):
        tuning: ClassVar[Tuning] = replace(Tuning(), joined_domains=joined)

    problem = plain()
    problem = problem.select([row for row in range(len(problem)) if row != WRONG])
    evaluate = Search(restarts=0)
    alone = [evaluate(problem.select([row]))[0].seconds for row in range(len(problem))]
    together = [verdict.seconds for verdict in evaluate(problem)]
    assert max(alone) > 3 * min(alone)
    for one, among in zip(alone, together, strict=True):
        assert among <= 1.5 * one
