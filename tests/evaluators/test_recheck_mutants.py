"""Mutants of certificates: what is accepted must be true, by exact enumeration of linear regions.

A few hundred are tried here, ten thousand by

    CERTBOARD_MUTANTS=10000 pytest -n0 tests/evaluators/test_recheck_mutants.py
"""

import os
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from numpy.random import Generator

from evaluators.network.affine import Dense
from evaluators.network.network import Network
from evaluators.question.certificate import BOX, Certificate
from evaluators.question.norm import Norm
from tests.fixtures import cuts as fixtures
from tests.fixtures.certificates import Cheat, Claim, Maker, least_margin, region_of, widest
from tests.fixtures.checked import recheck
from tests.fixtures.effort import fewer
from tests.fixtures.mutants import MUTATIONS, OF_CUTS, Mutation
from tests.fixtures.tiny import FAMILIES, centers

pytestmark = pytest.mark.slow

MUTANTS = int(os.environ.get("CERTBOARD_MUTANTS", fewer(600, 300)))
KINDS = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual")
LIES = {
    "honest": Cheat(),
    "narrow": Cheat(narrow=0.4),
    "forgetful": Cheat(forget_unproved=True),
    "pretending": Cheat(pretend=True),
}


def origin(kind: str, norm: str, lie: str) -> tuple[Network, Certificate]:
    """A true certificate whose region can hardly grow, or a forged one of a false claim."""
    for seed in range(20):
        network = FAMILIES[kind](seed)
        x = centers(network, seed, 3)[2]
        claim = Claim(x, int(network(x[None].double())[0].argmax()), norm)
        made = widest(network, claim, seed, depth=3, steps=8)
        if made is None:
            continue
        if lie == "honest":
            return network, made
        radius = Fraction(1, 8)
        while radius < 4:  # far enough for the claim to be false
            forged = Maker(network, replace(claim, radius=radius), seed, 3, LIES[lie]).make()
            if forged is not None and not _true(network, forged):
                return network, forged
            radius *= Fraction(5, 4)
    raise AssertionError("no such certificate was found")


def _true(network: Network, made: Certificate) -> bool:
    polygon = region_of(made)
    return bool(polygon) and least_margin(network, polygon, made.label) > 0


@pytest.mark.parametrize("norm", ["linf", "l1", BOX])
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_accepted_mutant_is_false(kind: str, lie: str, norm: str) -> None:
    network, made = origin(kind, norm, lie)
    assert recheck(network, made, exact=True).accepted == (lie == "honest")
    random = np.random.default_rng(list(f"{kind} {lie} {norm}".encode()))
    tries = -(-MUTANTS // (3 * len(LIES) * len(KINDS)))
    assert tried(network, made, MUTATIONS, random, tries)["refused"]


def lowered(network: Network, label: int, by: Fraction) -> Network:
    """With a smaller logit of the label: bounds of neurons stay true, a tight claim does not."""
    *nodes, last = network.nodes
    operation = last.operation
    assert isinstance(operation, Dense)
    assert operation.bias is not None
    bias = operation.bias.clone()
    bias[label] -= float(by)
    changed = Dense(operation.input_shape, operation.output_shape, bias, operation.weight)
    return Network((*nodes, replace(last, operation=changed)))


@cache
def with_cuts(kind: str, seed: int, norm: Norm) -> tuple[Network, Certificate] | None:
    """A certificate that rests on cuts, if the seed's network has one."""
    network = FAMILIES[kind](seed)
    x = centers(network, seed, 3)[2]
    label = int(network(x[None].double())[0].argmax())
    made = fixtures.widest(network, x, label, norm)
    if made is None or not bool((made.leaves.cut >= 0).any()):
        return None
    return network, made


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
@pytest.mark.parametrize("false", [False, True], ids=["true", "false"])
@pytest.mark.parametrize("kind", ["relu 2-4-4-3", "leaky 2-4-3-3", "residual"])
def test_no_accepted_mutant_with_cuts_is_false(kind: str, false: bool, norm: Norm) -> None:
    """Of a claim that is true, and of one that is false by little."""
    seen: Counter[str] = Counter()
    wanted = fewer(3, 2)
    for seed in range(20):
        if (found := with_cuts(kind, seed, norm)) is None:
            continue
        network, made = found
        if false:
            least = least_margin(network, region_of(made), made.label)
            network = lowered(network, made.label, least * Fraction(101, 100))
        assert recheck(network, made, exact=True).accepted != false
        random = np.random.default_rng(list(f"{kind} {seed} {norm} {false}".encode()))
        seen += tried(network, made, OF_CUTS, random, -(-MUTANTS // 60))
        seen["certificates"] += 1
        if seen["certificates"] == wanted:
            break
    assert seen["certificates"] == wanted
    assert seen["refused"]
    assert seen["accepted"] or false


def tried(
    network: Network,
    made: Certificate,
    mutations: tuple[Mutation, ...],
    random: Generator,
    tries: int,
) -> Counter[str]:
    """How many mutants were accepted and refused; none that is false may be accepted."""
    truth = cache(lambda key: _true(network, mutants[key]))
    mutants: dict[tuple[object, ...], Certificate] = {}
    seen: Counter[str] = Counter()
    for _ in range(tries):
        mutant = made
        for kind_of in sorted(random.integers(len(mutations), size=random.choice([1, 1, 2]))):
            mutant = mutations[int(kind_of)](mutant, random)
        found = recheck(network, mutant, exact=False)
        exact = recheck(network, mutant, exact=True)
        seen["accepted" if found.accepted else "refused"] += 1
        # Rounding is charged, never credited.
        assert exact.accepted or not found.accepted, found
        if not exact.accepted:
            assert exact.reason
            continue
        ends = (mutant.box_lower, mutant.box_upper, mutant.x)
        key = (
            mutant.norm, mutant.radius, mutant.low, mutant.high, mutant.label,
            *(None if end is None else end.tobytes() for end in ends),
        )  # fmt: skip
        mutants[key] = mutant
        assert truth(key), f"a false claim was accepted: {key}"
    return seen
