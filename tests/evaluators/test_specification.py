"""A specification as a classifier agrees with the specification in exact arithmetic."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators.cascade import Cascade, default_stages
from evaluators.network.affine import Gather
from evaluators.network.constraint import Constraint, Disjunct
from evaluators.network.network import Input, Network, Node
from evaluators.network.specification import specified
from evaluators.numerics.errors import UnsupportedSpecificationError
from evaluators.question.problem import Problem
from evaluators.question.region import Box
from evaluators.question.verdict import Status
from tests.fixtures.exact import run
from tests.fixtures.networks import linear
from tests.fixtures.tiny import FAMILIES

OUTPUTS = 3
IDENTITY = Network((Node("outputs", Input(), (), (OUTPUTS,)),))

numbers = st.fractions(min_value=-9, max_value=9, max_denominator=50)
decimals = st.decimals(-9, 9, allow_nan=False, places=17).map(Fraction)
rows = st.builds(
    Constraint,
    st.dictionaries(st.integers(0, OUTPUTS - 1), numbers | decimals, max_size=OUTPUTS),
    numbers | decimals,
)
specifications = st.lists(st.lists(rows, max_size=6), min_size=1, max_size=4)
points = st.lists(st.floats(-4, 4, width=32), min_size=OUTPUTS, max_size=OUTPUTS)


def row(*coefficients: int, constant: int = 0) -> Constraint:
    return Constraint(
        {index: Fraction(c) for index, c in enumerate(coefficients)}, Fraction(constant)
    )


def value(one: Constraint, outputs: Sequence[Fraction]) -> Fraction:
    """c·y + k in exact arithmetic."""
    return sum((c * outputs[index] for index, c in one.coefficients.items()), one.constant)


def wins(disjuncts: Sequence[Disjunct], outputs: Sequence[float]) -> bool:
    """Whether class 0 is the strict winner, in exact arithmetic on the network's weights."""
    logits = run(specified(IDENTITY, disjuncts), [Fraction(value) for value in outputs])
    assert len(logits) == len(disjuncts) + 1
    return logits[0] > max(logits[1:])


def least_excess(disjuncts: Sequence[Disjunct], outputs: Sequence[float]) -> Fraction:
    """The least, over the disjuncts, of the largest row, in units of its largest coefficient."""
    exact = [Fraction(value) for value in outputs]
    values = []
    for disjunct in disjuncts:
        scaled = [Fraction(0)] if not disjunct else []
        for one in disjunct:
            unit = max((abs(c) for c in one.coefficients.values()), default=Fraction(0))
            scaled.append(value(one, exact) / (unit or 1))
        values.append(max(scaled))
    return min(values)


@pytest.mark.slow
@given(specifications, points)
def test_class_0_wins_exactly_where_there_is_no_counterexample(
    disjuncts: list[list[Constraint]], outputs: list[float]
) -> None:
    exact = [Fraction(value) for value in outputs]
    met = any(all(value(one, exact) <= 0 for one in disjunct) for disjunct in disjuncts)
    won = wins(disjuncts, outputs)
    assert not (won and met)
    # The constants are rounded so that the classifier knows a few counterexamples too many.
    assert won or met or least_excess(disjuncts, outputs) < Fraction(1, 10**9)


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("place", [0, -1])
def test_every_row_takes_part_in_the_maximum(count: int, place: int) -> None:
    """All rows are met but one, the first or the last: no counterexample."""
    disjunct = [row(1, constant=-1)] * count
    disjunct[place] = row(1, constant=1)
    assert wins([disjunct, [row(0, constant=1)]], [0.0, 0.0, 0.0])
    assert not wins([disjunct, [row(0, constant=1)]], [-1.0, 0.0, 0.0])


def test_a_tie_is_a_counterexample() -> None:
    assert not wins([[row(1, -1)]], [0.5, 0.5, 0.0])


def test_a_disjunct_without_rows_is_always_met() -> None:
    assert not wins([[]], [0.0, 0.0, 0.0])
    assert not wins([[row(0, constant=1)], []], [0.0, 0.0, 0.0])


def test_coefficients_that_one_float64_cannot_hold_are_exact() -> None:
    """0.1·y0 - 0.1·y1 as float64 would be fine; 0.1·y0 - 0.3·y1 would not: 3 y1 = y0 is a tie."""
    tenth = Constraint({0: Fraction(1, 10), 1: Fraction(-3, 10)}, Fraction(0))
    assert not wins([[tenth]], [3.0, 1.0, 0.0])
    assert wins([[tenth]], [3.0000002384185791, 1.0, 0.0])
    long = Constraint({0: Fraction(10**40 + 1), 1: Fraction(-(10**40))}, Fraction(0))
    assert wins([[long]], [1.0, 1.0, 0.0])
    assert not wins([[long]], [-1.0, -1.0, 0.0])
    assert any(isinstance(n.operation, Gather) for n in specified(IDENTITY, [[long]]).nodes)


def test_a_constant_is_rounded_to_the_side_of_more_counterexamples() -> None:
    """-3 (2^53 - 3) + k = 0 is a counterexample; the float64 next to k is above it."""
    k = 3 * (2**53 - 3)
    assert Fraction(float(k)) > k
    assert not wins([[row(3, 1, constant=k)]], [-float(2**53 - 3), 0.0, 0.0])


def test_coefficients_too_far_apart_are_refused() -> None:
    with pytest.raises(UnsupportedSpecificationError, match="at most 400"):
        specified(IDENTITY, [[Constraint({0: Fraction(10) ** 130, 1: Fraction(1)}, Fraction(0))]])
    with pytest.raises(UnsupportedSpecificationError, match="too large for float64"):
        specified(IDENTITY, [[Constraint({0: Fraction(1)}, Fraction(10) ** 400)]])


def test_one_row_disjuncts_add_nothing_but_affine_maps() -> None:
    network = FAMILIES["relu 2-4-4-3"](0)
    asked = specified(network, [[row(1, -1)], [row(1, 0, -1)]])
    assert len(asked.nodes) == len(network.nodes) + 2
    x = torch.rand(7, 2, dtype=torch.float64)
    logits, outputs = asked(x), network(x)
    expected = torch.stack((0 * outputs[:, 0], *(outputs[:, 1:] - outputs[:, :1]).T), 1)
    assert torch.allclose(logits, expected)


def test_the_cascade_answers_it() -> None:
    """y0 = a + b, y1 = a - b over a in [1, 2], b in [0, 1]: both at most 3/2 is met, 9/10 is not.

    The least of the larger one is 1, at (1, 0).
    """
    network = linear([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0])
    lower, upper = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[2.0, 1.0]]).double()
    found = []
    for limit in (Fraction(3, 2), Fraction(9, 10)):
        both = [Constraint({0: Fraction(1)}, -limit), Constraint({1: Fraction(1)}, -limit)]
        problem = Problem(
            specified(network, [both]),
            ((lower + upper) / 2).float(),
            torch.tensor([0]),
            Box(lower, upper),
            deployed=False,
        )
        found += Cascade(default_stages())(problem)
    assert [verdict.status for verdict in found] == [Status.FALSIFIED, Status.CERTIFIED]
