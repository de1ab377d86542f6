"""VNN-LIB properties: where in which boxes of inputs which outputs are counterexamples.

A file asks for an input and its output that meet all of its assertions. Its normal form is a list
of cases: a box of inputs, and the disjuncts of which each is a conjunction of linear constraints on
the outputs. There is a counterexample where one case has an input in its box whose output meets one
of its disjuncts. Everything is exact.
"""

from functools import cache
from pathlib import Path

from evaluators.network.constraint import Disjunct, Relations
from evaluators.network.specification import Case, ExactBox, Specification
from leaderboard.common.errors import InputError
from leaderboard.common.packed import read_packed
from leaderboard.vnncomp.formula import Assertions, Bound, Conjunction
from leaderboard.vnncomp.syntax import parse

MAX_PROPERTY_BYTES = 2**28


def read_vnnlib(path: Path) -> Specification:
    """Read a `.vnnlib` file, packed (`.gz`) or not.

    Raises:
        InputError: the file cannot be read, or is not VNN-LIB as far as it is read here.
    """
    return parse_vnnlib(_text(path), path.name)


def parse_vnnlib(text: str, title: str) -> Specification:
    """Read the text of a file.

    Raises:
        InputError: what is wrong, in which line, and what is allowed.
    """
    formula = parse(text, title)
    for index, (lower, upper) in formula.common.bounds.items():
        if lower is not None and upper is not None and lower > upper:
            raise InputError(
                f"{title}: no input X_{index} is at least {lower} and at most {upper}."
            )
    # By the box; where an alternative has no bounds of its own, by its identity, for there may be
    # many, and fractions are slow to hash.
    cases: dict[ExactBox | int, tuple[ExactBox, list[tuple[Disjunct, Relations]]]] = {}
    alternatives, whole = formula.alternatives[::-1], cache(lambda: _box(formula, {}, title))
    formula.alternatives.clear()
    while alternatives:  # each is let go once it is read: there may be many thousands
        one = alternatives.pop()
        box = _box(formula, one.bounds, title) if one.bounds else whole()
        if box is not None:
            relations = (*formula.common.relations, *one.relations)
            # What a relation says of all inputs of the box together is weaker, and holds.
            weaker = (each.within(box.lower, box.upper) for each in relations)
            disjunct = (*formula.common.rows, *one.rows, *weaker)
            key = box if one.bounds else id(box)
            cases.setdefault(key, (box, []))[1].append((disjunct, relations))
    if not cases:
        raise InputError(f"{title}: no input meets the conditions on inputs.")
    return Specification(
        formula.inputs,
        formula.outputs,
        tuple(
            Case(box, tuple(one for one, _ in disjuncts), tuple(one for _, one in disjuncts))
            for box, disjuncts in cases.values()
        ),
        formula.shape,
    )


def _box(formula: Assertions, own: dict[int, Bound], title: str) -> ExactBox | None:
    """The box of what always holds and of one alternative's own bounds; None when it is empty."""
    bounds = formula.common.joined(Conjunction(own)).bounds if own else formula.common.bounds
    lower, upper = [], []
    for index in range(formula.inputs):
        least, most = bounds.get(index, (None, None))
        if least is None or most is None:
            side = "lower" if least is None else "upper"
            raise InputError(
                f"{title}: the input X_{index} has no {side} bound; every input needs both, such as"
                f" (assert (<= X_{index} 1.0))."
            )
        if least > most:
            return None
        lower.append(least)
        upper.append(most)
    return ExactBox(tuple(lower), tuple(upper))


def _text(path: Path) -> str:
    try:
        return read_packed(path, MAX_PROPERTY_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; a VNN-LIB property is needed.") from None
