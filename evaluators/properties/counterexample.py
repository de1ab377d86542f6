"""Counterexamples of specifications, replayed as others will replay them.

A counterexample is what was replayed: every number is exact, its inputs lie in the exact box, and
its outputs, which meet a disjunct exactly, are the runtime's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from evaluators.network.specification import Case
from evaluators.properties.boxes import float32_between

OutputsOf = Callable[[NDArray[np.float64]], Sequence[float]]
"""The network's outputs for an input in row-major order."""


@dataclass(frozen=True)
class Counterexample:
    """An input of the box and the runtime's output for it."""

    inputs: tuple[Fraction, ...]
    outputs: tuple[Fraction, ...]


def replay(
    case: Case, witness: NDArray[np.float32], deployed: OutputsOf, exact: OutputsOf
) -> Counterexample | str:
    """Return the counterexample that a witness is, or why it is none.

    Args:
        case: the box and its disjuncts.
        witness: an input, near the box or in it.
        deployed: the runtime, in float32.
        exact: the network in float64.
    """
    chosen = [
        _inside(lower, upper, value)
        for lower, upper, value in zip(
            case.box.lower, case.box.upper, witness.reshape(-1), strict=True
        )
    ]
    inputs = tuple(value for value in chosen if value is not None)
    if len(inputs) < len(chosen):
        return "an input's range holds no decimal number of float64"
    doubles = np.array([float(value) for value in inputs])
    # As a reader of the decimal numbers gets them: to float64, then to float32.
    theirs = [float(y) for y in deployed(doubles.astype(np.float32).astype(np.float64))]
    ours = [float(y) for y in exact(doubles)]
    if not np.isfinite(theirs).all() or not np.isfinite(ours).all():
        return "the outputs are not finite"
    in_float32, in_float64 = (tuple(map(Fraction, values)) for values in (theirs, ours))
    related = case.relations or ((),) * len(case.disjuncts)
    broken = edge = False
    for disjunct, relations in zip(case.disjuncts, related, strict=True):
        if all(row.holds(in_float32) and row.holds(in_float64) for row in disjunct):
            outputs = (in_float32, in_float64)
            if all(one.holds(inputs, y) for one in relations for y in outputs):
                return Counterexample(inputs, in_float32)
            broken = True
        edge |= all(row._replace(strict=False).holds(in_float64) for row in disjunct)
    if broken:
        return "a candidate breaks a condition between inputs, or one that bounds them strictly"
    for where, values in (("onnxruntime", in_float32), ("float64", in_float64)):
        if any(all(row.holds(values) for row in disjunct) for disjunct in case.disjuncts):
            return f"a candidate is a counterexample in {where} only"
    if edge and any(row.strict for disjunct in case.disjuncts for row in disjunct):
        return "a candidate lies at the edge of a strict condition, which proofs do not exclude"
    return "a candidate is no counterexample in onnxruntime, nor in float64"


def _inside(lower: Fraction, upper: Fraction, wanted: np.float32) -> Fraction | None:
    """A decimal number between two others, near `wanted`, a float32 if there is one."""
    value = Fraction(float(wanted))
    if lower <= value <= upper:
        return value
    end = lower if value < lower else upper
    if (single := float32_between(lower, upper, end)) is not None:
        return Fraction(float(single))
    # No float32 lies between them, such as for a fixed 0.1.
    for candidate in (end, Fraction(float(end))):
        if lower <= candidate <= upper and _is_decimal(candidate):
            return candidate
    return None


def _is_decimal(value: Fraction) -> bool:
    """Whether a number has finitely many decimals."""
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1
