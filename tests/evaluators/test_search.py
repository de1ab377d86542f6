"""The domains of a search cover the region, and only a proof closes one of them."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.branching import search as search_module
from evaluators.branching.branching import splits
from evaluators.branching.corners import solve_corner
from evaluators.branching.rounds import advance, finish, start
from evaluators.branching.search import Search
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.domains import Cut, Domains, Leaf
from evaluators.unrolled.proof import prove
from evaluators.unrolled.unit_lines import Bounds
from tests.fixtures.certificates import least_margin
from tests.fixtures.searching import no_witness
from tests.fixtures.unrolled import PIECEWISE, about, around


def domains(count: int = 5, units: int = 4, seed: int = 0) -> Domains:
    """Each with a cut of its own."""
    generator = torch.Generator().manual_seed(seed)
    none, ends = torch.zeros(0), Bounds(torch.zeros(units), torch.ones(units))
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
    tensors = (some.goals, some.bounds, some.slopes, some.betas, some.signs)
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
            assert int(children.goals[child]) == int(some.goals[row])
            assert torch.equal(children.betas[child], some.betas[row])
            assert torch.equal(children.slopes[child], some.slopes[row])
            assert children.cuts[child] is some.cuts[row]
    assert bool((some.signs == 0).all())


def test_leaves_tell_the_multipliers_of_their_splits() -> None:
    some = replace(domains(2), paths=[((2, 1), (0, -1)), ()])
    first, root = some.leaves()
    assert (first.goal, first.path) == (int(some.goals[0]), ((2, 1), (0, -1)))
    assert torch.equal(first.betas, some.betas[0, [2, 0]])
    assert torch.equal(first.slopes, some.slopes[0])
    assert (first.cut, root.cut) == (some.cuts[0], some.cuts[1])
    assert len(root.betas) == 0


def searching(name: str, radius: Fraction, seconds: float = 20.0, seed: int = 0) -> Search:
    network = PIECEWISE[name](seed)
    x = torch.tensor([0.5, 0.25])
    label = int(network(x[None].double())[0].argmax())
    region = Ball(Norm.LINF, radius, -9.0, 9.0)
    problem = replace(about(network, region, x, label), evidence=True)
    return Search.of(around(problem), Rates(3), Deadline(seconds))


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


@pytest.mark.parametrize("name", ["relu 2-4-4-3", "leaky 2-4-3-3", "residual", "read twice"])
def test_closed_and_open_domains_together_cover_the_region(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every round, also where batches leave some behind; for each goal."""
    monkeypatch.setattr(search_module, "SMALLEST", 2)
    monkeypatch.setattr(search_module, "LARGEST", 2)
    rounds = 0
    for seed in range(4):
        search = searching(name, Fraction(1, 2), seed=seed)
        search._batch = 2
        start([search])
        for _ in range(12):
            for goal in range(len(search.goals)):
                closed = [leaf.path for leaf in search.leaves if leaf.goal == goal]
                left = zip(search.open.paths, search.open.goals.tolist(), strict=True)
                assert covers(closed + [path for path, its in left if its == goal])
            if not len(search.open) or search.note:
                break
            advance([search], Rates(2, slope=0.2), no_witness)
            rounds += 1
    assert rounds > 4


@pytest.mark.parametrize("name", ["relu 2-4-4-3", "leaky 2-4-3-3", "residual"])
def test_what_is_closed_is_proved_and_what_is_proved_is_true(name: str) -> None:
    done = 0
    for seed in range(4):
        for radius in (Fraction(1, 8), Fraction(1, 3)):
            search = searching(name, radius, seed=seed)
            finish(search, Rates(3, slope=0.2), no_witness)
            assert search.witness is None
            least, bounds = true_margin(name, radius, seed), search.lower_bounds()
            assert Fraction(float(bounds.min())) <= least
            if len(search.open):
                assert search.note == "numerically undecided"
                assert least < Fraction(1, 10**4)
                continue
            done += 1
            assert least > 0
            for leaf in search.leaves:
                signs = torch.zeros(1, search.system.units, dtype=torch.int8)
                betas = torch.zeros(1, search.system.units)
                for (unit, sign), beta in zip(leaf.path, leaf.betas, strict=True):
                    signs[0, unit], betas[0, unit] = sign, beta
                (bound,) = prove(
                    search.unrolled,
                    search.lines,
                    search.goals.select(slice(leaf.goal, leaf.goal + 1)),
                    search.x,
                    search.region,
                    leaf.slopes[None],
                    signs,
                    betas,
                )
                assert bound > 0
                assert float(bounds[leaf.goal]) <= float(bound) or leaf.path == ()
    assert done


def test_a_bound_that_float32_alone_sees_closes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    search = searching("relu 2-4-4-3", Fraction(1, 2))
    start([search])
    hopeful = replace(search.open, bounds=torch.ones(len(search.open)))
    before = len(search.leaves)
    for bad in (0.0, -1e-9, float("nan")):
        monkeypatch.setattr(
            search, "_prove", lambda some, bad=bad: torch.full((len(some),), bad).double()
        )
        left = search.closing(hopeful)
        assert rows_of(replace(left, bounds=hopeful.bounds)) == rows_of(hopeful)
        # What was thought is corrected by what was proved, but for a number that is none.
        assert bool((left.bounds <= hopeful.bounds).all())
    assert len(search.leaves) == before


