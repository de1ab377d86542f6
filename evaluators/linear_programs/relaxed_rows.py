"""Slopes with which rows have the value of their linear programs."""

from torch import Tensor

from evaluators.linear_programs.triangle import TriangleProgram
from evaluators.numerics.deadline import Deadline
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
