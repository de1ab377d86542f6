"""A simplex method in exact arithmetic for bounds alone, which tighten and are given back.

Every row is a variable of its own, with bounds; feasibility is what is looked for (Dutertre and de
Moura 2006, "A Fast Linear-Arithmetic Solver for DPLL(T)"). Bland's choice of the least index makes
it end.
"""

from collections.abc import Sequence
from fractions import Fraction

from evaluators.exact_programs.system import ExactBounds, ExactTerms
from evaluators.numerics.deadline import Deadline


class OutOfTimeError(Exception):
    """The deadline has passed."""


class Simplex:
    """A tableau: each basic variable is a sum of non-basic ones, which are within their bounds.

    Attributes:
        bounds: of each variable; None is endless.
        values: of each variable, right up to the bounds of basic ones.
        rows: of each basic variable, its coefficients of non-basic ones.

    Args:
        bounds: of variables, then of rows.
        rows: coefficients of variables.
        deadline: past it, work ends with `OutOfTimeError`.
    """

    def __init__(
        self, bounds: Sequence[ExactBounds], rows: Sequence[ExactTerms], deadline: Deadline
    ) -> None:
        first = len(bounds) - len(rows)
        self.bounds, self._deadline = list(bounds), deadline
        self.rows = {first + at: dict(row) for at, row in enumerate(rows)}
        self.values = [_nearest(Fraction(0), each) for each in self.bounds[:first]]
        for row in rows:
            self.values.append(sum((c * self.values[at] for at, c in row.items()), Fraction(0)))

    def bind(self, at: int, bounds: ExactBounds) -> None:
        """Give a variable other bounds."""
        self.bounds[at] = bounds
        if at not in self.rows:
            self.move(at, _nearest(self.values[at], bounds))

    def move(self, at: int, value: Fraction) -> None:
        """Give a non-basic variable another value, and basic ones what follows."""
        change = value - self.values[at]
        if change:
            self.values[at] = value
            for basic, row in self.rows.items():
                if at in row:
                    self.values[basic] += row[at] * change

    def allows(self, at: int, value: Fraction) -> bool:
        """Whether a variable's bounds allow a value."""
        return _nearest(value, self.bounds[at]) == value

    def feasible(self) -> bool:
        """Bring all variables within their bounds; False where none of their values are."""
        while True:
            if self._deadline.passed:
                raise OutOfTimeError
            wrong = [at for at in self.rows if not self.allows(at, self.values[at])]
            if not wrong:
                return True
            basic = min(wrong)
            target = _nearest(self.values[basic], self.bounds[basic])
            other = self._partner(basic, target > self.values[basic])
            if other is None:
                return False
            self.pivot(basic, other)
            self.move(basic, target)

    def _partner(self, basic: int, rise: bool) -> int | None:
        """The first non-basic variable that can move a basic one up, or down."""
        for at, coefficient in sorted(self.rows[basic].items()):
            end = self.bounds[at][(coefficient > 0) == rise]
            if end is None or end != self.values[at]:
                return at
        return None

    def pivot(self, basic: int, other: int) -> None:
        """Exchange a basic variable for a non-basic one of its row."""
        row = self.rows.pop(basic)
        share = row.pop(other)
        turned = {at: -coefficient / share for at, coefficient in row.items()}
        turned[basic] = 1 / share
        for changed in self.rows.values():
            factor = changed.pop(other, None)
            if factor is None:
                continue
            for at, coefficient in turned.items():
                total = changed.get(at, 0) + factor * coefficient
                if total:
                    changed[at] = total
                else:
                    changed.pop(at, None)
        self.rows[other] = turned


def _nearest(value: Fraction, bounds: ExactBounds) -> Fraction:
    low, high = bounds
    if low is not None and value < low:
        return low
    return high if high is not None and value > high else value
