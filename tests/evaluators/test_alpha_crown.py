"""Optimised slopes: no worse than CROWN's, never a false proof, and proofs that can be checked."""

import time
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from evaluators.branching.state import Search
from evaluators.deterministic import alpha_crown
from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.deterministic.crown import CROWN
from evaluators.falsification.pgd import PGD
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.propagation.linear_bounds import linear_relaxation
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box
from evaluators.question.verdict import Status
from evaluators.unrolled.domains import Domains
from tests.evaluators.conftest import Ticking
from tests.evaluators.test_branch_and_bound import truth, wide_network
from tests.fixtures.checked import recheck
from tests.fixtures.effort import first_alone, only
from tests.fixtures.tiny import FAMILIES, ask, centers, least_margins, points_of
from tests.fixtures.unrolled import PIECEWISE, TELLING, about, mixed

NAMES = ("relu 2-4-4-3", "leaky 2-4-3-3", "residual", "sigmoid 2-3-3-2", "tanh 2-3-3-2")


def questions(name: str, norm: Norm, radius: Fraction) -> list[Problem]:
    return [
        replace(ask(network, centers(network, seed, 3), Ball(norm, radius)), seconds=20.0)
        for seed, network in ((seed, FAMILIES[name](seed)) for seed in range(2))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_margins_are_better_than_crowns_and_none_is_worse(name: str) -> None:
    """Of other radii and families `test_order_of_methods.py` asks."""
    better = 0
    for norm in Norm:
        for problem in questions(name, norm, Fraction(1, 3)):
            for before, after in zip(CROWN()(problem), AlphaCROWN()(problem), strict=True):
                if before.status is Status.FALSIFIED:
                    continue
                assert before.margin is not None
                assert after.margin is not None
                # The ascent ends as soon as all margins are positive.
                least = min(before.margin, 1e-9)
                assert after.margin >= least - 1e-6 * max(1.0, abs(before.margin))
                assert after.status is Status.CERTIFIED or before.status is Status.UNKNOWN
                better += after.margin > before.margin + 1e-3
    assert better


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "tanh 2-3-3-2", "pooled", "repeated"])
def test_branch_and_bound_certifies_the_same_and_no_attack_breaks_it(name: str) -> None:
    for norm in Norm:
        (problem, _) = questions(name, norm, Fraction(1, 10))
        found = AlphaCROWN()(problem)
        proved = [row for row, one in enumerate(found) if one.status is Status.CERTIFIED]
        part = problem.select(proved)
        for complete, attacked in zip(BranchAndBound()(part), PGD(restarts=8)(part), strict=True):
            assert complete.status is Status.CERTIFIED
            assert attacked.status is not Status.FALSIFIED


@pytest.mark.parametrize("name", only(PIECEWISE, TELLING))
def test_a_proof_is_true_and_can_be_checked(name: str) -> None:
    for seed in range(3):
        network = PIECEWISE[name](seed)
        x = torch.rand(2, generator=torch.Generator().manual_seed(seed))
        label = int(network(x[None].double())[0].argmax())
        for radius in (Fraction(1, 40), Fraction(1, 4)):
            region = Ball(Norm.LINF, radius, -1.0, 2.0)
            problem = replace(about(network, region, x, label), evidence=True)
            (verdict,) = AlphaCROWN()(problem)
            assert not verdict.note.startswith(("failed", "refused")), verdict.note
            assert verdict.margin is not None
            assert Fraction(verdict.margin) <= truth(problem)
            if verdict.status is Status.CERTIFIED:
                assert verdict.certificate is not None
                found = recheck(without_max_pools(network), verdict.certificate, exact=True)
                assert found.accepted, found.reason
            else:
                assert verdict.certificate is None


@pytest.mark.slow
def test_sigmoids_of_the_input_and_relus_hold_on_a_grid() -> None:
    for seed in range(6):
        network = mixed(seed)
        problem = ask(network, torch.rand(2, 2), Ball(Norm.LINF, Fraction(1, 2), -2.0, 2.0))
        for row, verdict in enumerate(AlphaCROWN()(problem)):
            points = points_of(problem.region, problem.x[row], 21)  # type: ignore[arg-type]
            least = float(least_margins(network, points, int(problem.labels[row])).min())
            assert verdict.margin is not None
            assert verdict.margin <= least + 1e-12


@pytest.mark.parametrize("name", first_alone(["skipped", "read twice"]))
def test_functions_of_the_input_and_second_functions_are_not_forgotten(name: str) -> None:
    """Left out, their unstable entries would count as zeros."""
    low, high = (torch.full((1, 2), end, dtype=torch.float64) for end in (-2.0, 2.0))
    for seed in range(5):
        for label in range(2):
            problem = about(PIECEWISE[name](seed), Box(low, high), label=label)
            (verdict,) = AlphaCROWN().solve(problem)
            assert verdict.margin is not None
            assert Fraction(verdict.margin) <= truth(problem)


def test_a_network_of_two_classes_has_one_margin() -> None:
    network = PIECEWISE["relu 2-3-2"](0)
    seen = []
    roots = Search.roots

    def counted(self: Search) -> Domains:
        seen.append(len(self.specification))
        return roots(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Search, "roots", counted)
        AlphaCROWN()(ask(network, torch.rand(1, 2), Ball(Norm.LINF, Fraction(1, 9))))
    assert seen == [1]


def test_a_time_budget_is_kept(ticking: Ticking) -> None:
    problem = replace(wide_network(), seconds=0.5)
    ticking(0.01)
    started = time.perf_counter()
    (verdict,) = AlphaCROWN(steps=10**6)(problem)
    assert time.perf_counter() - started < 1.5
    assert verdict.status is Status.UNKNOWN
    assert verdict.note == "timeout"


def test_answers_do_not_depend_on_other_examples() -> None:
    network = FAMILIES["residual"](0)
    assert isinstance(network, Network)
    problem = ask(network, centers(network, 0, 4), Ball(Norm.LINF, Fraction(1, 10)))
    together = AlphaCROWN()(problem)
    for row, verdict in enumerate(together):
        (alone,) = AlphaCROWN()(problem.select([row]))
        assert (alone.status, alone.margin) == (verdict.status, verdict.margin)


def test_cheaper_methods_are_asked_about_many_examples_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = list[int]()

    def counted(problem: Problem) -> Relaxed:
        asked.append(len(problem))
        return linear_relaxation(problem)

    monkeypatch.setattr(alpha_crown, "linear_relaxation", counted)
    network = FAMILIES["residual"](0)
    problem = ask(network, centers(network, 0, 3), Ball(Norm.LINF, Fraction(1, 10)))
    assert len(AlphaCROWN()(problem)) == len(problem)
    assert sum(asked) == max(asked) > 1
