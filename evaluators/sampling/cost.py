"""What a run will cost, from one block of it."""

from dataclasses import dataclass

import torch

from evaluators.evaluator import Evaluator
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.noises import distributions
from evaluators.question.problem import Problem
from evaluators.sampling.counter import Counter
from evaluators.sampling.noise import SELECTION, NoiseStream


@dataclass(frozen=True)
class Cost:
    """How many samples a run draws at most, and how fast they go.

    Attributes:
        samples: forward passes of all examples together; a procedure that stops early needs fewer.
        per_second: measured on one block of one example, after another that warmed things up.
    """

    samples: int
    per_second: float

    @property
    def seconds(self) -> float:
        """The seconds that a run takes at most, unless other work keeps the machine busy."""
        return self.samples / self.per_second


def estimate(problem: Problem, evaluator: Evaluator) -> Cost | None:
    """Estimate what `evaluator` will need for `problem`; None where it draws no samples."""
    options, network = evaluator.options(), problem.network
    if not isinstance(network, SmoothedNetwork) or not {"n0", "n"} <= options.keys():
        return None
    distribution = distributions().get(network.distribution)
    if distribution is None or not len(problem):
        return None
    samples = len(problem) * (options["n0"] + options["n"])
    counter = Counter(network, problem.x[:1])
    noise = NoiseStream(distribution, network.input_shape, problem.seed, SELECTION)
    taken = 0.0
    for start in (0, counter.block):
        work = problem.stopwatch()
        counter.count([(noise, [0])], start, counter.block)
        if problem.x.is_cuda:
            torch.cuda.synchronize(problem.x.device)
        taken = work.spent
    return Cost(samples, counter.block / max(taken, 1e-9))
