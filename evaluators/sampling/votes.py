"""Votes of the examples of a problem, as procedures ask for them.

Shared noise is drawn once for all examples of a batch; an example's own noise is drawn from a
stream of its dataset index.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from evaluators.network.ensemble import SmoothedNetwork
from evaluators.noises.distribution import Distribution
from evaluators.numerics.deadline import Deadline
from evaluators.question.problem import Problem
from evaluators.sampling.counter import Counter
from evaluators.sampling.noise import ESTIMATION, NoiseStream


class NoisyVotes:
    """It counts the votes of a problem's examples, as a procedure asks for them.

    Arguments:
        distribution: of the noise.
        own: whether each example has its own noise, keyed by its index in the dataset.
        deadline: when to stop.

    Attributes:
        seconds: what each example took until now, of the deadline's clock.
    """

    def __init__(
        self, problem: Problem, distribution: Distribution, own: bool, deadline: Deadline
    ) -> None:
        assert isinstance(problem.network, SmoothedNetwork)
        self._problem, self._distribution, self._own = problem, distribution, own
        self._counter = Counter(problem.network, problem.x, deadline, problem.devices)
        self.classes, self.block = problem.classes, self._counter.block
        self.seconds = [0.0] * len(problem)

    def __len__(self) -> int:
        return len(self._problem)

    def count(
        self, stream: str, rows: Sequence[int], start: int, samples: int
    ) -> Int64[Tensor, "rows classes"]:
        """Count as `Votes.count` says."""
        with self._charged_to(rows):
            votes = self._counter.count(self._streams(stream, rows), start, samples).votes
            return votes.cpu()[list(rows)]

    def moments(
        self, rows: Sequence[int], given: Int64[Tensor, " rows"], samples: int
    ) -> tuple[Int64[Tensor, "rows classes"], Float64[Tensor, "2 rows entries"]]:
        """Count and sum as `Votes.moments` says."""
        device = self._problem.x.device
        of_all = torch.zeros(len(self), dtype=torch.int64, device=device)
        of_all[list(rows)] = given.to(device)
        streams = self._streams(ESTIMATION, rows)
        with self._charged_to(rows):
            votes, sums = self._counter.count(streams, 0, samples, of_all)
            return votes.cpu()[list(rows)], sums.cpu()[:, list(rows)]

    @contextmanager
    def _charged_to(self, rows: Sequence[int]) -> Iterator[None]:
        """Whatever comes of it, these examples have taken the time."""
        work = self._problem.stopwatch()
        try:
            yield
        finally:
            for row in rows:
                self.seconds[row] += work.spent / len(rows)

    def _streams(self, name: str, rows: Sequence[int]) -> list[tuple[NoiseStream, Sequence[int]]]:
        shape, seed = self._problem.network.input_shape, self._problem.seed
        if not self._own:
            return [(NoiseStream(self._distribution, shape, seed, name), rows)]
        examples = self._problem.examples
        return [
            (
                NoiseStream(self._distribution, shape, seed, f"{name}, example {examples[row]}"),
                [row],
            )
            for row in rows
        ]
