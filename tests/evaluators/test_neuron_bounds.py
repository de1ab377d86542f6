"""Searches of neurons' bounds: what they prove holds at every point, and is narrower."""

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.branching import neuron_bounds
from evaluators.branching.neuron_bounds import NeuronSearch
from evaluators.deterministic import branch_and_bound
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.network.network import Network, apply
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled.unrolled_network import Unrolled
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.evaluators.test_branch_and_bound import truth
from tests.fixtures.networks import Graph
from tests.fixtures.searching import ByNeurons
from tests.fixtures.unrolled import about

ROUNDS = 6


def deep(seed: int, leak: float = 0.0) -> Network:
    """Four hidden layers of five neurons, on two inputs."""
    graph = Graph((2,), seed)
    for _ in range(4):
        (inputs,) = graph.nodes[-1].shape
        graph.dense(5, 2 * graph.random(5, inputs), graph.random(5))
        graph.relu(leak)
    graph.dense(3)
    return graph.network()


def residual(seed: int, leak: float = 0.0) -> Network:
    """Two residual blocks of two convolutions of six neurons, on two pixels."""
    graph = Graph((1, 1, 2), seed)
    graph.random = lambda *shape: 3 * Graph.random(graph, *shape)  # type: ignore[method-assign]
    start = graph.convolution(3, kernel=3, padding=1)
    for _ in range(2):
        graph.relu(leak)
        graph.convolution(3, kernel=3, padding=1)
        graph.relu(leak)
        start = graph.sum(graph.convolution(3, kernel=3, padding=1), start)
    graph.relu(leak)
    graph.flatten()
    graph.dense(3)
    return graph.network()


def question(network: Network, radius: Fraction, label: int = 0) -> Problem:
    x = torch.zeros(network.input_shape)
    return about(network, Ball(Norm.LINF, radius, -1.0, 2.0), x, label)


def unrolled(problem: Problem, rounds: int) -> Unrolled:
    search = NeuronSearch(Deadline(), rounds)
    refine = search if rounds else None
    return UnrolledProblem.of(problem, 3, Deadline(), refine=refine).unrolled


def values(network: Network, x: Tensor) -> list[Tensor]:
    """What every node computes."""
    found = [x]
    for node in network.nodes[1:]:
        found.append(apply(node.operation, [found[parent] for parent in node.parents]))
    return found


@pytest.mark.parametrize("leak", [0.0, 0.25])
@pytest.mark.parametrize(("made", "seed"), [(deep, 0), (residual, 7)])
def test_bounds_hold_on_a_grid_and_are_narrower_where_neurons_are_unstable(
    made: Callable[[int, float], Network], seed: int, leak: float
) -> None:
    ends = torch.linspace(-0.5, 0.5, 41, dtype=torch.float64)
    network = made(seed, leak)
    grid = torch.cartesian_prod(ends, ends).reshape(-1, *network.input_shape)
    problem = question(network, Fraction(1, 2))
    before, after = unrolled(problem, 0), unrolled(problem, ROUNDS)
    for position, computed in enumerate(values(network, grid)):
        lower, upper = after.bounds[position]
        assert bool((computed >= lower).all()), position
        assert bool((computed <= upper).all()), position
    wide, narrow = (
        sum(float((layer.upper - layer.lower).sum()) for layer in its.layers)
        for its in (before, after)
    )
    assert narrow < wide


@pytest.mark.parametrize("network", [deep(0), residual(7)], ids=["deep", "residual"])
def test_the_leaves_of_every_tree_cover_the_region(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every point each row has a leaf whose signs are those of its neurons."""
    kept = list[tuple[Unrolled, Tensor, Tensor]]()
    proved = neuron_bounds._Trees.proved

    def looked_at(trees: neuron_bounds._Trees, near: Unrolled, *others: object) -> Tensor:
        kept.append((near, trees.made, trees.signs))
        return proved(trees, near, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(neuron_bounds._Trees, "proved", looked_at)
    unrolled(question(network, Fraction(1, 2)), ROUNDS)
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)).double() - 0.5
    computed = [its.flatten(1) for its in values(network, points.reshape(50, *network.input_shape))]
    split = 0
    for near, made, signs in kept:
        z = [computed[network.nodes[la.position].parents[0]][:, la.entries] for la in near.layers]
        here = torch.cat(z, 1)
        # [points, leaves, rows]: no sign of the leaf is another than the neuron's.
        agrees = (signs[None] * here[:, None, None] >= 0).all(-1) & made[None]
        assert bool(agrees.any(1).all())
        split += int(made[1:].sum())
    assert split


# Of the one about 1/8 below the largest radius that holds, and above it. Sixteen splits are enough
# for the first; the second is paused once more.
CERTIFIED, FALSIFIED = Status.CERTIFIED, Status.FALSIFIED
DEEP = deep(2), {"0.48": CERTIFIED, "0.61": FALSIFIED}, [True, False, True, True, False]
RESIDUAL = residual(7), {"0.3": CERTIFIED}, [True, False]


@pytest.mark.parametrize(
    ("network", "answers", "pauses"), [DEEP, RESIDUAL], ids=["deep", "residual"]
)
def test_a_paused_search_ends_with_the_right_answer(
    network: Network,
    answers: dict[str, Status],
    pauses: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paused = list[int]()
    is_pause = branch_and_bound._is_pause

    def counted(*asked: object) -> bool:
        paused.append(is_pause(*asked))  # type: ignore[arg-type]
        return bool(paused[-1])

    monkeypatch.setattr(branch_and_bound, "_is_pause", counted)
    monkeypatch.setattr(branch_and_bound, "PAUSE", 0.0)
    label = int(network(torch.zeros(1, *network.input_shape).double()).argmax())
    for radius, status in answers.items():
        problem = question(network, Fraction(radius), label)
        (verdict,) = ByNeurons(restarts=0)(problem)
        assert verdict.status is status
        assert (truth(problem) > 0) is (status is CERTIFIED)
    assert paused == pauses


def test_neurons_of_convolutions_are_searched_only_while_most_of_the_time_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(branch_and_bound, "PAUSE", 0.0)
    monkeypatch.setattr(branch_and_bound, "EARLY", 0.0)
    monkeypatch.setattr(BranchAndBound, "_again", lambda *_: pytest.fail("searched neurons"))
    network, answers, _ = RESIDUAL
    label = int(network(torch.zeros(1, *network.input_shape).double()).argmax())
    for radius, status in answers.items():
        (verdict,) = ByNeurons(restarts=0)(question(network, Fraction(radius), label))
        assert verdict.status is status
