"""Leaf LP: a domain in which every neuron is split is a linear program, whose duals are a proof.

On such a domain the network is affine, and the least margin over it a linear program's value. The
duals of the constraints sign·z >= 0 are multipliers beta with which the bound of `proof.py` is
that value; of an empty domain, those of the least violation, scaled up. Whatever the solver
returns, only that bound closes a domain.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.unrolled.domains import Domains
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Rows, Unrolled

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

_Array = NDArray[np.float64]

OPTIMAL, INFEASIBLE = 0, 2
"""SciPy's statuses of linear programs."""


class LeafSolution(NamedTuple):
    """What the linear program of a domain gave; neither field where the solver fails.

    Attributes:
        betas: β multipliers that should prove it, float32 `[units]`; or None.
        point: an input where the margin is not positive, float64 `[inputs]`; or None.
    """

    betas: Tensor | None
    point: Tensor | None


def solve_leaf(
    unrolled: Unrolled, specification: Rows, lines: UnitLines, domain: Domains
) -> LeafSolution:
    """Solve the linear program (HiGHS) of the only domain given."""
    signs = domain.signs[0].double()
    line = torch.where(signs > 0, 1.0, lines.leak)
    z = _affine(unrolled, line)
    row = specification.select(domain.rows)
    n = unrolled.inputs
    weight = row.weight[:, :n] + (row.weight[:, n:] * line) @ z.weight
    constant = float(row.bias + (row.weight[0, n:] * line) @ z.bias)
    hull = [bound.flatten().numpy() for bound in unrolled.bounds[0]]
    left, right = -(signs[:, None] * z.weight).numpy(), (signs * z.bias).numpy()
    best = _solve(weight[0].numpy(), left, right, hull)
    if best.status == OPTIMAL:
        if best.fun + constant <= 0:
            return LeafSolution(None, torch.from_numpy(best.x))
        return LeafSolution(_multipliers(best), None)
    if best.status != INFEASIBLE:
        return LeafSolution(None, None)
    # The least t with sign·z >= -t everywhere: its duals show that t = 0 is impossible.
    nearest = _solve(
        np.append(np.zeros(n), 1.0),
        np.hstack((left, -np.ones((len(left), 1)))),
        right,
        [np.append(hull[0], 0.0), np.append(hull[1], np.inf)],
    )
    if nearest.status != OPTIMAL or nearest.fun <= 0:
        return LeafSolution(None, None)
    worst = constant - float(np.abs(weight[0].numpy()) @ np.abs(np.stack(hull)).max(0))
    return LeafSolution(_multipliers(nearest) * (2 * (abs(worst) + 1) / nearest.fun), None)


def _affine(unrolled: Unrolled, line: Tensor) -> Rows:
    """All pre-activations as functions of the inputs, each unit on its line."""
    n = unrolled.inputs
    weight, bias = torch.zeros(0, n, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    for layer in unrolled.layers:
        through = layer.rows.weight[:, n:] * line[: layer.first - n]
        now = layer.rows.weight[:, :n] + through @ weight
        shift = layer.rows.bias + through @ bias
        weight, bias = torch.cat((weight, now)), torch.cat((bias, shift))
    return Rows(weight, bias, torch.zeros_like(bias))


def _solve(cost: _Array, left: _Array, right: _Array, hull: list[_Array]) -> "OptimizeResult":
    # Slow to import, and few searches come to a leaf.
    from scipy.optimize import linprog

    return linprog(cost, A_ub=left, b_ub=right, bounds=np.stack(hull, axis=1), method="highs")


def _multipliers(solution: "OptimizeResult") -> Tensor:
    duals = torch.from_numpy(-np.asarray(solution.ineqlin.marginals))
    return duals.clamp(min=0).float()
