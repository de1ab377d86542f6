"""The triangle relaxation, solved exactly as a linear program."""

from dataclasses import dataclass, replace

from evaluators.evaluator import Evaluator
from evaluators.linear_programs.relaxed_rows import by_triangles, optimal_slopes
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem, one_by_one_unrolled


@dataclass(frozen=True)
class LP(Evaluator):
    """Linear programming over the triangle relaxation (Salman et al. 2019, arXiv 1902.08722).

    Every unstable ReLU is replaced by the triangle of its graph's convex hull (Ehlers 2017, arXiv
    1705.01320), and each margin is minimised over all of them at once. With `all_bounds` the bounds
    of every unstable neuron are computed in the same way (the paper's LP-ALL), from the first layer
    to the last; else they are CROWN's. Max-pooling is written with ReLUs, whose triangles are wider
    than its hull. For a ball of l1 or l2, the programs use the bounding box, and the proof uses the
    ball.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). No number that the solver returns is trusted: its duals
    choose the slopes of lines, with which all bounds are computed in float64 and lowered by their
    rounding error (`linear_programs/triangle.py`).
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not HiGHS.
    Cost: two linear programs for each unstable neuron and one for each margin, solved one after the
    other from the last one's basis; those that CROWN decides are skipped.
    """

    all_bounds: bool = True

    title = "LP"
    node = "linear-programming"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        return one_by_one_unrolled(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        optimize = optimal_slopes if self.all_bounds else None
        around = UnrolledProblem.of(problem, 0, deadline, optimize)
        if not bool(around.lines.optimizable.all()):
            raise UnrollingError(
                "unsupported: the method has triangles for ReLU, leaky ReLU and MaxPool alone"
            )
        _, verdict = by_triangles(problem, around, deadline)
        if verdict.status is Status.CERTIFIED:
            return verdict
        return replace(verdict, note="timeout" if deadline.passed else verdict.note)
