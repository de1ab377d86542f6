"""The product of operator norms."""

from dataclasses import dataclass

import torch

from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import Reach, margins
from evaluators.propagation.verdicts import in_batches, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict

BATCH = 256


@dataclass(frozen=True)
class OpNorm(Evaluator):
    """The product of operator norms (Szegedy et al. 2014, arXiv 1312.6199, section 4.3).

    The simplest global bound: a network's Lipschitz constant is at most the product of its layers'
    operator norms, and at a sum of branches the sum of theirs; a margin moves by at most that times
    the radius, and times the dual norm of (1, -1).

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64, PyTorch's sums of products and its sines; rounding is bounded.
    Cost: one bound of each operator of a network, once, and about three forward passes.
    """

    title = "Operator norms"
    node = "general-lipschitz"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of a batch at once."""

        def bound(part: Problem) -> list[Verdict]:
            reach = Reach.of(part, with_blocks=False)
            return verdicts(part, margins(reach, part.labels, by_pairs=False))

        with torch.no_grad():
            return in_batches(problem, BATCH, bound)
