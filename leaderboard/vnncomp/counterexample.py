"""Counterexamples in VNN-COMP's format: every number is exact."""

from fractions import Fraction

from evaluators.properties.counterexample import Counterexample


def counterexample_text(found: Counterexample) -> str:
    """Return `((X_0 0.1)`, a line for each number, `(Y_0 2.5))`."""
    numbers = [(f"X_{i}", value) for i, value in enumerate(found.inputs)]
    numbers += [(f"Y_{i}", value) for i, value in enumerate(found.outputs)]
    return "(" + "\n ".join(f"({name} {decimal(value)})" for name, value in numbers) + ")"


def decimal(value: Fraction) -> str:
    """Write a number that has finitely many decimals, exactly."""
    # A denominator 2^a·5^b divides 10^max(a, b), and 5^b is more than 2^b.
    places = value.denominator.bit_length() - 1
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    whole, part = (digits[:-places], digits[-places:]) if places else (digits, "")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{part.rstrip('0') or '0'}"
