"""Zonotopes with neurons' bounds from linear programs."""

from dataclasses import dataclass, replace

import torch

from evaluators.evaluator import Evaluator
from evaluators.linear_programs.relaxed_rows import optimal_slopes, proved_margins
from evaluators.propagation.linear_bounds import margin_rows
from evaluators.propagation.verdicts import verdicts
from evaluators.propagation.zonotopes import Zonotopes
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict
from evaluators.unrolled.unrolled_problem import UnrolledProblem, one_by_one_unrolled


@dataclass(frozen=True)
class RefineZono(Evaluator):
    """RefineZono (Singh et al. 2019, "Boosting Robustness Certification of Neural Networks", ICLR).

    It stands in the SoK's taxonomy (arXiv 2009.04131) beside DeepZ.

    Neurons that cheap bounds leave unstable are bounded by linear programs over the triangle
    relaxation of the layers before them, and the zonotope's bands are made with these narrower
    bounds. What the zonotope of the logits does not prove is tried with a linear program for each
    margin.

    Differs from the paper: there is no mixed-integer program for the first layers (see `milp`), all
    unstable neurons are refined, and cheap bounds are CROWN's.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The solver only chooses lines; all bounds are
    computed in float64 and lowered by their rounding error.
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not HiGHS.
    Cost: that of `lp`, and that of `zonotope`.
    """

    title = "RefineZono"
    node = "zonotope"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        return one_by_one_unrolled(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        around = UnrolledProblem.of(problem, 0, deadline, optimal_slopes)
        unrolled, rows = around.unrolled, margin_rows(problem.labels.cpu(), problem.classes)[0]
        deployed = problem.deployed
        forms = Zonotopes.around(unrolled.network, around.x, around.region, deployed=deployed)
        margins = forms.least(rows, unrolled.bounds)
        if not bool((margins > 0).all()):
            margins = torch.maximum(margins, proved_margins(around, deadline)[0])
        (verdict,) = verdicts(problem, margins)
        note = "timeout" if deadline.passed and verdict.note else verdict.note
        return replace(verdict, note=note)
