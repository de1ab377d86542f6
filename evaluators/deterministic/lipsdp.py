"""Lipschitz constants of margins by semidefinite programs."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import here
from evaluators.propagation.intervals import interval_bounds
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.interior_point import raised_by, room
from evaluators.unrolled.proof import prove
from evaluators.unrolled.quadratic import Forms, Goal
from evaluators.unrolled.relus import relus_only
from evaluators.unrolled.unrolled_problem import UnrolledProblem, one_by_one_unrolled


@dataclass(frozen=True)
class LipSDP(Evaluator):
    """LipSDP (Fazlyab et al. 2019, arXiv 1906.04893, theorem 1 and LipSDP-Neuron).

    Between two inputs a ReLU's output changes by a share of what its input changes by, which is a
    quadratic constraint with a multiplier for each neuron. How far a margin may move from its value
    at the example is bounded over all changes that satisfy these, by a semidefinite program.

    Differs from the paper: the constant is local, for each example, region and margin; only the
    neurons that are unstable in the region are in the matrix; changes are confined to the ranges of
    inputs and neurons, too, and any region is allowed.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The interior point method only chooses multipliers.
    Whatever they are, the bound is recomputed in float64, and what the matrix may at most lack of
    being semidefinite is subtracted, as is all rounding (`unrolled/quadratic.py`).
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not the interior point
    method.
    Cost: CROWN's bounds of neurons, and 10 to 20 steps for each margin, each cubic in inputs plus
    three times the unstable neurons: up to about 2,000 together.
    """

    title = "LipSDP"
    node = "general-lipschitz"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        return one_by_one_unrolled(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        around = UnrolledProblem.of(replace(problem, evidence=False), 0, deadline)
        kinks = relus_only(around)
        forms = Forms.of(kinks)
        if forms is None:
            return verdicts(problem, _without_units(around)[None])[0]
        if room(forms) < 0:
            return Verdict(Status.UNKNOWN, None, note="unsupported: too many unstable neurons")
        changes, x = forms.between_points(), around.x
        logits = interval_bounds(around.unrolled.network, x, x)[-1]
        margins = here(logits, problem.labels.cpu())[0]

        def goal(row: int) -> Goal:
            moved = Goal.of(kinks, changes, row)
            # Both points may be away from the row by as much as it has lost.
            return moved._replace(constant=margins[row], lost=2 * moved.lost)

        none = torch.full_like(margins, -torch.inf)
        found = raised_by(changes, goal, none, deadline)
        (verdict,) = verdicts(problem, found[None])
        return replace(verdict, note="timeout" if deadline.passed else verdict.note)


def _without_units(around: UnrolledProblem) -> Tensor:
    """The margins of a network that is affine in the region, `[rows]`."""
    lines, goals = around.lines, around.goals
    slopes = lines.start.expand(len(goals), -1)
    return prove(around.unrolled, lines, goals, around.x, around.region, slopes)
