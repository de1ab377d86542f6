"""Smoothing against the forward passes it needs, in one run.

The raw pass is the faster of `Network` and the fast forward pass, at its best block size and memory
format. Rounds alternate between the two, so that both meet the same neighbours on the machine. A
perceptron's pass costs little more than making its noisy inputs, hence its wider limit.
"""

import time
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from evaluators.network import Network, SmoothedNetwork
from evaluators.probabilistic._forward import fast_forward
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.problem import Ball, Norm, Problem
from tests.fixtures.networks import perceptron, two_convolutions

EXAMPLES, SAMPLES = 64, 2_048
ROUNDS = 6


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
        for rows in (64, 128, 256, 512, 1024, 2048)
        for layout in formats
        for forward in (base, fast_forward(base))
    ]


@torch.inference_mode()
def fastest(network: Network) -> Callable[[], object]:
    """As many plain forward passes as smoothing needs, by the fastest candidate."""
    forward, x = min(
        candidates(network),
        key=lambda pair: min(seconds(lambda: pair[0](pair[1])) for _ in range(12)) / len(pair[1]),
    )
    passes = EXAMPLES * SAMPLES // len(x)

    @torch.inference_mode()
    def run() -> None:
        for _ in range(passes):
            forward(x)

    return run


@pytest.mark.parametrize(
    ("make", "most"),
    [(two_convolutions, 1.3), (perceptron, 2.0)],
    ids=["two convolutions", "perceptron 784-100-10"],
)
def test_smoothing_takes_little_more_than_its_forward_passes(
    benchmark: BenchmarkFixture, make: Callable[[], Network], most: float
) -> None:
    network = make()
    x = torch.rand(EXAMPLES, *network.input_shape)
    problem = Problem(
        SmoothedNetwork(network, "gaussian", Fraction(1, 4)),
        x,
        torch.zeros(EXAMPLES, dtype=torch.int64),
        Ball(Norm.L2, Fraction(1, 2)),
    )
    evaluator = SmoothingGaussian(n0=16, n=SAMPLES - 16)
    forward_passes = fastest(network)
    rounds = [(seconds(forward_passes), seconds(lambda: evaluator(problem))) for _ in range(ROUNDS)]
    raw, smoothing = (min(times) for times in zip(*rounds, strict=True))
    rows = EXAMPLES * SAMPLES
    benchmark.extra_info["forward passes per second, raw"] = round(rows / raw)
    benchmark.extra_info["forward passes per second, smoothing"] = round(rows / smoothing)
    benchmark.extra_info["ratio of times"] = round(smoothing / raw, 3)
    benchmark(evaluator, problem)
    assert smoothing <= most * raw
