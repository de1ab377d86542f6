"""Searches of neurons' bounds: what they prove holds at every point, and is narrower."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.branching import neuron_bounds
from evaluators.branching.neuron_bounds import NeuronSearch
from evaluators.deterministic import branch_and_bound
from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network
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


def question(network: Network, radius: Fraction, label: int = 0) -> Problem:
    return about(network, Ball(Norm.LINF, radius, -1.0, 2.0), torch.zeros(2), label)


def unrolled(problem: Problem, rounds: int) -> Unrolled:
    search = NeuronSearch(Deadline(), rounds)
    refine = search if rounds else None
    return UnrolledProblem.of(problem, 3, Deadline(), refine=refine).unrolled


def values(network: Network, x: Tensor) -> list[Tensor]:
    """What every node of a chain computes."""
    found = [x]
    for node in network.nodes[1:]:
        assert isinstance(node.operation, AffineMap | Elementwise)
        found.append(node.operation(found[-1]))
    return found


@pytest.mark.parametrize("leak", [0.0, 0.25])
def test_bounds_hold_on_a_grid_and_are_narrower_where_neurons_are_unstable(leak: float) -> None:
    ends = torch.linspace(-0.5, 0.5, 41, dtype=torch.float64)
    grid = torch.cartesian_prod(ends, ends)
    network = deep(0, leak)
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


def test_the_leaves_of_every_tree_cover_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every point each row has a leaf whose signs are those of its neurons."""
    kept = list[tuple[Unrolled, Tensor, Tensor]]()
    proved = neuron_bounds._Trees.proved

    def looked_at(trees: neuron_bounds._Trees, near: Unrolled, *others: object) -> Tensor:
        kept.append((near, trees.made, trees.signs))
        return proved(trees, near, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(neuron_bounds._Trees, "proved", looked_at)
    network = deep(0)
    unrolled(question(network, Fraction(1, 2)), ROUNDS)
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)).double() - 0.5
    computed = values(network, points)
    split = 0
    for near, made, signs in kept:
        z = [computed[network.nodes[la.position].parents[0]][:, la.entries] for la in near.layers]
        here = torch.cat(z, 1)
        # [points, leaves, rows]: no sign of the leaf is another than the neuron's.
        agrees = (signs[None] * here[:, None, None] >= 0).all(-1) & made[None]
        assert bool(agrees.any(1).all())
        split += int(made[1:].sum())
    assert split


def test_a_paused_search_ends_with_the_right_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    paused = list[int]()
    is_pause = branch_and_bound._is_pause

    def counted(*asked: object) -> bool:
        paused.append(is_pause(*asked))  # type: ignore[arg-type]
        return bool(paused[-1])

    monkeypatch.setattr(branch_and_bound, "_is_pause", counted)
    monkeypatch.setattr(branch_and_bound, "PAUSE", 0.0)
    network = deep(2)
    label = int(network(torch.zeros(1, 2).double()).argmax())
    # About 1/8 below the largest radius that holds, and above it.
    for radius, status in (
        (Fraction("0.48"), Status.CERTIFIED),
        (Fraction("0.61"), Status.FALSIFIED),
    ):
        problem = question(network, radius, label)
        (verdict,) = ByNeurons(restarts=0)(problem)
        assert verdict.status is status
        assert (truth(problem) > 0) is (status is Status.CERTIFIED)
    # Sixteen splits are enough for the one; the other is paused once more.
    assert paused == [True, False, True, True, False]
