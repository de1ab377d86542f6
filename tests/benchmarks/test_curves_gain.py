"""What optimised lines of sigmoid and tanh are worth: CROWN's mean margins and α-CROWN's."""

import time
from fractions import Fraction

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.crown import CROWN
from evaluators.evaluator import Evaluator
from evaluators.network.affine import Dense
from evaluators.network.elementwise import Elementwise, Sigmoid, Tanh
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from leaderboard.datasets.catalogue import load_split
from tests.fixtures.networks import Graph

RADIUS = Fraction(1, 50)
EXAMPLES = 20
STEPS = 300


def trained(function: Elementwise, layers: int, width: int) -> Problem:
    """Hidden layers of a width, trained on the embedded digits that are not asked about."""
    split = load_split("digits")
    images = torch.from_numpy(split.images(list(range(len(split.labels)))))
    labels = torch.from_numpy(split.labels).long()
    graph = Graph(tuple(images.shape[1:]))
    graph.flatten()
    for _ in range(layers):
        graph.dense(width)
        graph.add(function, (width,))
    graph.dense(10)
    network = graph.network().to(torch.float32)
    layers_of = [node.operation for node in network.nodes if isinstance(node.operation, Dense)]
    weights = [one for dense in layers_of for one in (dense.weight, dense.bias) if one is not None]
    for weight in weights:
        weight.mul_(4.0 if isinstance(function, Sigmoid) else 1.0).requires_grad_()
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits = network(images[EXAMPLES:])
        torch.nn.functional.cross_entropy(logits, labels[EXAMPLES:]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for weight in weights:
        weight.requires_grad = False
    return Problem(network, images[:EXAMPLES], labels[:EXAMPLES], Ball(Norm.LINF, RADIUS))


def mean_margin(method: Evaluator, problem: Problem) -> float:
    found = [verdict.margin for verdict in method(problem)]
    margins = [margin for margin in found if margin is not None]
    return sum(margins) / len(margins)


@pytest.mark.parametrize(("layers", "width"), [(1, 20), (2, 50), (4, 50)])
@pytest.mark.parametrize("function", [Sigmoid(), Tanh()], ids=repr)
def test_optimised_lines_gain(
    benchmark: BenchmarkFixture, function: Elementwise, layers: int, width: int
) -> None:
    problem = trained(function, layers, width)
    crown = mean_margin(CROWN(), problem)
    started = time.process_time()
    alpha = benchmark.pedantic(lambda: mean_margin(AlphaCROWN(), problem))  # type: ignore[no-untyped-call]
    benchmark.extra_info["processor seconds"] = round(time.process_time() - started, 2)
    benchmark.extra_info["crown"] = round(crown, 4)
    benchmark.extra_info["alpha-crown"] = round(alpha, 4)
    assert alpha > crown
