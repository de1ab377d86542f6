"""CROWN-IBP: intervals inside, linear bounds for the margins."""

from dataclasses import dataclass

from evaluators.evaluator import Evaluator
from evaluators.propagation.linear_bounds import interval_relaxation, margins
from evaluators.propagation.verdicts import in_batches, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


@dataclass(frozen=True)
class CrownIBP(Evaluator):
    """CROWN-IBP (Zhang et al. 2020, arXiv 1906.06316, section 3.2).

    The inputs of non-linearities are bounded by interval propagation, and only the margins by
    propagating CROWN's lines back to the input; the better of these margins and IBP's is kept.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: that of IBP and one backward pass for each margin.
    """

    title = "CROWN-IBP"
    node = "polyhedra"
    version = "4"
    cascade = 25

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of the batch at once."""
        return in_batches(problem, 128, self._bound)

    def _bound(self, problem: Problem) -> list[Verdict]:
        relaxed = interval_relaxation(problem)
        return verdicts(problem, margins(relaxed, problem.labels, to_input=True))
