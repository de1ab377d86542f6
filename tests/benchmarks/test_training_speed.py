"""Steps of training on interval bounds against plain steps of the same network, in one run."""

import time

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from evaluators.learning.architectures import ARCHITECTURES
from evaluators.learning.recipe import Recipe, TrainingBatch
from evaluators.training.ibp import IBPTraining
from evaluators.training.standard import Standard

SHAPE, BATCH, ROUNDS = (3, 32, 32), 128, 5


@pytest.mark.parametrize("architecture", ["cnn5", "wide-cnn7"])
@pytest.mark.parametrize("settled", [False, True], ids=["", "settled"])
def test_steps_on_interval_bounds(
    benchmark: BenchmarkFixture, architecture: str, settled: bool
) -> None:
    """Two products a layer where a plain step has one, and the pass that finds statistics."""
    recipe = IBPTraining(8 / 255, settled=0.0 if settled else 1.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = min(_seconds(Standard(), architecture))
        bounded = min(benchmark(_seconds, recipe, architecture))
    finally:
        torch.set_num_threads(threads)
    benchmark.extra_info["milliseconds, plain"] = round(1000 * plain, 1)
    benchmark.extra_info["milliseconds, ibp"] = round(1000 * bounded, 1)
    benchmark.extra_info["ratio of times"] = round(bounded / plain, 2)


def _seconds(recipe: Recipe, architecture: str) -> list[float]:
    """Processor time of steps in the middle of a training, derivatives included."""
    learner = ARCHITECTURES[architecture](SHAPE, 10, 0, recipe.style(normalised=True)).train()
    learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, *SHAPE, generator=generator).contiguous(memory_format=torch.channels_last)
    batch = TrainingBatch(x, torch.arange(BATCH) % 10, 0.9, generator)
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        torch.autograd.backward(recipe.loss(learner, batch))
        found.append(time.process_time() - started)
    return found
