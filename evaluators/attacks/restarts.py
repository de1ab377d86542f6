"""An attack that is run several times, and each time of the examples not broken so far."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluators.evaluator import Evaluator
from evaluators.numerics.deadline import Deadline
from evaluators.question.float_region import FloatRegion
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict


@dataclass(frozen=True)
class RestartedAttack(Evaluator):
    """Base of the attacks: what a run finds are claims, which the harness checks."""

    certifies = False

    @abstractmethod
    def runs(self, problem: Problem) -> int:
        """How many runs there are."""

    @abstractmethod
    def run(self, problem: Problem, run: int, deadline: Deadline) -> list[Tensor | None]:
        """Look for a witness of each example once; runs differ, and are numbered from zero."""

    def solve(self, problem: Problem) -> list[Verdict]:
        """Attack the whole batch; examples leave it when they are broken."""
        return self.attack(problem, range(self.runs(problem)))

    def attack(self, problem: Problem, runs: range) -> list[Verdict]:
        """Attack with some of the runs: the first starts from the examples, others near them."""
        deadline = problem.deadline(len(problem))
        verdicts = [Verdict(Status.UNKNOWN, None, note="no witness found")] * len(problem)
        seconds, left = [0.0] * len(problem), list(range(len(problem)))
        for run in runs:
            if not left or deadline.passed:
                break
            work = problem.stopwatch()
            witnesses = self.run(problem.select(left), run, deadline)
            broken = [row for row, witness in enumerate(witnesses) if witness is not None]
            for row in broken:
                verdicts[left[row]] = Verdict(Status.FALSIFIED, None, witness=witnesses[row])
            for example in left:
                seconds[example] += work.spent / len(left)
            left = [example for row, example in enumerate(left) if row not in set(broken)]
        return [replace(it, seconds=took) for it, took in zip(verdicts, seconds, strict=True)]

    def start(self, problem: Problem, run: int) -> Tensor:
        """The examples; in later runs a random point near each, from a stream of its own."""
        if run == 0:
            return problem.x
        region = FloatRegion(problem.region, problem.x)
        reach = torch.as_tensor(region.reach).expand(problem.x.shape)
        points = []
        for x, radius, example in zip(region.middle, reach, problem.examples, strict=True):
            key = hashlib.sha256(f"{self.name()} {problem.seed} {example} {run}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
            noise = torch.rand(x.shape, generator=generator) * 2 - 1
            points.append(x + radius * noise.to(x.device))
        return torch.stack(points)
