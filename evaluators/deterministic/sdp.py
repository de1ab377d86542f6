"""The semidefinite relaxation of all inputs and neurons at once."""

from dataclasses import dataclass, replace

from evaluators.deterministic.alpha_crown import INTERMEDIATE, ascended
from evaluators.evaluator import Evaluator
from evaluators.linear_programs.relaxed_rows import by_triangles
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.interior_point import BoundSearch, lower_bound, raised_by, room
from evaluators.unrolled.quadratic import Forms, Goal, in_ball
from evaluators.unrolled.relus import relus_only
from evaluators.unrolled.unrolled_problem import UnrolledProblem, one_by_one_unrolled


@dataclass(frozen=True)
class SDP(Evaluator):
    """Semidefinite programming (Raghunathan et al. 2018, arXiv 1811.01057, equation 4).

    Each unstable ReLU is a few quadratic constraints on its input and output, and so is the region;
    the products of all inputs and neurons become entries of one matrix, of which only positive
    semidefiniteness is required. A margin that the triangle relaxation (in a ball, α-CROWN) leaves
    open is minimised over these matrices by an interior point method
    (`unrolled/interior_point.py`).

    Differs from the paper: neurons that are stable in the region are not in the matrix, bounds of
    neurons are α-CROWN's, and a ball of l2 is itself a constraint.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The method only chooses multipliers. Whatever they are, the
    bound is recomputed in float64, and what the matrix may at most lack of being semidefinite is
    subtracted, as is all rounding (`unrolled/quadratic.py`).
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not the interior point
    method, nor the solver of linear programs.
    Cost: the bounds of neurons; in a box, a linear program for each margin; for each margin that
    is still open, 10 to 20 steps, each cubic in inputs plus three times the unstable neurons: up to
    about 2,000 together. Evidence exists only where lines suffice.

    Attributes:
        intermediate_steps: of the ascents for the bounds of neurons.
    """

    intermediate_steps: int = 8

    title = "SDP"
    node = "sdp"
    version = "4"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        return one_by_one_unrolled(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        # Of a ball, linear programs would know the box alone.
        if in_ball(problem):
            its = replace(INTERMEDIATE, steps=self.intermediate_steps)
            around, margins, verdict = ascended(problem, deadline, its=its)
            if around is None:
                return verdict
            kinks = relus_only(around)
        else:
            around = UnrolledProblem.of(problem, self.intermediate_steps, deadline)
            kinks = relus_only(around)
            margins, verdict = by_triangles(problem, around, deadline)
        forms = Forms.of(kinks)
        if verdict.status is Status.CERTIFIED or forms is None:
            return verdict
        if room(forms) < 0:
            return replace(verdict, note="bound too loose: too many neurons for the method")

        def goal(row: int) -> Goal:
            return Goal.of(kinks, forms, row)

        found = raised_by(forms, goal, margins, deadline, self._search())
        (verdict,) = verdicts(problem, found[None])
        return replace(verdict, note="timeout" if deadline.passed else verdict.note)

    def _search(self) -> BoundSearch:
        """How a bound is looked for."""
        return lower_bound
