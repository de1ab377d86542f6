"""Branch and bound against the enumeration of linear regions: never wrong, and never undecided.

A few dozen networks are tried here, thousands by

    CERTBOARD_NETWORKS=5000 pytest -n0 tests/evaluators/test_branch_and_bound.py
"""

import os
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.branching.attack import falsify
from evaluators.branching.cheap import Asked
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.deterministic.ibp import IBP
from evaluators.falsification.pgd import PGD
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box
from evaluators.question.verdict import Status, Verdict
from tests.evaluators.conftest import Ticking
from tests.fixtures.certificates import least_margin
from tests.fixtures.checked import recheck
from tests.fixtures.effort import fewer, first_alone, first_few
from tests.fixtures.exact import Vector
from tests.fixtures.networks import Graph
from tests.fixtures.searching import ByNeurons
from tests.fixtures.tiny import FAMILIES, ask, centers, least_margins, points_of
from tests.fixtures.unrolled import PIECEWISE, about, tied

NETWORKS = int(os.environ.get("CERTBOARD_NETWORKS", fewer(40, 24)))
CLEAR = Fraction(1, 10**4)
"""A margin this far from zero must be decided."""

WAYS = ("inputs", "units", "evidence")


def polygon(problem: Problem) -> list[Vector]:
    """The exact region of two inputs: a box, or a ball of linf."""
    if isinstance(problem.region, Box):
        (a, b), (c, d) = (
            [Fraction(v) for v in end.flatten().tolist()]
            for end in (problem.region.lower, problem.region.upper)
        )
    else:
        low, high = Fraction(problem.region.low), Fraction(problem.region.high)
        x, y = (Fraction(v) for v in problem.x.flatten().tolist())
        r = problem.region.radius
        a, b, c, d = max(x - r, low), max(y - r, low), min(x + r, high), min(y + r, high)
    return [[a, b], [c, b], [c, d], [a, d]]


def truth(problem: Problem) -> Fraction:
    assert isinstance(problem.network, Network)
    network = without_max_pools(problem.network)
    return least_margin(network, polygon(problem), int(problem.labels[0]))


def answer(problem: Problem, way: str) -> Verdict:
    """The verdict by splitting inputs or units, without the attack at the start."""
    method = ByNeurons if way == "units" else BranchAndBound
    (verdict,) = method(restarts=0)(replace(problem, evidence=way == "evidence", seconds=60.0))
    return verdict


def check(problem: Problem, way: str, least: Fraction) -> Status:
    """That the answer is right, and one at all unless it is too close; with its evidence."""
    verdict = answer(problem, way)
    assert not verdict.note.startswith(("failed", "refused")), verdict.note
    if verdict.status is Status.CERTIFIED:
        assert least > 0
        assert verdict.margin is not None
        assert Fraction(verdict.margin) <= least
        if way == "evidence":
            assert isinstance(problem.network, Network)
            assert verdict.certificate is not None
            found = recheck(without_max_pools(problem.network), verdict.certificate, exact=True)
            assert found.accepted, found.reason
    elif verdict.status is Status.FALSIFIED:
        assert least <= 0 or verdict.stage == "prediction"
    else:
        assert abs(least) < CLEAR, verdict
    return verdict.status


def widest(network: Network, x: Tensor, label: int) -> Fraction:
    """About the largest radius that holds."""
    proved, broken = Fraction(0), Fraction(2)
    for _ in range(6):
        radius = (proved + broken) / 2
        if truth(about(network, Ball(Norm.LINF, radius, -1.0, 2.0), x, label)) > 0:
            proved = radius
        else:
            broken = radius
    return (proved + broken) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", PIECEWISE)
