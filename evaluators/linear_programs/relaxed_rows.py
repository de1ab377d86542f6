"""Slopes with which rows have the value of their linear programs."""

from dataclasses import replace

import torch
from torch import Tensor

from evaluators.linear_programs.triangle import TriangleProgram
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.domains import Leaf
from evaluators.unrolled.proof import prove, stored
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Rows, Unrolled
from evaluators.unrolled.unrolled_problem import UnrolledProblem


def optimal_slopes(unrolled: Unrolled, lines: UnitLines, rows: Rows, deadline: Deadline) -> Tensor:
    """Choose each row's slopes by a linear program over the triangle relaxation.

    Args:
        unrolled: the layers that the rows reach over.
        lines: of their units.
        rows: to be bounded from below.
        deadline: past it, and where the solver fails, rows get CROWN's slopes.

    Returns:
        float64 `[rows, units]`.
    """
    slopes = lines.start.expand(len(rows), -1).clone()
    if not len(lines.leak) or not bool(lines.optimizable.all()):
        return slopes
    program = TriangleProgram(unrolled, lines)
    for row, weight in enumerate(rows.weight.numpy()):
        if deadline.passed:
            break
        solution = program.minimize(weight, deadline.left)
        if solution is not None:
            slopes[row] = program.multipliers(weight, solution.through).slopes
    return slopes


def proved_margins(around: UnrolledProblem, deadline: Deadline) -> tuple[Tensor, Tensor]:
    """Prove the specification's rows, `[rows]`, with optimal slopes, float16 `[rows, units]`."""
    unrolled, lines, goals = around.unrolled, around.lines, around.goals
    slopes = stored(optimal_slopes(unrolled, lines, goals, deadline), lines)
    return prove(unrolled, lines, goals, around.x, around.region, slopes), slopes


def by_triangles(
    problem: Problem, around: UnrolledProblem, deadline: Deadline
) -> tuple[Tensor, Verdict]:
    """Prove the margins of the one example of a problem, `[rows]`, and what follows from them.

    Returns:
        The margins, and the verdict: with its certificate where it is certified.
    """
    return _verdict(problem, around, *proved_margins(around, deadline))


def by_start(problem: Problem, around: UnrolledProblem) -> tuple[Tensor, Verdict]:
    """Prove the same with CROWN's slopes, without a program; see `by_triangles`."""
    unrolled, lines, goals = around.unrolled, around.lines, around.goals
    slopes = stored(lines.start.expand(len(goals), -1), lines)
    margins = prove(unrolled, lines, goals, around.x, around.region, slopes)
    return _verdict(problem, around, margins, slopes)


def _verdict(
    problem: Problem, around: UnrolledProblem, margins: Tensor, slopes: Tensor
) -> tuple[Tensor, Verdict]:
    (verdict,) = verdicts(problem, margins[None])
    if verdict.status is Status.CERTIFIED:
        none = torch.zeros(0)
        leaves = [Leaf(row, (), none, own) for row, own in enumerate(slopes)]
        verdict = replace(verdict, certificate=around.certificate(leaves))
    return margins, verdict
