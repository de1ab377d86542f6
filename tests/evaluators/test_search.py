"""The domains of a search cover the region, and only a proof closes one of them."""

from dataclasses import replace
from fractions import Fraction
from functools import partial

import pytest
import torch
from torch import Tensor

from evaluators.branching.babsr import babsr
from evaluators.branching.fsb import fsb
from evaluators.branching.leaf_lp import solve_leaf
from evaluators.branching.search import advance, finish, start
from evaluators.branching.state import Search, State
from evaluators.branching.tuning import Tuning
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.memory import memory
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.domains import Cut, Domains, Leaf
from evaluators.unrolled.proof import prove
from evaluators.unrolled.unit_lines import UnitBounds
from tests.fixtures.certificates import least_margin
from tests.fixtures.effort import fewer, first_alone, only
from tests.fixtures.searching import no_witness, pretending
from tests.fixtures.unrolled import PIECEWISE, TELLING, about, around

TUNING = Tuning(root=Rates(3), child=Rates(3, slope=0.2))


def domains(count: int = 5, units: int = 4, seed: int = 0) -> Domains:
    """Each with a cut of its own."""
    generator = torch.Generator().manual_seed(seed)
    none, ends = torch.zeros(0), UnitBounds(torch.zeros(units), torch.ones(units))
    leaf = Leaf(0, (), none, torch.zeros(units).half())
    return Domains(
        torch.randint(0, 3, (count,), generator=generator),
        torch.randn(count, generator=generator),
        torch.rand(count, units, generator=generator).half(),
        torch.rand(count, units, generator=generator),
        torch.zeros(count, units, dtype=torch.int8),
        [((row, 1),) for row in range(count)],
        [Cut(None, leaf, 1.0 + row, none, none, none, ends) for row in range(count)],
    )


def rows_of(some: Domains) -> list[tuple[object, ...]]:
    """Every domain as a whole: what belongs together stays together."""
    tensors = (some.rows, some.bounds, some.slopes, some.betas, some.signs)
    lists = [tensor.tolist() for tensor in tensors]
    parts = zip(*lists, some.paths, map(id, some.cuts), strict=True)
    return [tuple(map(repr, part)) for part in parts]


def test_selecting_and_joining_keep_domains_whole() -> None:
    some, others = domains(5), domains(3, seed=1)
    whole, rest = rows_of(some), rows_of(others)
    assert rows_of(some.select(torch.tensor([3, 0]))) == [whole[3], whole[0]]
    assert rows_of(some.join(others)) == whole + rest
    none = some.select(torch.zeros(0, dtype=torch.long))
    assert rows_of(none.join(some)) == rows_of(some.join(none)) == whole


@pytest.mark.parametrize("count", [1, 3, 5, 9])
def test_the_best_and_the_others_are_all(count: int) -> None:
    some = domains(5)
    best, others = some.best(count)
    assert len(best) == min(count, 5)
    assert sorted(rows_of(best) + rows_of(others)) == sorted(rows_of(some))
    if len(others):
        assert float(best.bounds.min()) >= float(others.bounds.max())


def test_children_are_both_halves_of_each_domain() -> None:
    some, units = domains(5), torch.tensor([0, 3, 2, 2, 1])
    children = some.children(units)
    assert len(children) == 10
    for row, unit in enumerate(units.tolist()):
        for child, sign in ((row, 1), (row + 5, -1)):
            assert children.paths[child] == (*some.paths[row], (unit, sign))
            expected = some.signs[row].clone()
            expected[unit] = sign
            assert torch.equal(children.signs[child], expected)
            assert int(children.rows[child]) == int(some.rows[row])
            assert torch.equal(children.betas[child], some.betas[row])
            assert torch.equal(children.slopes[child], some.slopes[row])
            assert children.cuts[child] is some.cuts[row]
    assert bool((some.signs == 0).all())


def test_leaves_tell_the_multipliers_of_their_splits() -> None:
    some = replace(domains(2), paths=[((2, 1), (0, -1)), ()])
    first, root = some.leaves()
    assert (first.goal, first.path) == (int(some.rows[0]), ((2, 1), (0, -1)))
    assert torch.equal(first.betas, some.betas[0, [2, 0]])
    assert torch.equal(first.slopes, some.slopes[0])
    assert (first.cut, root.cut) == (some.cuts[0], some.cuts[1])
    assert len(root.betas) == 0


def searching(
    name: str, radius: Fraction, seconds: float = 20.0, seed: int = 0, tuning: Tuning = TUNING
) -> Search:
    network = PIECEWISE[name](seed)
    x = torch.tensor([0.5, 0.25])
    label = int(network(x[None].double())[0].argmax())
    region = Ball(Norm.LINF, radius, -9.0, 9.0)
    problem = replace(about(network, region, x, label), evidence=True)
    return Search(around(problem), Deadline(seconds), tuning)