def test_the_search_aims_above_what_rounding_takes_from_a_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = searching("relu 2-4-4-3", Fraction(1, 2))
    start([search])
    hopeful = replace(search.open, bounds=torch.ones(len(search.open)))
    before = search.batch(hopeful).constant
    monkeypatch.setattr(
        search, "_prove", lambda some: torch.full((len(some),), -0.5, dtype=torch.float64)
    )
    left = search.closing(hopeful)
    assert bool((left.bounds <= -0.5).all())
    lowered = before - search.batch(hopeful).constant
    assert bool((lowered >= 1.5).all())


def test_of_two_proofs_the_worse_one_bounds_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    search = searching("relu 2-4-4-3", Fraction(1, 2))
    start([search])
    goal = int(search.open.goals[0])
    one = search.open.select(torch.tensor([0, 0]))
    children = replace(one, bounds=torch.ones(2))
    values = torch.tensor([0.25, 0.5], dtype=torch.float64)
    monkeypatch.setattr(search, "_prove", lambda _some: values)
    assert len(search.closing(children)) == 0
    assert float(search._closed[goal]) == 0.25


def test_open_domains_count_when_time_is_up() -> None:
    search = searching("relu 2-4-4-3", Fraction(1, 2), seconds=20.0)
    start([search])
    open_ = set(search.open.goals.tolist())
    assert open_
    search._closed[:] = 1.0
    search._roots[:] = -torch.inf
    bounds = search.lower_bounds()
    for goal in range(len(search.goals)):
        assert (float(bounds[goal]) <= 0) == (goal in open_)


def test_too_many_open_domains_are_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    search = searching("relu 2-4-4-3", Fraction(1, 2))
    start([search])
    roots = search._roots.clone()
    monkeypatch.setattr(search_module, "MOST_PROVED", 0)
    search._closed[:] = torch.inf
    bounds = search.lower_bounds()
    for goal in search.open.goals.tolist():
        assert float(bounds[goal]) == float(roots[goal])


def test_the_proof_has_the_open_domains_that_turned_out_positive() -> None:
    search = searching("relu 2-4-4-3", Fraction(1, 2))
    start([search])
    assert len(search.proof()) == len(search.leaves) + len(search.open)
    search.evidence = False
    assert search.proof() == []


def test_a_search_ends_with_its_time_or_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    late = searching("relu 2-4-4-3", Fraction(1, 2), seconds=20.0)
    late.deadline = Deadline(0.0)
    finish(late, Rates(2), no_witness)
    assert late.witness is None
    assert late.note == "timeout"
    full = searching("relu 2-4-4-3", Fraction(1, 2))
    monkeypatch.setattr(search_module, "MEGABYTES", 0)
    finish(full, Rates(2), no_witness)
    assert full.witness is None
    assert full.note == "out of memory for domains"


def corner(search: Search, goal: int, signs: Tensor) -> Domains:
    units = search.system.units
    return Domains(
        torch.tensor([goal]),
        torch.tensor([-1.0]),
        torch.ones(1, units).half(),
        torch.zeros(1, units),
        signs[None],
        [tuple(enumerate(signs.tolist()))],
        [None],
    )


@pytest.mark.parametrize("name", ["relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3"])
def test_a_corner_has_a_proof_or_a_point(name: str) -> None:
    """Also of signs that no input has: then anything is proved."""
    proofs, points, empty = 0, 0, 0
    for seed in range(8):
        search = searching(name, Fraction(1, 2), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(4):
            signs = (torch.randint(0, 2, (search.system.units,), generator=generator) * 2 - 1).to(
                torch.int8
            )
            domain = corner(search, 0, signs)
            found = solve_corner(search.unrolled, search.goals, search.lines, domain)
            if found.betas is not None:
                assert bool((found.betas >= 0).all())
                (bound,) = search._prove(replace(domain, betas=found.betas[None]))
                assert float(bound) > -1e-4
                proofs += float(bound) > 0
                empty += bool((found.betas > 1).any())
            elif found.point is not None:
                network = search.unrolled.network
                logits = network(found.point.reshape(1, 2))[0]
                label = int(network(torch.tensor([[0.5, 0.25]]).double())[0].argmax())
                other = next(c for c in range(len(logits)) if c != label)
                assert float(logits[label] - logits[other]) <= 1e-6
                points += 1
    assert proofs > 4
    assert points or name == "leaky 2-4-3-3"
    assert empty


def test_a_unit_that_is_free_is_split_whatever_the_numbers_are() -> None:
    search = searching("relu 2-4-4-3", Fraction(1, 2))
    start([search])
    units = search.system.units
    signs = torch.ones(1, units, dtype=torch.int8)
    signs[0, units - 1] = 0
    domain = replace(search.open.select(torch.tensor([0])), signs=signs)
    for factor in (1.0, torch.nan, torch.inf, 0.0):
        rows = search.batch(domain)
        columns, constant = rows.columns * factor, rows.constant * factor
        chosen, _ = splits(replace(rows, columns=columns, constant=constant))
        assert chosen.tolist() == [units - 1]
