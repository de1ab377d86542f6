"""Smoothing against the forward passes it needs, and against how others sample, in one run.

The raw pass is the faster of `Network` and the fast forward pass, at its best block size and memory
format. The usual loop is the one that most published certificates were computed with: for each
example batches of 1,000 copies, fresh noise for each, classes brought to NumPy and counted one by
one (as in Cohen et al. 2019's code, written anew here). Rounds alternate between all three, so that
they meet the same neighbours on the machine. A perceptron's pass costs little more than making its
noisy inputs, hence its wider limit.
"""

import time
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from evaluators.network.affine import Convolution
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.sampling.forward import fast_forward
from tests.fixtures.networks import Graph, perceptron, two_convolutions

ROUNDS = 6
SIGMA = Fraction(1, 4)


class Case(NamedTuple):
    """A network, how much of it is run in a round, and the share of the raw speed to reach."""

    make: Callable[[], Network]
    examples: int
    samples: int
    aim: float


def convolve(
    graph: Graph, parent: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> int:
    """A convolution of one node, padded so that only the stride makes it smaller."""
    before, height, width = graph.nodes[parent].shape
    padding = (kernel - 1) // 2 if kernel < height else 0
    side = (height + 2 * padding - kernel) // stride + 1
    shape = (channels, side, side)
    weight = graph.random(channels, before // groups, kernel, kernel)
    pairs = (stride, stride), (padding, padding), (1, 1)
    bias = graph.random(channels, 1, 1)
    operation = Convolution((before, height, width), shape, bias, weight, *pairs, groups)
    return graph.add(operation, shape, (parent,))


def residual_network() -> Network:
    """ResNet-20 for CIFAR-10 (He et al. 2016), batch normalisation folded, random weights."""
    graph = Graph((3, 32, 32))
    last = graph.relu(parent=convolve(graph, 0, 16, kernel=3))
    for channels, first in ((16, 1), (32, 2), (64, 2)):
        for stride in (first, 1, 1):
            inner = graph.relu(parent=convolve(graph, last, channels, 3, stride))
            inner = convolve(graph, inner, channels, 3)
            short = last if stride == 1 else convolve(graph, last, channels, 1, stride)
            last = graph.relu(parent=graph.sum(inner, short))
    # The average over the image: a convolution of each channel by itself.
    convolve(graph, last, 64, kernel=8, groups=64)
    graph.flatten()
    graph.dense(10)
    return graph.network()


CASES = {
    "residual network": Case(residual_network, 4, 512, 0.9),
    "two convolutions": Case(two_convolutions, 64, 2_048, 0.8),
    "perceptron 784-100-10": Case(perceptron, 64, 2_048, 0.5),
}


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def candidates(network: Network) -> list[tuple[Callable[[Tensor], Tensor], Tensor]]:
    """Every way to run the network that is in the race for the fastest."""
    base = network.to(torch.float32)
    formats = [torch.contiguous_format, torch.channels_last]
    return [
        (forward, torch.randn(rows, *base.input_shape).contiguous(memory_format=layout))
        for rows in (32, 64, 128, 256, 512, 1024)
        for layout in formats
        for forward in (base, fast_forward(base))
    ]


@torch.inference_mode()
def speed(forward: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Seconds of a row, the best of some passes."""
    best, spent = float("inf"), 0.0
    while spent < 0.4:
        taken = seconds(lambda: forward(x))
        best, spent = min(best, taken / len(x)), spent + taken
    return best


def fastest(network: Network, rows: int) -> Callable[[], object]:
    """As many plain forward passes as smoothing needs, by the fastest candidate."""
    forward, x = min(candidates(network), key=lambda pair: speed(*pair))

    @torch.inference_mode()
    def run() -> None:
        for _ in range(rows // len(x)):
            forward(x)

    return run


def smoothed(network: Network, x: Tensor) -> Problem:
    """Ask about the smoothed network around some inputs."""
    labels, region = torch.zeros(len(x), dtype=torch.int64), Ball(Norm.L2, Fraction(1, 2))
    return Problem(SmoothedNetwork(network, "gaussian", SIGMA), x, labels, region)


def usual_loop(network: Network, x: Tensor, samples: int, batch: int = 1000) -> list[list[int]]:
    """Counts of classes among noisy copies of each example, as they are usually computed."""
    base, sigma, counted = network.to(torch.float32), float(SIGMA), []
    with torch.no_grad():
        for example in x:
            counts, left = np.zeros(network.classes, dtype=int), samples
            while left > 0:
                size = min(batch, left)
                left -= size
                copies = example.repeat((size, *[1] * example.dim()))
                answers = base(copies + torch.randn_like(copies) * sigma).argmax(1)
                for answer in answers.cpu().numpy():
                    counts[answer] += 1
            counted.append(counts.tolist())
    return counted


@pytest.mark.parametrize("name", list(CASES))
def test_smoothing_takes_little_more_than_its_forward_passes(
    benchmark: BenchmarkFixture, name: str
) -> None:
    case = CASES[name]
    network = case.make()
    x = torch.rand(case.examples, *network.input_shape)
    problem = smoothed(network, x)
    evaluator = SmoothingGaussian(n0=16, n=case.samples - 16)
    rows = case.examples * case.samples
    forward_passes = fastest(network, rows)
    runs: list[Callable[[], object]] = [
        forward_passes,
        lambda: evaluator(problem),
        lambda: usual_loop(network, x, case.samples),
    ]
    rounds = [[seconds(function) for function in runs] for _ in range(ROUNDS)]
    raw, smoothing, usual = (min(times) for times in zip(*rounds, strict=True))
    for what, taken in (("raw", raw), ("smoothing", smoothing), ("usual loop", usual)):
        benchmark.extra_info[f"forward passes per second, {what}"] = round(rows / taken)
    benchmark.extra_info["share of raw, smoothing"] = round(raw / smoothing, 3)
    benchmark.extra_info["share of raw, usual loop"] = round(raw / usual, 3)
    benchmark(evaluator, problem)
    assert raw / smoothing >= case.aim
    assert smoothing <= usual
