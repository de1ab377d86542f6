"""The triangle relaxation of an unrolled network as a linear program, solved by HiGHS.

Every unit a = max(z, leak·z) with z in [l, u], l < 0 < u, is held between its two lines below and
its chord above (Ehlers 2017, arXiv 1705.01320); a split unit is on the line of its side. Of a
linear program's duals only one number a unit matters: `through`, by which a row's value changes
with the unit's pre-activation. From it follow the slope of the unit's line below (or the β
multiplier of its split) with which the backward walk of `unrolled/proof.py` has the program's value
(Salman et al. 2019, arXiv 1902.08722, theorem 3): weak duality holds for any numbers, so a solver
that errs costs tightness and never soundness.
"""

from copy import deepcopy
from typing import NamedTuple

import highspy
import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used
import torch
from highspy import HighsModelStatus
from numpy.typing import NDArray
from torch import Tensor

from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Unrolled

Float64Array = NDArray[np.float64]

FREE = highspy.kHighsInf

BEYOND = 2.0
"""How many times a row's size the bound of a domain without a point is put above zero."""

TINY = 1e-12
"""Float64Array of a unit up to which its slope does not matter."""


class Solution(NamedTuple):
    """What a linear program gave.

    Attributes:
        value: its least value as the solver says; infinite where it says that there is no point.
        through: by how much the value changes with each unit's pre-activation, `[units]`.
        point: where the value is taken, `[inputs, outputs of units, pre-activations]`; or None.
        prices: by how much it falls with the right side of each added row, `[added rows]`.
    """

    value: float
    through: Float64Array
    point: Float64Array | None
    prices: Float64Array = np.zeros(0)


class Multipliers(NamedTuple):
    """Lines and multipliers of one row, for `unrolled/proof.py`.

    Attributes:
        slopes: of the lines below, float64 `[units]`.
        betas: multipliers of the splits, float64 `[units]`; 0 elsewhere.
        coefficients: of each unit's output where the walk meets it, float64 `[units]`.
    """

    slopes: Tensor
    betas: Tensor
    coefficients: Float64Array


