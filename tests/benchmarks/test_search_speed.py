"""Optimised bounds and branch and bound on published networks, beside a peer's figures.

The peer's seconds are facts from elsewhere (two idle cores, see PERFORMANCE.md), not taken in the
same run: what counts is that the ratio does not drift. Needs the shared models.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from evaluators.branching.search import Turn, bound
from evaluators.branching.state import Search, State
from evaluators.branching.tuning import Tuning
from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.deterministic.crown import CROWN
from evaluators.evaluator import Evaluator
from evaluators.falsification.pgd import PGD
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from leaderboard.datasets.catalogue import load_split
from tests.benchmarks.test_bounds_speed import seconds
from tests.fixtures.checked import recheck
from tests.fixtures.published import question

DECIDED = {1: 4.3, 2: 14.2, 3: 2.5, 4: 3.2, 9: 2.7, 11: 12.4, 15: 8.6, 19: 7.8}
"""Positions in the list of examples, and the seconds that tuned α,β-CROWN takes for each."""

PEER: dict[tuple[str, type[Evaluator]], float] = {
    ("mnist_cnn_a_adv", CROWN): 0.41,
    ("cifar_cnn_a_adv", CROWN): 0.54,
    ("mnist_6_100", CROWN): 0.083,
    ("mnist_cnn_a_adv", AlphaCROWN): 17.0,
    ("cifar_cnn_a_adv", AlphaCROWN): 17.5,
    ("mnist_6_100", AlphaCROWN): 4.5,
}
"""Seconds of auto_LiRPA for ten examples; with slopes: 20 iterations."""

ROUNDS = 3


@pytest.mark.parametrize(("model", "method"), list(PEER), ids=[f"{m} {e.name()}" for m, e in PEER])
@pytest.mark.usefixtures("shared_data")
def test_bounds_of_ten_examples(
    benchmark: BenchmarkFixture, shared: Path, model: str, method: type[Evaluator]
) -> None:
    problem = question(shared, model, list(range(10)))
    evaluator = method()
    best = min(seconds(lambda: evaluator(problem)) for _ in range(ROUNDS))
    benchmark(lambda: evaluator(problem))
    benchmark.extra_info["peer's seconds"] = PEER[model, method]
    benchmark.extra_info["ratio"] = round(best / PEER[model, method], 3)


@pytest.mark.parametrize("position", list(DECIDED))
@pytest.mark.usefixtures("shared_data")
def test_branch_and_bound_decides_what_the_peer_decides(
    benchmark: BenchmarkFixture, shared: Path, position: int
) -> None:
    problem = question(shared, "mnist_cnn_a_adv", [position])
    evaluator = BranchAndBound()
    best = seconds(lambda: evaluator(problem))
    verdicts = benchmark(lambda: evaluator(problem))
    assert verdicts[0].status is Status.CERTIFIED
    benchmark.extra_info["peer's seconds"] = DECIDED[position]
    benchmark.extra_info["ratio"] = round(best / DECIDED[position], 3)


@pytest.mark.usefixtures("shared_data")
def test_recheck_of_a_certificate(benchmark: BenchmarkFixture, shared: Path) -> None:
    problem = replace(question(shared, "mnist_cnn_a_adv", [2]), evidence=True)
    certificate = BranchAndBound()(problem)[0].certificate
    network = problem.network
    assert certificate is not None
    assert isinstance(network, Network)
    found = benchmark(lambda: recheck(network, certificate))
    assert found.accepted
    benchmark.extra_info["leaves"] = found.leaves


class Unclipped(BranchAndBound):
    """Branch and bound without clipping."""

    tuning: ClassVar[Tuning] = Tuning(clip_units=0)


@pytest.mark.parametrize("position", [2, 10, 11, 17, 18])
@pytest.mark.usefixtures("shared_data")
def test_clipping_pays(benchmark: BenchmarkFixture, shared: Path, position: int) -> None:
    """Processor time with clipping, and without it in the same run."""
    problem = replace(question(shared, "mnist_cnn_a_adv", [position]), seconds=200.0)

    def spent(method: type[BranchAndBound] = BranchAndBound) -> float:
        started = time.process_time()
        (verdict,) = method()(problem)
        assert verdict.status is Status.CERTIFIED
        return time.process_time() - started

    clipped: float = benchmark.pedantic(spent)  # type: ignore[no-untyped-call]
    plain = spent(Unclipped)
    benchmark.extra_info["without"] = round(plain, 1)
    benchmark.extra_info["ratio"] = round(clipped / plain, 2)


def processor_seconds(work: Callable[[], object]) -> float:
    """The least of a few runs, in processor time: others may use the machine."""
    times = []
    for _ in range(ROUNDS + 2):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.usefixtures("shared_data")
def test_attacking_examples_at_once_pays(benchmark: BenchmarkFixture, shared: Path) -> None:
    """The attack of branch and bound on six robust examples, in one batch or one by one."""
    problem = question(shared, "mnist_cnn_a_adv", [1, 3, 4, 9, 15, 19])
    attack = PGD(restarts=5)
    alone = processor_seconds(
        lambda: [attack.solve(problem.select([row])) for row in range(len(problem))]
    )
    benchmark.pedantic(lambda: attack.solve(problem), rounds=ROUNDS)  # type: ignore[no-untyped-call]
    together = processor_seconds(lambda: attack.solve(problem))
    benchmark.extra_info["processor seconds"] = round(together, 2)
    benchmark.extra_info["one by one"] = round(alone, 2)


def embedded(examples: list[int]) -> Problem:
    """About a network and images that are part of the project."""
    split = load_split("digits")
    x, labels = (
        torch.from_numpy(split.images(examples)),
        torch.from_numpy(split.labels_of(examples)),
    )
    network = import_onnx(
        Path(__file__).parents[2] / "submissions" / "digits-standard" / "model.onnx"
    )
    return Problem(network, x, labels, Ball(Norm.LINF, Fraction("0.1")))


@pytest.mark.parametrize("domains", [1, 2, 4, 8])
@pytest.mark.parametrize("model", ["digits-standard", "mnist_6_100"])
def test_domains_of_several_examples_in_one_batch(
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
    model: str,
    domains: int,
) -> None:
    """The ascent over so many domains of each of eight: all together, or one by one."""
    # Larger matrices are not joined: here they are, to see why.
    tuning, turns = Tuning(joined_coefficients=2**30), list[Turn]()
    if model == "digits-standard":
        problem = embedded(list(range(8)))
    else:
        request.getfixturevalue("shared_data")
        problem = question(request.getfixturevalue("shared"), model, list(range(8)))
    with torch.no_grad():
        for row in range(len(problem)):
            near = UnrolledProblem.of(problem.select([row]), 15, Deadline())
            state = State.of(Search(near, Deadline(), tuning))
            state.search.deadline.halt()
            rows = torch.arange(domains) % len(state.roots)
            turns.append(Turn(state, state.open.select(rows)))
        rates = Rates(6, slope=0.2)

        def together() -> None:
            bound(turns, rates)

        def one_by_one() -> None:
            for turn in turns:
                bound([turn], rates)

        benchmark.pedantic(together, rounds=ROUNDS)  # type: ignore[no-untyped-call]
        joined, alone = processor_seconds(together), processor_seconds(one_by_one)
    benchmark.extra_info["processor ms"] = round(1e3 * joined, 1)
    benchmark.extra_info["one by one"] = round(1e3 * alone, 1)