def started(tuning: Tuning = TUNING) -> State:
    """A search after its bounds without splits, with open domains."""
    (state,) = start([searching("relu 2-4-4-3", Fraction(1, 2), tuning=tuning)])
    assert len(state.open)
    return state


def true_margin(name: str, radius: Fraction, seed: int) -> Fraction:
    network = PIECEWISE[name](seed)
    label = int(network(torch.tensor([[0.5, 0.25]]).double())[0].argmax())
    a, b = Fraction(1, 2), Fraction(1, 4)
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return least_margin(network, [[a + i * radius, b + j * radius] for i, j in corners], label)


def covers(paths: list[tuple[tuple[int, int], ...]]) -> bool:
    """Whether splits are the leaves of one complete binary tree."""
    if paths == [()]:
        return True
    heads = {path[0] for path in paths if path}
    units = {unit for unit, _ in heads}
    if len(units) != 1 or () in paths or {sign for _, sign in heads} != {1, -1}:
        return False
    return all(covers([path[1:] for path in paths if path[0] == head]) for head in heads)


@pytest.mark.parametrize(
    "name", only(["relu 2-4-4-3", "leaky 2-4-3-3", "residual", "read twice"], TELLING)
)
def test_closed_and_open_domains_together_cover_the_region(name: str) -> None:
    """After every round, also where batches leave some behind; for each row."""
    tuning, rounds = replace(TUNING, batch=(2, 2), child=Rates(2, slope=0.2)), 0
    for seed in range(fewer(4, 2)):
        (state,) = start([searching(name, Fraction(1, 2), seed=seed, tuning=tuning)])
        for _ in range(12):
            for row in range(len(state.roots)):
                closed = [leaf.path for leaf in state.leaves if leaf.goal == row]
                left = zip(state.open.paths, state.open.rows.tolist(), strict=True)
                assert covers(closed + [path for path, its in left if its == row])
            if state.over:
                break
            (state,) = advance([state], no_witness)
            rounds += 1
    assert rounds > 4


@pytest.mark.parametrize("name", first_alone(["leaky 2-4-3-3", "relu 2-4-4-3", "residual"]))
def test_what_is_closed_is_proved_and_what_is_proved_is_true(name: str) -> None:
    done = 0
    for seed in range(4):
        for radius in (Fraction(1, 8), Fraction(1, 3)):
            search = searching(name, radius, seed=seed)
            state = finish(search, no_witness)
            assert state.witness is None
            least, bounds = true_margin(name, radius, seed), state.lower_bounds()
            assert Fraction(float(bounds.min())) <= least
            if len(state.open):
                assert state.note == "numerically undecided"
                assert least < Fraction(1, 10**4)
                continue
            done += 1
            assert least > 0
            for leaf in state.leaves:
                signs = torch.zeros(1, search.system.units, dtype=torch.int8)
                betas = torch.zeros(1, search.system.units)
                for (unit, sign), beta in zip(leaf.path, leaf.betas, strict=True):
                    signs[0, unit], betas[0, unit] = sign, beta
                (bound,) = prove(
                    search.around.unrolled,
                    search.lines,
                    search.specification.select(slice(leaf.goal, leaf.goal + 1)),
                    search.around.x,
                    search.around.region,
                    leaf.slopes[None],
                    signs,
                    betas,
                )
                assert bound > 0
                assert float(bounds[leaf.goal]) <= float(bound) or leaf.path == ()
    assert done


def test_a_bound_that_float32_alone_sees_closes_nothing() -> None:
    state = started()
    hopeful = replace(state.open, bounds=torch.ones(len(state.open)))
    before = len(state.leaves)
    values = iter((0.0, -1e-9, float("nan")))
    state = pretending(state, lambda some: torch.full((len(some),), next(values)).double())
    for _ in range(3):
        state, left = state.close(hopeful)
        assert rows_of(replace(left, bounds=hopeful.bounds)) == rows_of(hopeful)
        # What was thought is corrected by what was proved, but for a number that is none.
        assert bool((left.bounds <= hopeful.bounds).all())
    assert len(state.leaves) == before


def test_the_search_aims_above_what_rounding_takes_from_a_proof() -> None:
    state = started()
    hopeful = replace(state.open, bounds=torch.ones(len(state.open)))
    before = state.search.batch(hopeful, state.rounding).constant
    proved = torch.full((len(hopeful),), -0.5, dtype=torch.float64)
    state, left = pretending(state, lambda _: proved).close(hopeful)
    assert bool((left.bounds <= -0.5).all())
    lowered = before - state.search.batch(hopeful, state.rounding).constant
    assert bool((lowered >= 1.5).all())


