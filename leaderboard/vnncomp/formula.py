"""What a VNN-LIB file says: alternatives, each a conjunction of exact linear conditions."""

from dataclasses import dataclass, field
from fractions import Fraction

from evaluators.network.constraint import Constraint, Relation

Bound = tuple[Fraction | None, Fraction | None]
"""The least and the largest value of an input, where known."""


@dataclass
class Conjunction:
    """Conditions that hold together: of single inputs, of outputs, and of several of both."""

    bounds: dict[int, Bound] = field(default_factory=dict)
    rows: list[Constraint] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)

    def bound(self, index: int, lower: Fraction | None, upper: Fraction | None) -> None:
        """Narrow an input's range."""
        old = self.bounds.get(index)
        if old is not None:
            lower = old[0] if lower is None else lower if old[0] is None else max(lower, old[0])
            upper = old[1] if upper is None else upper if old[1] is None else min(upper, old[1])
        self.bounds[index] = (lower, upper)

    def joined(self, other: "Conjunction") -> "Conjunction":
        """Return what both say together."""
        relations = self.relations + other.relations
        result = Conjunction(dict(self.bounds), self.rows + other.rows, relations)
        for index, (lower, upper) in other.bounds.items():
            result.bound(index, lower, upper)
        return result


@dataclass(frozen=True)
class Assertions:
    """A file's content: how many inputs and outputs, what always holds, and the alternatives."""

    inputs: int
    outputs: int
    common: Conjunction
    alternatives: list[Conjunction]
    shape: tuple[int, ...] | None = None
    """Of the input, where it is declared."""
