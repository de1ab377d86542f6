"""Mutants of certificates: what is accepted must be true, by exact enumeration of linear regions.

A few hundred are tried here, ten thousand by

    CERTBOARD_MUTANTS=10000 pytest -n0 tests/evaluators/test_recheck_mutants.py
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from evaluators.certificate import BOX, Certificate, LayerBounds, Leaves
from evaluators.network import Network
from evaluators.recheck import recheck
from tests.fixtures.certificates import Cheat, Claim, Maker, least_margin, region_of, widest
from tests.fixtures.tiny import FAMILIES, centers

MUTANTS = int(os.environ.get("CERTBOARD_MUTANTS", "600"))
KINDS = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual")
LIES = {
    "honest": Cheat(),
    "narrow": Cheat(narrow=0.4),
    "forgetful": Cheat(forget_unproved=True),
    "pretending": Cheat(pretend=True),
}

Array = NDArray[Any]
Mutation = Callable[[Certificate, Generator], Certificate]


def flip(array: Array, random: Generator) -> Array:
    """One bit of one entry, a new sign, another entry's value, or a shift."""
    if not array.size:
        return array
    changed = array.copy().reshape(-1)
    place = int(random.integers(changed.size))
    kind = int(random.integers(4))
    if kind == 0:
        raw = changed.view(np.uint8)
        width = changed.itemsize
        raw[place * width + int(random.integers(width))] ^= np.uint8(1 << int(random.integers(8)))
    elif kind == 1:
        changed[place] = -changed[place]
    elif kind == 2:
        changed[place] = changed[int(random.integers(changed.size))]
    else:
        step = 1 if changed.dtype.kind == "i" else float(random.normal())
        with np.errstate(all="ignore"):
            changed[place] = changed[place] + np.asarray(step).astype(changed.dtype)
    return changed.reshape(array.shape)


def cut(array: Array, random: Generator) -> Array:
    """Without its last entry, or with its last one twice."""
    longer = random.random() < 0.5 and len(array)
    return np.concatenate((array, array[-1:])) if longer else array[:-1]


def mutate_layer(made: Certificate, random: Generator) -> Certificate:
    node = int(random.choice(list(made.layers)))
    layer = made.layers[node]
    name = str(random.choice([field.name for field in fields(LayerBounds)]))
    change = cut if random.random() < 0.1 else flip
    changed = replace(layer, **{name: change(getattr(layer, name), random)})
    return replace(made, layers={**made.layers, node: changed})


def narrow_layer(made: Certificate, random: Generator) -> Certificate:
    """Bounds of one entry moved inward, which would make every proof easier."""
    node = int(random.choice(list(made.layers)))
    layer = made.layers[node]
    lower, upper = layer.lower.copy(), layer.upper.copy()
    entry = int(random.integers(len(lower)))
    width = upper[entry] - lower[entry]
    lower[entry] += width * random.random() * 10.0 ** -int(random.integers(10))
    upper[entry] -= width * random.random() * 10.0 ** -int(random.integers(10))
    return replace(made, layers={**made.layers, node: replace(layer, lower=lower, upper=upper)})


def mutate_leaves(made: Certificate, random: Generator) -> Certificate:
    name = str(random.choice([field.name for field in fields(Leaves)]))
    change = cut if random.random() < 0.1 else flip
    leaves = replace(made.leaves, **{name: change(getattr(made.leaves, name), random)})
    return replace(made, leaves=leaves)


def chosen_rows(table: Leaves, chosen: list[int]) -> dict[str, Array]:
    """Some of the leaves or cuts, whole."""
    start = table.split_start
    parts = [np.arange(start[leaf], start[leaf + 1]) for leaf in chosen]
    splits = np.concatenate([np.empty(0, dtype=np.int64), *parts])
    return {
        "goal": table.goal[chosen],
        "split_start": np.cumsum([0, *map(len, parts)], dtype=np.int64),
        "split_unit": table.split_unit[splits],
        "split_sign": table.split_sign[splits],
        "split_beta": table.split_beta[splits],
        "slopes": table.slopes[chosen],
        "cut": table.cut[chosen],
    }


def reshuffle(made: Certificate, random: Generator) -> Certificate:
    """A leaf dropped, doubled, or all in another order (which stays a proof)."""
    count = len(made.leaves.goal)
    chosen = list(range(count))
    kind, place = int(random.integers(3)), int(random.integers(count)) if count else 0
    if kind == 0 and count:
        del chosen[place]
    elif kind == 1 and count:
        chosen.append(place)
    else:
        random.shuffle(chosen)
    return replace(made, leaves=Leaves(**chosen_rows(made.leaves, chosen)))


def mutate_claim(made: Certificate, random: Generator) -> Certificate:
    """Another question, answered by the same proof."""
    changed: dict[str, Any] = {}
    kind = int(random.integers(6))
    if kind == 0:
        changed["radius"] = made.radius * Fraction(int(random.integers(1, 200)), 100)
    elif kind == 1:
        changed["label"] = int(random.integers(made.classes))
    elif kind == 2 and made.x is not None:
        changed["x"] = flip(made.x, random)
    elif kind == 3 and made.box_upper is not None:
        side = "box_upper" if random.random() < 0.5 else "box_lower"
        changed[side] = flip(getattr(made, side), random)
    elif kind == 4:
        changed["norm"] = str(random.choice(["linf", "l1", BOX]))
    else:
        side = "low" if random.random() < 0.5 else "high"
        changed[side] = getattr(made, side) + float(random.normal()) / 2
    return replace(made, **changed)


MUTATIONS: tuple[Mutation, ...] = (
    reshuffle,
    narrow_layer,
    mutate_layer,
    mutate_leaves,
    mutate_claim,
)
"""In the order in which they can follow each other: the first ones need whole arrays."""


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
    truth = cache(lambda key: _true(network, mutants[key]))
    mutants: dict[tuple[object, ...], Certificate] = {}
    random = np.random.default_rng(list(f"{kind} {lie} {norm}".encode()))
    seen: Counter[str] = Counter()
    for _ in range(-(-MUTANTS // (3 * len(LIES) * len(KINDS)))):
        mutant = made
        for kind_of in sorted(random.integers(len(MUTATIONS), size=random.choice([1, 1, 2]))):
            mutant = MUTATIONS[int(kind_of)](mutant, random)
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
    assert seen["refused"]
