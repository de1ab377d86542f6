"""A dearer method certifies what a cheaper one does, and its margins are no smaller."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.crown_ibp import CrownIBP
from evaluators.deterministic.ibp import IBP
from evaluators.evaluator import Evaluator
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from tests.fixtures import effort
from tests.fixtures.tiny import FAMILIES, REGIONS, ask, centers

CHEAPER: dict[Evaluator, tuple[Evaluator, ...]] = {
    AlphaCROWN(steps=10): (CROWN(), CrownIBP(), IBP()),
    CROWN(): (IBP(),),
    CrownIBP(): (IBP(),),
}
"""CROWN is not among those above CROWN-IBP: its lines, from narrower bounds, may be worse ones."""

ROUNDING = 1e-9
"""Of margins that are the same but for the order of their sums."""


def question(family: str, seed: int, region: str) -> Problem:
    """Three examples of a tiny network."""
    network = FAMILIES[family](seed)
    return ask(network, centers(network, seed, 3), REGIONS[region])


def is_no_worse(dear: Verdict, cheap: Verdict) -> bool:
    if cheap.margin is None:
        return True
    proved = cheap.status is not Status.CERTIFIED or dear.status is Status.CERTIFIED
    least = cheap.margin - ROUNDING * (1 + abs(cheap.margin))
    return proved and dear.margin is not None and dear.margin >= least


@pytest.mark.slow
@settings(max_examples=effort.examples(80), deadline=None)
@given(st.sampled_from(list(FAMILIES)), st.integers(0, 10**6), st.sampled_from(list(REGIONS)))
def test_a_margin_is_no_less_than_those_of_cheaper_methods(
    family: str, seed: int, region: str
) -> None:
    problem = question(family, seed, region)
    for dear, others in CHEAPER.items():
        found = dear.solve(problem)
        for cheap in others:
            pairs = zip(found, cheap.solve(problem), strict=True)
            assert all(is_no_worse(*pair) for pair in pairs), (dear, cheap)
