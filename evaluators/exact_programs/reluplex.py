"""Pairs of a (leaky) ReLU in a simplex tableau: repaired one at a time, split on demand."""

from collections import Counter
from fractions import Fraction

from evaluators.exact_programs.decide import Emptiness
from evaluators.exact_programs.simplex import OutOfTimeError, Simplex
from evaluators.exact_programs.system import (
    ONE,
    ExactBounds,
    ExactRow,
    ExactSystem,
    ExactTerms,
    ReLUPair,
)
from evaluators.numerics.deadline import Deadline

REPAIRS = 3
"""Repairs of a pair before it is split."""

ZERO = Fraction(0)


def by_simplex(system: ExactSystem, goal: ExactRow, deadline: Deadline) -> Emptiness | list[float]:
    """Look for a solution of a system with a further row."""
    search = _Search(system, goal, deadline)
    try:
        found = search.solve()
    except OutOfTimeError:
        return Emptiness.UNDECIDED
    if not found:
        return Emptiness.EMPTY
    return [float(value) for value in search.simplex.values[: system.inputs]]


class _Search:
    """Depth first, over the sides of pairs.

    Beside its variables a pair has three rows, valid on both sides (the triangle): output less
    before, output less leak times before, both at least zero, and output less the chord's slope
    times before. A side sets the first or second of them to zero.
    """

    def __init__(self, system: ExactSystem, goal: ExactRow, deadline: Deadline) -> None:
        self.pairs = system.pairs
        rows: list[ExactTerms] = []
        bounds: list[ExactBounds] = list(system.bounds)
        self.first = len(bounds)
        for pair in self.pairs:
            for slope, its in zip((ONE, pair.leak, _chord(pair)), _ranges(pair), strict=True):
                rows.append({pair.output: ONE, **({pair.before: -slope} if slope else {})})
                bounds.append(its)
        for row in (*system.rows, goal):
            rows.append(row.coefficients)
            bounds.append((row.lower, row.upper))
        self.simplex = Simplex(bounds, rows, deadline)

    def solve(self) -> bool:
        """Whether there is a solution, which the simplex then has."""
        simplex, repairs = self.simplex, Counter[int]()
        while simplex.feasible():
            broken = [at for at, pair in enumerate(self.pairs) if not self._holds(pair)]
            if not broken:
                return True
            at = min(broken, key=lambda index: repairs[index])
            repairs[at] += 1
            if repairs[at] > REPAIRS or not self._repair(self.pairs[at]):
                return self._split(at)
        return False

    def _holds(self, pair: ReLUPair) -> bool:
        before, output = self.simplex.values[pair.before], self.simplex.values[pair.output]
        return output == max(before, pair.leak * before)

    def _repair(self, pair: ReLUPair) -> bool:
        """Change the output to what it should be, or else what is before it."""
        simplex = self.simplex
        before, output = simplex.values[pair.before], simplex.values[pair.output]
        wanted = [(pair.output, max(before, pair.leak * before))]
        if output >= 0:
            wanted.append((pair.before, output))
        elif pair.leak:
            wanted.append((pair.before, output / pair.leak))
        for at, value in wanted:
            if not simplex.allows(at, value):
                continue
            if at in simplex.rows:
                partner = next(
                    (o for o in simplex.rows[at] if o != pair.before + pair.output - at), None
                )
                if partner is None or not simplex.allows(at, simplex.values[at]):
                    continue
                simplex.pivot(at, partner)
            simplex.move(at, value)
            return True
        return False

    def _split(self, at: int) -> bool:
        simplex, pair = self.simplex, self.pairs[at]
        active, inactive = self.first + 3 * at, self.first + 3 * at + 1
        sides = ((active, (ZERO, pair.upper)), (inactive, (pair.lower, ZERO)))
        for row, side in sides:
            saved = simplex.bounds[row], simplex.bounds[pair.before]
            simplex.bind(row, (ZERO, ZERO))
            simplex.bind(pair.before, side)
            if self.solve():
                return True
            simplex.bind(row, saved[0])
            simplex.bind(pair.before, saved[1])
        return False


def _chord(pair: ReLUPair) -> Fraction:
    return (pair.upper - pair.leak * pair.lower) / (pair.upper - pair.lower)


def _ranges(pair: ReLUPair) -> tuple[ExactBounds, ExactBounds, ExactBounds]:
    """Of the output less the pair's three slopes times what is before it."""
    height = pair.leak * pair.lower - _chord(pair) * pair.lower
    return (ZERO, None), (ZERO, None), (None, height)
