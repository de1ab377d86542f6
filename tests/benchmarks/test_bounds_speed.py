"""Bounds against plain forward passes, in one run."""

import time
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.crown_ibp import CrownIBP
from evaluators.deterministic.ibp import IBP
from evaluators.evaluator import Evaluator
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from tests.fixtures.networks import perceptron, two_convolutions

IMAGES = 1000
"""IBP's time is linear in their number; the 10,000 of MNIST's test set take ten times as long."""
EXAMPLES = 10
ROUNDS = 8


def question(network: Network, count: int, radius: Fraction) -> Problem:
    """Images of random pixels in 0 to 255, asked about their predictions."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, *network.input_shape), generator=generator)
    x = pixels.float() / 255
    with torch.inference_mode():
        labels = network.to(torch.float32)(x).argmax(1)
    return Problem(network, x, labels.clone(), Ball(Norm.LINF, radius))


def seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


@torch.inference_mode()
def forward_seconds(problem: Problem) -> float:
    """The float32 forward passes of all images at the best batch size."""
    assert isinstance(problem.network, Network)
    network = problem.network.to(torch.float32)
    best = float("inf")
    for size in (32, 64, 128, 256, 512):
        starts = range(0, len(problem), size)

        def run(starts: range = starts, size: int = size) -> None:
            for first in starts:
                network(problem.x[first : first + size])

        best = min(best, *(seconds(run) for _ in range(3)))
    return best


@pytest.mark.parametrize(
    ("make", "most"),
    [(two_convolutions, 20.0), (perceptron, 30.0)],
    ids=["two convolutions", "perceptron 784-100-10"],
)
def test_ibp_takes_little_more_than_forward_passes(
    benchmark: BenchmarkFixture, make: Callable[[], Network], most: float
) -> None:
    """A perceptron's pass of two microseconds is less than a verdict takes to write down."""
    problem = question(make(), IMAGES, Fraction(1, 10))
    rounds = [(forward_seconds(problem), seconds(lambda: IBP()(problem))) for _ in range(ROUNDS)]
    forward, bounds = (min(times) for times in zip(*rounds, strict=True))
    benchmark.extra_info["microseconds per image, forward"] = round(1e6 * forward / IMAGES, 1)
    benchmark.extra_info["microseconds per image, ibp"] = round(1e6 * bounds / IMAGES, 1)
    benchmark.extra_info["ratio of times"] = round(bounds / forward, 2)
    benchmark(IBP(), problem)
    assert bounds <= most * forward


@pytest.mark.parametrize("evaluator", [CrownIBP(), CROWN()], ids=["crown-ibp", "crown"])
@pytest.mark.parametrize("radius", [Fraction(1, 100), Fraction(1, 10)], ids=["0.01", "0.1"])
def test_linear_bounds(benchmark: BenchmarkFixture, evaluator: Evaluator, radius: Fraction) -> None:
    problem = question(two_convolutions(), EXAMPLES, radius)
    best = min(seconds(lambda: evaluator(problem)) for _ in range(ROUNDS))
    benchmark.extra_info["milliseconds per example"] = round(1000 * best / EXAMPLES, 2)
    verdicts = benchmark(evaluator, problem)
    assert all(verdict.margin is not None for verdict in verdicts)
