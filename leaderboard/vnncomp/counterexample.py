"""Counterexamples of VNN-LIB properties: replayed as they will be by others, and written down.

What is written is what was replayed: every number is exact, its inputs lie in the exact box, and
its outputs, which meet a disjunct exactly, are the runtime's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from leaderboard.vnncomp.property import Case

Floats = NDArray[np.float32]
Run = Callable[[NDArray[np.float64]], Sequence[float]]
"""The network's outputs for an input in row-major order."""


@dataclass(frozen=True)
class Counterexample:
    """An input of the box and the runtime's output for it."""

    inputs: tuple[Fraction, ...]
    outputs: tuple[Fraction, ...]

    def text(self) -> str:
        """In VNN-COMP's format: `((X_0 0.1)`, a line for each number, `(Y_0 2.5))`."""
        numbers = [(f"X_{i}", value) for i, value in enumerate(self.inputs)]
        numbers += [(f"Y_{i}", value) for i, value in enumerate(self.outputs)]
        return "(" + "\n ".join(f"({name} {decimal(value)})" for name, value in numbers) + ")"


def replay(case: Case, witness: Floats, deployed: Run, exact: Run) -> Counterexample | str:
    """The counterexample that a witness is, or why it is none.

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
    for disjunct in case.disjuncts:
        if all(row.holds(in_float32) and row.holds(in_float64) for row in disjunct):
            return Counterexample(inputs, in_float32)
    for where, values in (("onnxruntime", in_float32), ("float64", in_float64)):
        if any(all(row.holds(values) for row in disjunct) for disjunct in case.disjuncts):
            return f"a candidate is a counterexample in {where} only"
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


def float32_between(lower: Fraction, upper: Fraction, near: Fraction) -> np.float32 | None:
    """A float32 between two numbers, next to one of them or to `near`; None if there is none."""
    with np.errstate(over="ignore"):
        first = np.float32(float(near))
    ends = (np.float32(np.inf), np.float32(-np.inf))
    candidates: list[np.float32] = [first, *(np.nextafter(first, end) for end in ends)]
    for value in candidates:
        if np.isfinite(value) and lower <= Fraction(float(value)) <= upper:
            return value
    return None


def _is_decimal(value: Fraction) -> bool:
    """Whether a number has finitely many decimals."""
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1


def decimal(value: Fraction) -> str:
    """A number with finitely many decimals, exactly."""
    # A denominator 2^a·5^b divides 10^max(a, b), and 5^b is more than 2^b.
    places = value.denominator.bit_length() - 1
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    whole, part = (digits[:-places], digits[-places:]) if places else (digits, "")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{part.rstrip('0') or '0'}"