def test_of_two_proofs_the_worse_one_bounds_the_row() -> None:
    state = started()
    row = int(state.open.rows[0])
    one = state.open.select(torch.tensor([0, 0]))
    children = replace(one, bounds=torch.ones(2))
    values = torch.tensor([0.25, 0.5], dtype=torch.float64)
    state, left = pretending(state, lambda _: values).close(children)
    assert len(left) == 0
    assert float(state.closed[row]) == 0.25


def test_open_domains_count_when_time_is_up() -> None:
    state = started()
    state = replace(
        state, closed=torch.ones_like(state.closed), roots=torch.full_like(state.roots, -torch.inf)
    )
    open_, bounds = set(state.open.rows.tolist()), state.lower_bounds()
    for row in range(len(bounds)):
        assert (float(bounds[row]) <= 0) == (row in open_)


def test_too_many_open_domains_are_not_proved() -> None:
    state = started(replace(TUNING, proved_late=0))
    bounds = replace(state, closed=torch.full_like(state.closed, torch.inf)).lower_bounds()
    for row in state.open.rows.tolist():
        assert float(bounds[row]) == float(state.roots[row])


def test_the_proof_has_the_open_domains_that_turned_out_positive() -> None:
    state = started()
    assert len(state.proof()) == len(state.leaves) + len(state.open)
    near = state.search.around
    without = replace(near, problem=replace(near.problem, evidence=False))
    assert replace(state, search=Search(without, Deadline())).proof() == []


def test_a_search_ends_with_its_time_or_its_memory() -> None:
    late = finish(searching("relu 2-4-4-3", Fraction(1, 2), seconds=0.0), no_witness)
    assert late.witness is None
    assert late.note == "timeout"
    search = searching("relu 2-4-4-3", Fraction(1, 2))
    with memory(1):
        full = finish(search, no_witness)
    assert full.witness is None
    assert full.note == "out of memory for domains"


def leaf_of(search: Search, row: int, signs: Tensor) -> Domains:
    units = search.system.units
    return Domains(
        torch.tensor([row]),
        torch.tensor([-1.0]),
        torch.ones(1, units).half(),
        torch.zeros(1, units),
        signs[None],
        [tuple(enumerate(signs.tolist()))],
        [None],
    )


@pytest.mark.parametrize("name", first_alone(["leaky 2-4-3-3", "relu 2-3-2", "relu 2-4-4-3"]))
def test_a_leaf_has_a_proof_or_a_point(name: str) -> None:
    """Also of signs that no input has: then anything is proved."""
    proofs, points, empty = 0, 0, 0
    for seed in range(8):
        search = searching(name, Fraction(1, 2), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(4):
            signs = (torch.randint(0, 2, (search.system.units,), generator=generator) * 2 - 1).to(
                torch.int8
            )
            domain = leaf_of(search, 0, signs)
            near = search.around
            found = solve_leaf(near.unrolled, search.specification, search.lines, domain)
            if found.betas is not None:
                assert bool((found.betas >= 0).all())
                (bound,) = search.prove(replace(domain, betas=found.betas[None]))
                assert float(bound) > -1e-4
                proofs += float(bound) > 0
                empty += bool((found.betas > 1).any())
            elif found.point is not None:
                network = near.unrolled.network
                logits = network(found.point.reshape(1, 2))[0]
                label = int(network(torch.tensor([[0.5, 0.25]]).double())[0].argmax())
                other = next(c for c in range(len(logits)) if c != label)
                assert float(logits[label] - logits[other]) <= 1e-6
                points += 1
    assert proofs > 4
    assert points or name == "leaky 2-4-3-3"
    assert empty


def test_an_unstable_neuron_is_split_whatever_the_numbers_are() -> None:
    state = started()
    search, units = state.search, state.search.system.units
    signs = torch.ones(1, units, dtype=torch.int8)
    signs[0, units - 1] = 0
    domain = replace(state.open.select(torch.tensor([0])), signs=signs)
    for factor in (1.0, torch.nan, torch.inf, 0.0):
        rows = search.batch(domain, state.rounding)
        columns, constant = rows.columns * factor, rows.constant * factor
        rows = replace(rows, columns=columns, constant=constant)
        least = rows.minimum()
        bounds = partial(rows.child_bounds, least.choice)
        chosen = fsb(babsr(least), least.choice.free > 0, bounds)
        assert chosen.tolist() == [units - 1]