def test_every_question_is_decided_rightly(name: str) -> None:
    seen: Counter[Status] = Counter()
    for seed in range(-(-NETWORKS // len(PIECEWISE))):
        network = PIECEWISE[name](seed)
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(2, generator=generator).round(decimals=2)
        label = int(network(x[None].double())[0].argmax())
        radius = widest(network, x, label)
        for share in (Fraction(4, 5), Fraction(21, 20)):
            region = Ball(Norm.LINF, radius * share, -1.0, 2.0)
            problem = about(network, region, x, label)
            least = truth(problem)
            way = WAYS[(seed + int(share > 1)) % 3] if share > 1 else "evidence"
            for one in {way, WAYS[seed % 2]}:
                seen[check(problem, one, least)] += 1
    assert seen[Status.CERTIFIED]
    assert seen[Status.FALSIFIED]


@pytest.mark.parametrize("name", ["relu 2-4-4-3", "leaky 2-4-3-3", "skipped", "windowed"])
def test_boxes_are_decided_rightly(name: str) -> None:
    """Of any proportions, one input often without any width."""
    for seed in range(-(-NETWORKS // 20)):
        network = PIECEWISE[name](seed)
        generator = torch.Generator().manual_seed(seed)
        middle = torch.rand(2, generator=generator).double()
        reach = torch.tensor([[0.0, 0.5], [0.125, 0.03125]])[seed % 2].double()
        box = Box((middle - reach)[None], (middle + reach)[None])
        label = int(network(middle[None])[0].argmax())
        problem = about(network, box, label=label)
        least = truth(problem)
        for way in WAYS:
            check(problem, way, least)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("slope", first_alone([1e-6, 1.0, 1e6]))
def test_a_tie_on_a_kink_is_never_certified(way: str, slope: float) -> None:
    region = Ball(Norm.LINF, Fraction(1, 4))
    problem = about(tied(slope), region, torch.tensor([0.5, 0.3]))
    assert truth(problem) == 0
    method = ByNeurons if way == "units" else BranchAndBound
    (verdict,) = method()(replace(problem, evidence=way == "evidence", seconds=1.0))
    assert verdict.status is not Status.CERTIFIED
    assert verdict.certificate is None


def test_exact_ties_of_random_networks_are_never_certified() -> None:
    """The label's bias is lowered by the exact least margin, where float64 can hold it."""
    found = 0
    for seed in range(200):
        graph = Graph((2,), seed)
        for outputs in (3, 2):
            (inputs,) = graph.nodes[-1].shape
            weight = (2 * graph.random(outputs, inputs)).round()
            bias = (4 * graph.random(outputs)).round()
            graph.dense(outputs, weight, bias)
            if outputs == 3:
                graph.relu()
        network = graph.network()
        problem = about(network, Ball(Norm.LINF, Fraction(1, 4)), torch.tensor([0.5, 0.25]))
        least = truth(problem)
        if Fraction(float(least)) != least or float(network(problem.x.double())[0, 0]) <= 0:
            continue
        last = network.nodes[-1].operation
        bias = vars(last)["bias"].clone()
        bias[0] -= float(least)
        vars(last)["bias"] = bias
        tie = about(Network(network.nodes), problem.region, problem.x[0])
        assert truth(tie) == 0
        for way in WAYS:
            method = ByNeurons if way == "units" else BranchAndBound
            (verdict,) = method(restarts=0)(replace(tie, evidence=way == "evidence", seconds=0.3))
            assert verdict.status is not Status.CERTIFIED
        found += 1
        if found >= max(4, NETWORKS // 10):
            break
    assert found >= 4


@pytest.mark.parametrize("norm", first_few([Norm.L2, Norm.L1, Norm.LINF], 2))
def test_balls_of_every_norm_are_never_answered_wrongly(norm: Norm) -> None:
    """Fine grids instead of an enumeration, for balls of l2 are round."""
    for seed in range(3):
        for name in ("relu 2-4-4-3", "residual"):
            network = FAMILIES[name](seed)
            region = Ball(norm, Fraction(1, 4))
            problem = replace(ask(network, centers(network, seed, 3), region), seconds=0.5)
            for row, verdict in enumerate(BranchAndBound()(problem)):
                points = points_of(region, problem.x[row], 31)
                least = float(least_margins(network, points, int(problem.labels[row])).min())
                if verdict.status is Status.CERTIFIED:
                    assert least > 0
                if verdict.margin is not None:
                    assert verdict.margin <= least + 1e-12


@pytest.mark.slow
def test_a_convolution_with_pooling_is_decided_by_its_units() -> None:
    seen: Counter[Status] = Counter()
    for seed in range(3):
        graph = Graph((1, 4, 4), seed)
        graph.convolution(2, kernel=3, padding=1)
        graph.relu()
        graph.pool()
        graph.flatten()
        graph.dense(3, 2 * graph.random(3, 8))
        network = graph.network()
        x = torch.rand(1, 1, 4, 4, generator=graph.generator)
        for radius in (Fraction(1, 100), Fraction(1, 3)):
            problem = replace(ask(network, x, Ball(Norm.LINF, radius)), evidence=True)
            (verdict,) = BranchAndBound()(problem)
            seen[verdict.status] += 1
            if verdict.certificate is not None:
                found = recheck(without_max_pools(network), verdict.certificate, exact=None)
                assert found.accepted, found.reason
    assert seen[Status.CERTIFIED]
    assert seen[Status.CERTIFIED] + seen[Status.FALSIFIED] == 6


def wide_network() -> Problem:
    """Far more unstable neurons than can be split, and a region in which nothing is proved."""
    graph = Graph((20,), 0)
    for _ in range(3):
        graph.dense(150, 3 * graph.random(150, graph.nodes[-1].shape[0]))
        graph.relu()
    graph.dense(2, graph.random(2, 150), torch.tensor([200.0, 0.0], dtype=torch.float64))
    x = torch.full((1, 20), 0.5)
    return ask(graph.network(), x, Ball(Norm.LINF, Fraction(1, 4)))


def test_a_time_budget_is_kept_and_what_was_proved_is_told(ticking: Ticking) -> None:
    problem = replace(wide_network(), seconds=2.0)
    ticking(0.02)
    started = time.perf_counter()
    (verdict,) = BranchAndBound()(problem)
    spent = time.perf_counter() - started
    assert verdict.status is Status.UNKNOWN
    assert "timeout" in verdict.note
    assert verdict.margin is not None
    assert -1e9 < verdict.margin < 0
    assert spent < 3.0


def test_half_of_the_time_is_left_to_units_where_inputs_do_not_decide(ticking: Ticking) -> None:
    """A tie cannot be decided by halving: the search gives up, and says so."""
    problem = about(tied(1.0), Ball(Norm.LINF, Fraction(1, 4)), torch.tensor([0.5, 0.3]))
    ticking(0.001)
    started = time.perf_counter()
    (verdict,) = BranchAndBound(restarts=0)(replace(problem, seconds=1.0))
    assert verdict.status is not Status.CERTIFIED
    assert time.perf_counter() - started < 2.0


def test_a_falsifying_point_is_checked() -> None:
    network = PIECEWISE["relu 2-3-2"](0)
    problem = about(network, Ball(Norm.LINF, Fraction(1, 1000)), torch.tensor([0.5, 0.5]))
    label = int(network(problem.x.double())[0].argmax())
    problem = replace(problem, labels=torch.tensor([label]))
    far = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert falsify(problem, [far]) == [None]
    (witness,) = falsify(replace(problem, labels=torch.tensor([1 - label])), [far])
    assert witness is not None
    assert problem.region.contains(problem.x[0], witness)


def test_what_an_attack_only_believes_is_no_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    network = PIECEWISE["relu 2-3-2"](0)
    x = torch.tensor([0.5, 0.5])
    label = int(network(x[None].double())[0].argmax())
    problem = about(network, Ball(Norm.LINF, Fraction(1, 1000)), x, label)
    monkeypatch.setattr(PGD, "descend", lambda _self, asked, _start: list(asked.x))
    assert falsify(problem, [x[None]]) == [None]


def test_a_witness_that_only_float32_sees_does_not_end_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = PIECEWISE["relu 2-3-2"](0)
    x = torch.tensor([0.5, 0.5])
    label = int(network(x[None].double())[0].argmax())
    problem = about(network, Ball(Norm.LINF, Fraction(1, 1000)), x, label)
    false = [Verdict(Status.FALSIFIED, None, witness=x)]
    monkeypatch.setattr(PGD, "solve", lambda _self, _problem: false)
    (verdict,) = BranchAndBound()(problem)
    assert verdict.status is Status.CERTIFIED


def test_examples_asked_together_are_attacked_at_once_and_answered_as_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, attacked, attack = FAMILIES["relu 2-4-4-3"](0), list[int](), PGD.attack
    x = centers(network, 0, 8)
    labels = network(x.double()).argmax(1)
    problem = Problem(network, x, labels, Ball(Norm.LINF, Fraction(1, 4), -9.0, 9.0))

    def watch(self: PGD, asked: Problem, runs: range) -> list[Verdict]:
        attacked.append(len(asked))
        return attack(self, asked, runs)

    alone = [BranchAndBound()(problem.select([row]))[0] for row in range(len(problem))]
    open_ = [verdict.status for verdict in IBP()(problem)].count(Status.UNKNOWN)
    monkeypatch.setattr(PGD, "attack", watch)
    together = BranchAndBound()(problem)
    assert attacked[0] == open_
    assert len(attacked) == 2
    assert len({verdict.status for verdict in alone}) > 1
    for one, other in zip(alone, together, strict=True):
        assert (one.status, one.prediction, one.note) == (
            other.status,
            other.prediction,
            other.note,
        )
        assert (one.margin is None) == (other.margin is None)
        if one.margin is not None and other.margin is not None:
            assert abs(one.margin - other.margin) < 1e-9


def test_the_share_of_the_attack_counts_as_each_examples_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it takes is taken off the time that is left for the search."""
    left, now = list[float](), [0.0]

    def slow(_self: PGD, asked: Problem, _runs: range) -> list[Verdict]:
        now[0] += 0.1
        return [Verdict(Status.UNKNOWN, None)] * len(asked)

    def look(_self: BranchAndBound, _problem: Problem, asked: Asked) -> Verdict:
        left.append(asked.deadline.left)
        return Verdict(Status.UNKNOWN, None)

    for clock in ("thread_time", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: now[0])
    monkeypatch.setattr(PGD, "attack", slow)
    monkeypatch.setattr(BranchAndBound, "_opened", look)
    network = FAMILIES["relu 2-3-2"](0)
    x = centers(network, 0, 4)
    labels = network(x.double()).argmax(1)
    region = Ball(Norm.LINF, Fraction(1, 5), -9.0, 9.0)
    # Of evidence, cheap bounds have none.
    problem = Problem(network, x, labels, region, seconds=1.0, evidence=True)
    found = BranchAndBound()(problem)
    assert left == pytest.approx([0.95] * 4)
    assert [verdict.seconds for verdict in found] == pytest.approx([0.05] * 4)
