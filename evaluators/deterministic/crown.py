"""CROWN: backward linear bounds."""

from dataclasses import dataclass

from evaluators.evaluator import Evaluator
from evaluators.propagation.relaxation import ADAPTIVE
from evaluators.propagation.verdicts import propagate_back
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


@dataclass(frozen=True)
class CROWN(Evaluator):
    """CROWN (Zhang et al. 2018, arXiv 1811.00866, theorem 3.2) with full backward propagation.

    The inputs of every non-linearity are bounded by propagating linear bounds back to the input,
    elementwise the better of that and interval propagation (CROWN alone is not always tighter);
    only entries at which the non-linearity is unstable are propagated. The lower line of a
    ReLU has slope 0 or 1, whichever loses the smaller area. So margins are never below IBP's, but
    may be below CROWN-IBP's, whose wider bounds of neurons sometimes choose the better slopes.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: one backward pass for each unstable neuron and margin.
    """

    title = "CROWN"
    node = "polyhedra"
    version = "4"
    cascade = 30

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of the batch at once."""
        return propagate_back(problem, ADAPTIVE)
