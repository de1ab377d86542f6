"""The network as a mixed-integer program (Tjeng et al. 2019, arXiv 1711.07356), solved by HiGHS.

A unit on [l, u] has a binary d that says on which side of its kink it is,

    a <= leak·z + (1 - leak)·u·d,    a <= z - (1 - leak)·l·(1 - d),

beside its lines below. Stable neurons have no binary, and l and u are bounds of our own. The
answer is a hint: HiGHS works to tolerances, and has been wrong.
"""

from typing import NamedTuple

import highspy
import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used
from highspy import HighsModelStatus

from evaluators.linear_programs.triangle import FREE, Float64Array, TriangleProgram, highs
from evaluators.unrolled.unit_lines import UnitLines


class Hint(NamedTuple):
    """What the solver says about a margin.

    Attributes:
        positive: that no point of the region has a margin of zero or less.
        point: an input `[inputs]` that has one; or None.
    """

    positive: bool
    point: Float64Array | None


def look(
    program: TriangleProgram, lines: UnitLines, weight: Float64Array, bias: float, seconds: float
) -> Hint:
    """Ask whether a row can be zero or less.

    Args:
        program: of the network without splits.
        lines: of its units.
        weight: of the row, `[inputs and units]`.
        bias: of the row.
        seconds: time for it.
    """
    n, units, leak = program.inputs, program.units, program.leak
    sparse = scipy.sparse
    low, high, none = lines.lower.numpy(), lines.upper.numpy(), sparse.csr_array((units, n))
    eye, zero = sparse.eye_array(units), np.zeros(units)
    below = sparse.hstack([program.matrix[: 3 * units], sparse.csr_array((3 * units, units))])
    off = sparse.hstack(
        [none, eye, sparse.diags_array(-leak), sparse.diags_array((leak - 1) * high)]
    )
    on = sparse.hstack([none, eye, -eye, sparse.diags_array((leak - 1) * low)])
    cost = np.zeros(n + 3 * units)
    cost[: len(weight)] = weight
    matrix = sparse.csr_array(sparse.vstack([below, off, on, sparse.csr_array(cost[None])]))
    floors, ceilings = (bound[: 3 * units] for bound in program.row_bounds)
    solver = highs(
        matrix,
        (
            np.concatenate((floors, np.full(2 * units + 1, -FREE))),
            np.concatenate((ceilings, zero, (leak - 1) * low, [-bias])),
        ),
        (
            np.concatenate((program.column_bounds[0], zero)),
            np.concatenate((program.column_bounds[1], zero + 1)),
        ),
    )
    binaries = np.arange(n + 2 * units, n + 3 * units, dtype=np.int32)
    kinds = np.full(units, highspy.HighsVarType.kInteger)
    solver.changeColsIntegrality(units, binaries, kinds)
    solver.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
    solver.setOptionValue("time_limit", max(seconds, 0.0))
    solver.setOptionValue("mip_max_improving_sols", 1)  # one counterexample is enough
    solver.run()
    status = solver.getModelStatus()
    if status == HighsModelStatus.kInfeasible:
        return Hint(True, None)
    if solver.getInfo().primal_solution_status == highspy.kSolutionStatusFeasible:
        return Hint(False, np.array(solver.getSolution().col_value[:n]))
    return Hint(False, None)
