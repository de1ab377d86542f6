"""What branch and bound asks before it searches: it must cost little, and prove what it says."""

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from evaluators.branching import cheap
from evaluators.branching.cheap import CheapBounds
from evaluators.branching.influence import influential
from evaluators.branching.search import start
from evaluators.branching.state import Search
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.ibp import IBP
from evaluators.falsification.pgd import PGD
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.linear_bounds import interval_relaxation, linear_relaxation
from evaluators.propagation.relaxation import Relaxation
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.effort import only
from tests.fixtures.tiny import FAMILIES, ask, centers
from tests.fixtures.unrolled import PIECEWISE, TELLING, WITH_SIGMOIDS

NETWORKS = {**PIECEWISE, **WITH_SIGMOIDS}
RADII = [Fraction(1, 64), Fraction(1, 8), Fraction(1, 2)]


def about(network: Network, radius: Fraction) -> Problem:
    return ask(network, centers(network, 0, 6), Ball(Norm.LINF, radius, -9.0, 9.0))


@pytest.mark.parametrize("name", only(NETWORKS, TELLING))
def test_what_cheap_bounds_decide_is_not_unrolled(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[int]()

    def unrolled(
        _cls: type[UnrolledProblem], /, problem: Problem, *_: object, **__: object
    ) -> None:
        opened.extend(problem.examples)
        raise AssertionError

    monkeypatch.setattr(UnrolledProblem, "of", classmethod(unrolled))
    network = NETWORKS[name](0)
    method = type("Searching", (BranchAndBound,), {"split_inputs_up_to": 0})(restarts=1)
    for radius in RADII:
        problem = about(network, radius)
        by: Sequence[Verdict] = [
            min(answers, key=lambda its: its.status is Status.UNKNOWN)
            for answers in zip(*(e(problem) for e in (IBP(), CROWN())), strict=True)
        ]
        decided = {row for row, its in enumerate(by) if its.status is not Status.UNKNOWN}
        opened.clear()
        found = method(problem)
        assert decided.isdisjoint(opened)
        for row in decided:
            assert found[row].status is by[row].status


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_bounds_from_crown_and_of_few_neurons_are_as_sound_as_all_others(name: str) -> None:
    """No margin at a point of the region is below what is proved of the unrolled network."""
    network = NETWORKS[name](1)
    generator = torch.Generator().manual_seed(2)
    for radius in RADII[1:]:
        problem = about(network, radius)
        for row, asked in enumerate(CheapBounds(problem, PGD(restarts=0))()):
            one = problem.select([row])
            with torch.no_grad():
                for steps in (0, 4):
                    near = UnrolledProblem.of(one, steps, Deadline(), known=asked.known)
                    (state,) = start([Search(near, Deadline())])
                    if not state.over:
                        chosen = influential(state)
                        few = UnrolledProblem.of(
                            one, 4, Deadline(), known=asked.known, chosen=chosen
                        )
                        (state,) = start([Search(few, Deadline())])
                    noise = torch.rand(200, *network.input_shape, generator=generator) * 2 - 1
                    points = one.x.double() + noise.double() * float(radius)
                    logits = network.to(torch.float64)(points.clamp(-9, 9))
                    label = int(one.labels[0])
                    others = [c for c in range(network.classes) if c != label]
                    least = (logits[:, [label]] - logits[:, others]).amin(0)
                    assert bool((state.lower_bounds() <= least).all())


def test_neurons_that_no_margin_uses_are_not_chosen() -> None:
    """Whatever the search thinks of them, one is enough."""
    network = FAMILIES["relu 2-4-4-3"](0)
    problem = about(network, Fraction(1, 2)).select([0])
    with torch.no_grad():
        near = UnrolledProblem.of(problem, 0, Deadline())
        (state,) = start([Search(near, Deadline())])
        assert len(state.open)
        near.goals.weight[:] = 0.0
        chosen = influential(replace(state, search=Search(near, Deadline())))
    assert sum(int(mask.sum()) for mask in chosen.values()) <= 1


def test_evidence_is_not_replaced_by_a_cheap_proof() -> None:
    network = FAMILIES["relu 2-3-2"](0)
    problem = replace(about(network, Fraction(1, 1024)), evidence=True)
    proved = [its for its in BranchAndBound()(problem) if its.status is Status.CERTIFIED]
    assert proved
    assert all(its.certificate is not None for its in proved)
    assert all(its.verdict is None for its in CheapBounds(problem, PGD(restarts=0))())


def test_a_method_that_fails_to_cover_a_network_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cheap, "linear_relaxation", pytest.fail)
    monkeypatch.setattr(CheapBounds, "_missing", True)
    problem = about(FAMILIES["relu 2-4-4-3"](0), Fraction(1, 2))
    assert all(not its.known for its in CheapBounds(problem, PGD(restarts=0))())


def test_known_bounds_are_each_examples_own() -> None:
    """And no worse than intervals."""
    network = FAMILIES["relu 2-4-4-3"](0)
    problem = about(network, Fraction(1, 2))
    for row, asked in enumerate(CheapBounds(problem, PGD(restarts=0))()):
        alone = problem.select([row])
        exact, wide = linear_relaxation(alone), interval_relaxation(alone)
        for place, bounds in asked.known.items():
            assert bool((bounds.lower - exact.bounds[place].lower).abs().amax() < 1e-9)
            assert bool((bounds.upper <= wide.bounds[place].upper + 1e-9).all())


def test_crown_begins_no_more_examples_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    network, bounded, now = FAMILIES["relu 2-4-4-3"](0), list[int](), [0.0]

    def slow(problem: Problem, relaxation: Relaxation) -> Relaxed:
        bounded.append(len(problem))
        now[0] += 100.0
        return linear_relaxation(problem, relaxation)

    for clock in ("thread_time", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: now[0])
    monkeypatch.setattr(cheap, "linear_relaxation", slow)
    problem = ask(network, centers(network, 0, 40), Ball(Norm.LINF, Fraction(1, 2), -9.0, 9.0))
    CheapBounds(replace(problem, seconds=1.0), PGD(restarts=0))()
    assert bounded == [cheap.BETWEEN_LOOKS]
