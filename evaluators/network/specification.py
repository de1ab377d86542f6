"""Specifications: boxes of inputs, linear constraints on the outputs that a network must not meet.

`specified` turns the constraints into a classifier that every method can bound. A counterexample of
a disjunct is an output y that meets all of its constraints, c·y + k <= 0. To the network are
appended one class 0 that is always zero, and for each disjunct a class that is minus the largest
left-hand side: class 0 is the strict winner where the largest one of every disjunct is positive,
that is, where there is no counterexample. A tie is a counterexample, as it must be.

The largest of several rows is written with ReLUs, max(a, b) = a + relu(b - a), pair by pair, so
that methods that split ReLUs stay complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import torch

from evaluators.network.affine import Dense, Gather
from evaluators.network.constraint import Constraint, Disjunct, Relations
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedSpecificationError
from evaluators.numerics.rounding import float_below

MAX_BITS = 400
"""Of the integers that the coefficients of one row become; float64 holds them in eight parts."""

PREFIX = "specification"
"""Of the names of the nodes that are appended."""

_PRECISION = 53


@dataclass(frozen=True)
class ExactBox:
    """All inputs between `lower` and `upper`, entry by entry, both included; exact numbers."""

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]

    def contains(self, point: Sequence[Fraction]) -> bool:
        """Return whether a point lies in the box, exactly."""
        triples = zip(self.lower, point, self.upper, strict=True)
        return all(lower <= value <= upper for lower, value, upper in triples)


@dataclass(frozen=True)
class Case:
    """A box and the disjuncts of which none may hold for the outputs of its inputs.

    Attributes:
        relations: what must hold besides for each disjunct, if any, of inputs and outputs; proofs
            do without it, since it only makes counterexamples fewer; those are checked.
    """

    box: ExactBox
    disjuncts: tuple[Disjunct, ...]
    relations: tuple[Relations, ...] = ()


@dataclass(frozen=True)
class Specification:
    """What a network of so many inputs and outputs must satisfy: no case has a counterexample.

    Attributes:
        shape: of the inputs, in row-major order; None where it is not said.
    """

    inputs: int
    outputs: int
    cases: tuple[Case, ...]
    shape: tuple[int, ...] | None = None


def specified(network: Network, disjuncts: Sequence[Disjunct]) -> Network:
    """Make a network whose class 0 is the strict winner exactly where no disjunct holds.

    Guarantee: where the new network's class 0 is the strict winner in real arithmetic, no disjunct
    holds for the old one's outputs. The converse fails only between a constant k and the float64
    below it, and for equality in a strict constraint, which is asked about as if it were not.

    Raises:
        UnsupportedSpecificationError: coefficients that float64 cannot hold.
    """
    if not disjuncts:
        raise ValueError("A specification needs at least one disjunct.")
    graph = GraphBuilder(list(network.nodes), PREFIX)
    # No constraint at all: every output is a counterexample.
    always = Constraint({}, Fraction(0))
    groups = [list(disjunct) or [always] for disjunct in disjuncts]
    _append_rows(graph, [row for group in groups for row in group], network.classes)
    graph.largest([len(group) for group in groups])
    count = len(groups)
    weight = torch.cat((torch.zeros(1, count), -torch.eye(count))).double()
    graph.add("classes", Dense((count,), (count + 1,), None, weight))
    return Network(tuple(graph.nodes))


def _append_rows(graph: GraphBuilder, rows: Sequence[Constraint], classes: int) -> None:
    exact = [_scaled(row) for row in rows]
    parts = max(len(split) for integers, _ in exact for split in integers.values() or [[0.0]])
    if parts > 1:
        index = torch.arange(classes).repeat(parts)
        graph.add("parts", Gather((classes,), (classes * parts,), None, index))
    weight = torch.zeros(len(rows), classes * parts, dtype=torch.float64)
    for position, (integers, _) in enumerate(exact):
        for output, split in integers.items():
            for part, value in enumerate(split):
                weight[position, part * classes + output] = value
    bias = torch.tensor([constant for _, constant in exact], dtype=torch.float64)
    graph.add("rows", Dense((classes * parts,), (len(rows),), bias, weight))


def _scaled(row: Constraint) -> tuple[dict[int, list[float]], float]:
    """The row times a positive factor that makes it exact: coefficients as sums of float64.

    The factor makes the coefficients integers, then brings the largest near one by a power of two,
    which costs nothing. The constant may be rounded: downward, where it allows no fewer
    counterexamples.
    """
    coefficients = {index: c for index, c in row.coefficients.items() if c}
    factor = Fraction(lcm(*(c.denominator for c in coefficients.values())))
    integers = {index: int(c * factor) for index, c in coefficients.items()}
    divisor = gcd(*integers.values()) or 1
    bits = max((abs(value // divisor).bit_length() for value in integers.values()), default=1)
    if bits > MAX_BITS:
        raise UnsupportedSpecificationError(
            f"The coefficients of one output constraint need {bits} bits side by side; at most"
            f" {MAX_BITS} are supported."
        )
    parts = {index: _floats(value // divisor, bits) for index, value in integers.items()}
    constant = row.constant * factor / divisor / 2 ** (bits - 1)
    try:
        return parts, float_below(constant)
    except OverflowError:
        raise UnsupportedSpecificationError(
            "The constant of an output constraint is too large for float64."
        ) from None


def _floats(value: int, bits: int) -> list[float]:
    """Float64 numbers whose exact sum is value / 2^(bits - 1)."""
    found: list[float] = []
    while value:
        shift = max(0, abs(value).bit_length() - _PRECISION)
        part = (abs(value) >> shift << shift) * (1 if value > 0 else -1)
        found.append(float(Fraction(part, 2 ** (bits - 1))))
        value -= part
    return found
