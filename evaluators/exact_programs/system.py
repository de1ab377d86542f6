"""A counterexample as the solution of exact linear rows and of pairs of a (leaky) ReLU.

The rows are those of an unrolled network: a unit's pre-activation is its row's value up to `lost`,
what the unrolling's rounding and, where that is asked, float32 runs lose. So a system without a
solution proves the margin for those, too, and its solution need not be a counterexample.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import torch
from torch import Tensor

from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.unrolled.unrolled_network import Rows
from evaluators.unrolled.unrolled_problem import UnrolledProblem

LEAST = Fraction(1, 2**30)
"""The margin that is proved: a verdict must carry a positive one."""

FINE = 10**6
"""Parts of one, in which a root is rounded up."""

ONE = Fraction(1)

ExactTerms = dict[int, Fraction]
ExactBounds = tuple[Fraction | None, Fraction | None]


@dataclass(frozen=True)
class ExactRow:
    """A sum of variables times coefficients that lies between two numbers; None is endless."""

    coefficients: ExactTerms
    lower: Fraction | None
    upper: Fraction | None


@dataclass(frozen=True)
class ReLUPair:
    """Variables with output = max(before, leak·before), and the bounds of `before`."""

    before: int
    output: int
    leak: Fraction
    lower: Fraction
    upper: Fraction


@dataclass(frozen=True)
class ExactSystem:
    """All that is known of a network in the region around one example.

    Attributes:
        inputs: number of input entries, the first variables.
        bounds: of each variable; None is endless.
        rows: linear constraints.
        pairs: the units.
        goals: for each other class, rows that hold at all inputs whose margin is at most `LEAST`.
    """

    inputs: int
    bounds: tuple[ExactBounds, ...]
    rows: tuple[ExactRow, ...]
    pairs: tuple[ReLUPair, ...]
    goals: tuple[ExactRow, ...]

    @classmethod
    def of(cls, around: UnrolledProblem) -> "ExactSystem | None":
        """The system around an example; None where a number in it is not finite."""
        unrolled, n = around.unrolled, around.unrolled.inputs
        units, layers = unrolled.columns - n, unrolled.layers
        numbers = [around.goals, *(layer.rows for layer in layers)]
        ranges = torch.cat(
            [torch.cat((layer.lower, layer.upper)) for layer in layers] or [around.x]
        )
        if not bool(torch.isfinite(ranges).all()) or not all(map(_finite, numbers)):
            return None
        bounds, balls = _region(around, n + 2 * units)
        pairs, rows = [], []
        for layer in layers:
            for unit in range(len(layer)):
                output = layer.first + unit
                low, high = Fraction(float(layer.lower[unit])), Fraction(float(layer.upper[unit]))
                leak = Fraction(float(around.lines.leak[output - n]))
                pairs.append(ReLUPair(output + units, output, leak, low, high))
                weight, bias, lost = _row(layer.rows, unit)
                before = {column: -value for column, value in weight.items()}
                rows.append(ExactRow({**before, output + units: ONE}, bias - lost, bias + lost))
        outputs: list[ExactBounds] = [(pair.leak * pair.lower, pair.upper) for pair in pairs]
        befores: list[ExactBounds] = [(pair.lower, pair.upper) for pair in pairs]
        variables = (*bounds[:n], *outputs, *befores, *bounds[n:])
        goals = tuple(_goal(around.goals, row) for row in range(len(around.goals)))
        return cls(n, variables, (*balls, *rows), tuple(pairs), goals)


def _finite(rows: Rows) -> bool:
    """Whether all numbers of some rows are finite."""
    return all(bool(torch.isfinite(part).all()) for part in (rows.weight, rows.bias, rows.lost))


def _row(rows: Rows, row: int) -> tuple[ExactTerms, Fraction, Fraction]:
    """A row's coefficients other than zero, its constant, and what it has lost."""
    weight: Tensor = rows.weight[row]
    exact = {int(column): Fraction(float(weight[column])) for column in weight.nonzero()[:, 0]}
    return exact, Fraction(float(rows.bias[row])), Fraction(float(rows.lost[row]))


def _goal(goals: Rows, row: int) -> ExactRow:
    weight, bias, lost = _row(goals, row)
    return ExactRow(weight, None, LEAST - bias + lost)


def _region(around: UnrolledProblem, first: int) -> tuple[list[ExactBounds], list[ExactRow]]:
    """ExactBounds of the inputs, then of their distances from the example, and the rows of both.

    A ball of l1 is exact; of l2 the polytope counts that has the widest l1 ball's and the box's
    sides, which contains it.
    """
    region, low, high = around.region, *(b.flatten() for b in around.unrolled.bounds[0])
    if not isinstance(region, Ball):
        box = zip(low.tolist(), high.tolist(), strict=True)
        return [(Fraction(a), Fraction(b)) for a, b in box], []
    least, most = Fraction(region.low), Fraction(region.high)
    radius, n = region.radius, len(low)
    center = [Fraction(value) for value in around.x.flatten().tolist()]
    inputs: list[ExactBounds] = [(max(c - radius, least), min(c + radius, most)) for c in center]
    if region.norm is Norm.LINF:
        return inputs, []
    reach = radius if region.norm is Norm.L1 else radius * Fraction(isqrt(n * FINE**2) + 1, FINE)
    rows = [ExactRow(dict.fromkeys(range(first, first + n), ONE), None, reach)]
    for entry, c in enumerate(center):
        rows.append(ExactRow({first + entry: ONE, entry: -ONE}, -c, None))
        rows.append(ExactRow({first + entry: ONE, entry: ONE}, c, None))
    return inputs + [(Fraction(0), radius)] * n, rows
