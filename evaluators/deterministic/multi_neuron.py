"""Convex hulls of groups of ReLUs beside the triangles of single ones."""

from dataclasses import dataclass, replace

import torch

from evaluators.evaluator import Evaluator
from evaluators.linear_programs.group_rows import GroupRows
from evaluators.linear_programs.relaxed_rows import by_triangles
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem, one_by_one_unrolled


@dataclass(frozen=True)
class MultiNeuron(Evaluator):
    """k-ReLU (Singh et al. 2019, NeurIPS) and PRIMA (Müller et al. 2022, arXiv 2103.03638).

    Margins that the triangles of single ReLUs do not prove are tried with the convex hulls of pairs
    and triples of ReLUs, over octahedra of their pre-activations: round after round, rows of the
    hulls that the linear program's solution violates are added to the program.

    Differs from the papers: rows of the exact hulls are found as they are needed, instead of a
    whole hull (k-ReLU) or an approximation of it (PRIMA); the groups are formed anew in each round,
    from the units about which the program is most wrong; bounds of neurons are α-CROWN's.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). No number that a solver returns is trusted: each row of a
    group is proved anew (`linear_programs/hulls.py`), and the duals only choose slopes and
    multipliers, with which the bounds are computed in float64 and lowered by their rounding error.
    Trusted: IEEE float64 and the sums of products of PyTorch, NumPy and SciPy; not HiGHS.
    Cost: the bounds of neurons; for each margin that they leave open, several rounds, each with a
    linear program and a small one for each group. Evidence exists only where the triangles suffice.

    Attributes:
        intermediate_steps: of the ascents for the bounds of neurons.
        rounds: of new rows for each margin.
        groups: pairs, and triples, of a layer that are looked at in a round.
    """

    intermediate_steps: int = 8
    rounds: int = 6
    groups: int = 60

    title = "Multi-neuron"
    node = "multi-neuron"
    version = "4"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        return one_by_one_unrolled(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        around = UnrolledProblem.of(problem, self.intermediate_steps, deadline)
        if not bool(around.lines.optimizable.all()):
            raise UnrollingError(
                "unsupported: the method has hulls for ReLU, leaky ReLU and MaxPool alone"
            )
        margins, verdict = by_triangles(problem, around, deadline)
        if verdict.status is Status.CERTIFIED:
            return verdict
        rows = GroupRows(around, deadline, self.rounds, self.groups)
        for row in margins.argsort(descending=True).tolist():
            if not margins[row] > 0:
                bound = rows.raise_bound(around.goals.select(slice(row, row + 1)))
                margins[row] = torch.fmax(margins[row], margins.new_tensor(bound))
                if not margins[row] > 0:
                    break
        (verdict,) = verdicts(problem, margins[None])
        return replace(verdict, note="timeout" if deadline.passed else verdict.note)
