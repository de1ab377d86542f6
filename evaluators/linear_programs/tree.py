"""A tree of linear programs: what it closes, bounds in float64 close.

Each node is a domain of splits. Its linear program gives multipliers, with which
`unrolled/proof.py` bounds the row on the domain; a bound above zero closes it. Else the unit whose
output is farthest from its function, times its coefficient, is split. Children start from their
parent's basis.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evaluators.linear_programs.triangle import Multipliers, Solution, TriangleProgram
from evaluators.numerics.deadline import Deadline
from evaluators.unrolled.domains import Leaf, Splits
from evaluators.unrolled.proof import prove, stored
from evaluators.unrolled.unrolled_problem import UnrolledProblem

EXACT = 1e-6
"""Distance of a unit's output from its function that a solver's tolerance explains."""

PointAttack = Callable[[Tensor], Tensor | None]
"""Looks for a witness near points `[points, inputs]`."""


class Tree:
    """The search for proofs of a specification's rows, one after the other.

    Args:
        around: the network unrolled around the example.
        deadline: of everything.
        attack: tries the points at which programs are least.

    Attributes:
        leaves: closed so far.
        open: the domains of each row that are left.
        bounds: proved for each row over the whole region, float64 `[rows]`.
        witness: a checked counterexample.
        note: why the search was given up.
    """

    def __init__(self, around: UnrolledProblem, deadline: Deadline, attack: PointAttack) -> None:
        self.around, self.deadline, self.attack = around, deadline, attack
        self.program = TriangleProgram(around.unrolled, around.lines)
        self.leaves, rows = list[Leaf](), len(around.goals)
        self.open: list[list[Splits]] = [[] for _ in range(rows)]
        self.bounds = torch.full((rows,), -torch.inf, dtype=torch.float64)
        self._closed = [float("inf")] * rows
        self.witness: Tensor | None = None
        self.note = ""

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.witness is not None or bool(self.note)

    def bound(self) -> list[int]:
        """Bound every row without splits; list those that are open, the least bound first."""
        for row in range(len(self.bounds)):
            if not self.over:
                self.bounds[row] = self._bound(row, ())
        return (
            [] if self.over else [row for row in self.bounds.argsort().tolist() if self.open[row]]
        )

    def close(self, row: int, most: float = math.inf) -> bool:
        """Go on with a row for so many domains at most; tell whether it is closed."""
        waiting, count = self.open[row], 0
        while waiting and not self.over and count < most:
            bound = self._bound(row, waiting.pop())
            count += 1
            if bound > 0:
                self._closed[row] = min(self._closed[row], bound)
        if not waiting and not self.over:
            self.bounds[row] = self._closed[row]
        return not waiting

    def _bound(self, row: int, path: Splits) -> float:
        """The proved bound of a domain; one that it does not close gets children."""
        signs = np.zeros(self.program.units, dtype=np.int8)
        for unit, sign in path:
            signs[unit] = sign
        self.program.split(signs)
        weight = self.around.goals.weight[row].numpy()
        solution = self.program.minimize(weight, self.deadline.left)
        if self.deadline.passed or solution is None:
            self.note = "timeout" if self.deadline.passed else "the solver failed"
            return -torch.inf
        chosen = self.program.multipliers(weight, solution.through)
        bound = self._prove(row, path, chosen)
        if not bound > 0:
            self._divide(row, path, solution, chosen)
        return bound

    def _prove(self, row: int, path: Splits, chosen: Multipliers) -> float:
        around, index = self.around, torch.tensor([row])
        slopes = stored(chosen.slopes, around.lines)
        units = torch.tensor([unit for unit, _ in path], dtype=torch.long)
        # In the precision of certificates, so that its proof is about the same numbers.
        betas = torch.zeros_like(chosen.betas).float()
        betas[units] = chosen.betas[units].float()
        signs = torch.zeros(len(betas), dtype=torch.int8)
        signs[units] = torch.tensor([sign for _, sign in path], dtype=torch.int8)
        goal = around.goals.select(index)
        bound = prove(
            around.unrolled,
            around.lines,
            goal,
            around.x,
            around.region,
            slopes[None],
            signs[None] if path else None,
            betas[None] if path else None,
        )
        if float(bound) > 0:
            self.leaves.append(Leaf(row, path, betas[units], slopes))
        return float(bound)

    def _divide(self, row: int, path: Splits, solution: Solution, chosen: Multipliers) -> None:
        """Attack from the least point, and open both halves of a domain."""
        point, first = solution.point, self.program.inputs + self.program.units
        coefficients = np.abs(chosen.coefficients)
        if point is None:
            # It is empty, by too little for a proof: halves are emptier.
            scores, sides = coefficients, (-1, 1)
        else:
            self.witness = self.attack(torch.from_numpy(point[: self.program.inputs])[None])
            gaps = self.program.gaps(solution)
            scores = np.where(gaps > EXACT, gaps * (coefficients + EXACT), 0.0)
        scores[[unit for unit, _ in path]] = 0.0
        unit = int(scores.argmax()) if len(scores) else 0
        if not len(scores) or not scores[unit] > 0:
            self.note = "numerically undecided"
            return
        if point is not None:
            # The side of the least point is looked at first.
            sides = (-1, 1) if point[first + unit] > 0 else (1, -1)
        self.open[row] += [(*path, (unit, sign)) for sign in sides]
