"""Interval bound propagation."""

from dataclasses import dataclass

from evaluators.evaluator import Evaluator
from evaluators.propagation.linear_bounds import interval_relaxation, margins
from evaluators.propagation.verdicts import in_batches, near_caches, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


@dataclass(frozen=True)
class IBP(Evaluator):
    """Interval bound propagation (Gowal et al. 2018, arXiv 1810.12715, equations 6 to 8).

    Every node's values are enclosed in a box; the last linear layers are merged with the margins
    (section 3, "elision of the last layer"). For l2 and l1 the first layer's box comes from the
    dual norm of its weights, which is exact for the ball.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: about two float64 forward passes.
    """

    title = "Interval bound propagation"
    node = "interval"
    version = "4"
    cascade = 5

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of a batch at once."""
        return in_batches(problem, near_caches(problem), self._bound)

    def _bound(self, problem: Problem) -> list[Verdict]:
        relaxed = interval_relaxation(problem)
        return verdicts(problem, margins(relaxed, problem.labels, to_input=False))
