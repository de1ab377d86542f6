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


class Relation(NamedTuple):
    """The condition a·x + c·y + k <= 0 (or < 0) on inputs x and outputs y."""

    inputs: Mapping[int, Fraction]
    outputs: Constraint

    def holds(self, inputs: Sequence[Fraction], outputs: Sequence[Fraction]) -> bool:
        """Tell whether inputs and outputs meet it, exactly."""
        shift = sum((a * inputs[index] for index, a in self.inputs.items()), Fraction(0))
        moved = self.outputs._replace(constant=self.outputs.constant + shift)
        return moved.holds(outputs)

    def within(self, lower: Sequence[Fraction], upper: Sequence[Fraction]) -> Constraint:
        """Return what follows for the outputs of all inputs of a box."""
        ends = (a * (lower if a > 0 else upper)[index] for index, a in self.inputs.items())
        return self.outputs._replace(constant=sum(ends, self.outputs.constant))


Relations = Sequence[Relation]
"""Conditions that hold together."""