class TriangleProgram:
    """The linear program around one example; rows are minimised over it one after the other.

    A later question starts from the basis of the one before, which takes a few steps where the
    first one takes hundreds. Columns are inputs, then outputs of units, then their pre-activations.
    Rows are, for each unit: what its pre-activation is, the line below with the slope 1, the one
    with the slope `leak`, and the chord.

    Attributes:
        inputs, units: numbers of both.
        leak: of each unit.
        matrix, row_bounds, column_bounds: the program without splits and cost.

    Args:
        unrolled: of (leaky) ReLUs alone; of the region only its hull is known.
        lines: of its units.
    """

    def __init__(self, unrolled: Unrolled, lines: UnitLines) -> None:
        self.inputs, self.units = unrolled.inputs, len(lines.leak)
        self._magnitudes = unrolled.magnitudes().numpy()
        self._layers = [(layer.first, layer.rows.weight.numpy()) for layer in unrolled.layers]
        self._start, self.leak = lines.start.numpy(), lines.leak.numpy()
        self._chord, self._height = (part.numpy() for part in lines.lines[2:])
        self._signs = np.zeros(self.units, dtype=np.int8)
        self._added = 0
        bias = np.concatenate([np.zeros(0), *(layer.rows.bias for layer in unrolled.layers)])
        zero, endless = np.zeros(self.units), np.full(self.units, FREE)
        self.row_bounds = (
            np.concatenate((bias, zero, zero, -endless)),
            np.concatenate((bias, endless, endless, self._height)),
        )
        low, high = (bound.flatten().numpy() for bound in unrolled.bounds[0])
        self.column_bounds = (
            np.concatenate((low, -endless, -endless)),
            np.concatenate((high, endless, endless)),
        )
        self.matrix = self._rows()
        self._solver = highs(self.matrix, self.row_bounds, self.column_bounds)
        self._split = self.matrix, self.row_bounds, self.column_bounds

    def gaps(self, solution: Solution) -> Float64Array:
        """How far each unit's output is from its function's value at a solution, `[units]`."""
        assert solution.point is not None
        output, z = np.split(solution.point[self.inputs :], 2)
        gaps: Float64Array = np.abs(output - np.maximum(z, self.leak * z))
        return gaps

    def _rows(self) -> "scipy.sparse.csr_array":
        """All coefficients, `[4 · units, inputs + 2 · units]`."""
        n, units = self.inputs, self.units
        unit, one = np.arange(units), np.ones(units)
        parts = [(unit, n + units + unit, one)]
        for first, weight in self._layers:
            row, column = weight.nonzero()
            parts.append((first - n + row, column, -weight[row, column]))
        for block, slope in enumerate((one, self.leak, self._chord), start=1):
            rows = block * units + unit
            parts += [(rows, n + unit, one), (rows, n + units + unit, -slope)]
        rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        kept = values != 0
        places = rows[kept], columns[kept]
        return scipy.sparse.csr_array((values[kept], places), shape=(4 * units, n + 2 * units))

    def split(self, signs: NDArray[np.int8]) -> None:
        """Put units on the line of their side: 1 for z >= 0, -1 for z <= 0, 0 for neither."""
        first, solver = self.inputs + self.units, self._solver
        if self._split[0] is self.matrix:
            self._split = deepcopy(self._split)
        for unit in (signs != self._signs).nonzero()[0].tolist():
            sign, row, column = int(signs[unit]), 3 * self.units + unit, first + unit
            line = (self._chord[unit], 1.0, self.leak[unit])[sign]
            low, high = (0.0 if sign > 0 else -FREE), (0.0 if sign < 0 else FREE)
            height = 0.0 if sign else self._height[unit]
            solver.changeColBounds(column, low, high)
            solver.changeCoeff(row, column, -line)
            solver.changeRowBounds(row, -FREE, height)
            matrix, rows, columns = self._split
            matrix[row, column], rows[1][row] = -line, height
            columns[0][column], columns[1][column] = low, high
        self._signs = signs.copy()

    def add(self, outputs: Float64Array, inputs: Float64Array, sides: Float64Array) -> None:
        """Add rows outputs·a + inputs·z <= sides, each `[rows, units]`."""
        rows = scipy.sparse.csr_array(np.concatenate([outputs, inputs], 1))
        count, columns = len(sides), rows.indices.astype(np.int32) + self.inputs
        starts = rows.indptr[:-1].astype(np.int32)
        below = np.full(count, -FREE)
        self._solver.addRows(count, below, sides, rows.nnz, starts, columns, rows.data)
        self._added += count

    def minimize(self, weight: Float64Array, seconds: float = FREE) -> Solution | None:
        """Minimise a row `[inputs and units]` over the relaxation; None where the solver fails."""
        solver, count = self._solver, self.inputs + self.units
        cost = np.zeros(count)
        cost[: len(weight)] = weight
        if not np.isfinite(cost).all():
            return None
        solver.changeColsCost(count, np.arange(count, dtype=np.int32), cost)
        solver.setOptionValue("time_limit", solver.getRunTime() + max(seconds, 0.0))
        solver.run()
        if solver.getModelStatus() == HighsModelStatus.kUnknown:
            solver.clearSolver()  # a basis that it lost itself from
            solver.run()
        status = solver.getModelStatus()
        if status == HighsModelStatus.kOptimal:
            found = solver.getSolution()
            duals, point = np.array(found.row_dual), np.array(found.col_value)
            through, prices = duals[: self.units], -duals[4 * self.units :]
            return Solution(solver.getObjectiveValue(), through, point, prices)
        empty = status == HighsModelStatus.kInfeasible and not self._added
        return self._empty(cost) if empty else None

    def _empty(self, cost: Float64Array) -> Solution | None:
        """What shows that a domain has no point: the rows that exclude each other, times much."""
        _, known, ray = self._solver.getDualRay()
        if not known:
            return None
        ray = np.array(ray)
        through = ray[: self.units]
        matrix, rows, columns = self._split
        lowest = _signed(ray, rows) + _signed(-(matrix.T @ ray), columns)
        if not lowest > 0:
            return None
        size = 1 + np.abs(cost) @ self._magnitudes
        return Solution(np.inf, through * (BEYOND * size / lowest), None)

    def multipliers(
        self, weight: Float64Array, through: Float64Array, pulls: Float64Array | None = None
    ) -> Multipliers:
        """Choose lines with which the walk back passes each unit with `through`, where it may.

        Args:
            weight: the row's, with those of added rows.
            through: what the program's duals want.
            pulls: less by which each unit's pre-activation counts in added rows, `[units]`.
        """
        pulls = np.zeros(self.units) if pulls is None else pulls
        through = through + pulls
        slopes, betas = self._start.copy(), np.zeros(self.units)
        columns = np.zeros(self.inputs + self.units)
        columns[: len(weight)] = weight
        for first, matrix in reversed(self._layers):
            span = slice(first - self.inputs, first - self.inputs + len(matrix))
            a, wanted, signs = (
                columns[first : first + len(matrix)],
                through[span],
                self._signs[span],
            )
            line = np.where(signs > 0, 1.0, np.where(signs < 0, self.leak[span], self._chord[span]))
            free = (signs == 0) & (a > TINY)
            line[free] = np.clip(wanted[free] / a[free], self.leak[span][free], 1.0)
            slopes[span] = np.where(free, line, slopes[span])
            betas[span] = np.where(signs != 0, signs * (a * line - wanted), 0.0).clip(0.0)
            columns[:first] += (a * line - signs * betas[span] - pulls[span]) @ matrix
        coefficients = columns[self.inputs :]
        return Multipliers(torch.from_numpy(slopes), torch.from_numpy(betas), coefficients)


def _signed(rows: Float64Array, bounds: tuple[Float64Array, Float64Array]) -> float:
    """The least sum of rows times values within their bounds; endless ones count as zero."""
    low, high = (np.where(np.isinf(bound), 0.0, bound) for bound in bounds)
    return float(np.where(rows > 0, rows * low, rows * high).sum())


def highs(
    matrix: "scipy.sparse.csr_array",
    rows: tuple[Float64Array, Float64Array],
    columns: tuple[Float64Array, Float64Array],
) -> highspy.Highs:
    """HiGHS with a model, without its output, in this thread.

    Raises:
        UnrollingError: a coefficient is not finite, or a bound no number, on which HiGHS crashes.
    """
    bounds = np.concatenate((*rows, *columns))
    if not np.isfinite(matrix.data).all() or np.isnan(bounds).any():
        raise UnrollingError("bound not finite")
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = matrix.shape
    program.row_lower_, program.row_upper_ = rows
    program.col_lower_, program.col_upper_ = columns
    program.col_cost_ = np.zeros(matrix.shape[1])
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = matrix.indptr
    program.a_matrix_.index_ = matrix.indices
    program.a_matrix_.value_ = matrix.data
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.passModel(program)
    return solver
