"""Mixed-integer linear programming: complete for networks of (leaky) ReLUs."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from evaluators.branching.attack import falsify
from evaluators.evaluator import Evaluator
from evaluators.linear_programs.mixed_integer import look
from evaluators.linear_programs.tree import Tree
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem, one_by_one_unrolled


@dataclass(frozen=True)
class MILP(Evaluator):
    """Mixed-integer linear programming (Tjeng et al. 2019, arXiv 1711.07356).

    Each unstable ReLU has a binary variable, and big-M constraints with bounds of α-CROWN; stable
    ones have none, and max-pooling is written with ReLUs. For each margin that a small tree of
    linear programs does not decide, HiGHS looks for a point at which it is not positive; where it
    finds none, the tree grows until it proves that there is none.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). Every leaf of the tree is closed by a bound in float64,
    lowered by its rounding error, for which the solver's duals only choose the lines
    (`linear_programs/tree.py`). On balls of l1 and l2, for which the programs use only the bounding
    box, and where a margin is within the solver's tolerance of zero, it may end without an answer.
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not HiGHS.
    Cost: exponential in the worst case in the number of unstable neurons.

    Attributes:
        intermediate_steps: of the ascents for the bounds of neurons.
    """

    intermediate_steps: int = 8

    title = "MILP"
    node = "milp"
    version = "3"
    complete = True
    share: ClassVar[float] = 0.5
    """Of the time left, what HiGHS's search for one margin may take."""
    few: ClassVar[float] = 200.0
    """Domains of a margin that are tried first: what they decide takes HiGHS longer."""

    def solve(self, problem: Problem) -> list[Verdict]:
        """Decide one example after the other."""
        return one_by_one_unrolled(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        around = UnrolledProblem.of(problem, self.intermediate_steps, deadline)
        if not bool(around.lines.optimizable.all()):
            raise UnrollingError(
                "unsupported: the method has binaries for ReLU, leaky ReLU and MaxPool alone"
            )

        def attack(points: Tensor) -> Tensor | None:
            return falsify(problem, [points])[0]

        tree = Tree(around, deadline, attack)
        for row in tree.bound():
            if not tree.over:
                self._decide(tree, row)
        if tree.witness is not None:
            return Verdict(Status.FALSIFIED, None, witness=tree.witness)
        (verdict,) = verdicts(problem, tree.bounds[None])
        if verdict.status is Status.CERTIFIED:
            verdict = replace(verdict, certificate=around.certificate(tree.leaves))
        elif tree.note:
            verdict = replace(verdict, note=tree.note)
        return verdict

    def _decide(self, tree: Tree, row: int) -> None:
        """Close an open row of the tree, or find a counterexample."""
        if tree.close(row, self.few) or tree.over:
            return
        goal, seconds = tree.around.goals.select(slice(row, row + 1)), tree.deadline.left
        weight, bias = goal.weight[0].numpy(), float(goal.bias)
        hint = look(tree.program, tree.around.lines, weight, bias, seconds * self.share)
        if hint.point is not None:
            tree.witness = tree.attack(torch.from_numpy(hint.point)[None])
        tree.close(row)
