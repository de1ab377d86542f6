"""Exact linear conditions on a network's outputs."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple


class Constraint(NamedTuple):
    """The condition c·y + k <= 0 (`strict`: < 0) on outputs y; `coefficients` leave out zeros."""

    coefficients: Mapping[int, Fraction]
    constant: Fraction
    strict: bool = False

    def holds(self, outputs: Sequence[Fraction]) -> bool:
        """Tell whether outputs meet it, exactly."""
        terms = (factor * outputs[index] for index, factor in self.coefficients.items())
        value = sum(terms, self.constant)
        return value < 0 if self.strict else value <= 0


Disjunct = Sequence[Constraint]
"""Conditions that together make an output a counterexample."""
