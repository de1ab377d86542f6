"""Hulls of groups of ReLUs: their rows hold exactly, pay, and take no solver's word."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.deterministic.lp import LP
from evaluators.deterministic.multi_neuron import MultiNeuron
from evaluators.linear_programs import group_rows
from evaluators.linear_programs.group_rows import GroupRows
from evaluators.linear_programs.hulls import right_side, separate, shape_of, vertices
from evaluators.linear_programs.relaxed_rows import proved_margins
from evaluators.linear_programs.triangle import Float64Array, Solution, TriangleProgram
from evaluators.network.affine import Dense
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box
from evaluators.question.verdict import Status
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.evaluators.test_branch_and_bound import truth
from tests.fixtures.cases import cases
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers
from tests.fixtures.unrolled import PIECEWISE, about

SMALL = st.floats(-8, 8, width=32)


def exact_vertices(heights: Float64Array, count: int) -> Iterator[list[Fraction]]:
    """The points in which an octahedron's sides and the axes' planes meet, by Cramer's rule."""
    assert count == 2
    directions = [[Fraction(int(c)) for c in row] for row in shape_of(count).directions]
    sides = list(zip(directions, map(Fraction, heights.tolist()), strict=True))
    axes = [([Fraction(1), Fraction(0)], Fraction(0)), ([Fraction(0), Fraction(1)], Fraction(0))]
    for (a, p), (b, q) in combinations(sides + axes, 2):
        whole = a[0] * b[1] - a[1] * b[0]
        if whole:
            z = [(p * b[1] - q * a[1]) / whole, (a[0] * q - b[0] * p) / whole]
            if all(c[0] * z[0] + c[1] * z[1] <= h for c, h in sides):
                yield z


@given(st.lists(st.floats(0.0625, 8, width=32), min_size=8, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_a_proved_row_holds_in_fractions_and_touches(
    sides: list[float], data: st.DataObject
) -> None:
    """With zero inside: of any row, the side is above the hull's largest value, by rounding."""
    heights, leak = np.array(sides), data.draw(st.sampled_from([0.0, 0.125]))
    row = np.array(data.draw(st.lists(SMALL, min_size=4, max_size=4)))
    values = [
        sum(Fraction(w) * c for w, c in zip(row.tolist(), z + a, strict=True))
        for z in exact_vertices(heights, 2)
        for a in [[max(c, Fraction(leak) * c) for c in z]]
    ]
    proved = right_side(row, heights, leak)
    assert Fraction(proved) >= max(values)
    assert proved <= float(max(values)) + 1e-9


def test_triples_hold_at_random_points_and_touch_a_vertex() -> None:
    random = np.random.default_rng(0)
    directions = shape_of(3).directions
    for _ in range(20):
        points = random.normal(size=(6, 3))
        heights = (points @ directions.T).max(0) + 1e-9
        row, leak = random.normal(size=6), float(random.choice([0.0, 0.25]))
        proved = right_side(row, heights, leak)
        z = random.dirichlet(np.ones(6), size=200) @ points
        assert (np.concatenate([z, np.maximum(z, leak * z)], 1) @ row).max() <= proved
        assert (vertices(heights, leak, 3) @ row).max() == pytest.approx(proved, abs=1e-6)


def test_a_separating_row_is_violated_and_true() -> None:
    """The picture's example: |x1| + |x2| <= 1 implies z1 + z2 <= 1; triangles allow 3/2."""
    heights = np.array([1.0 for _ in shape_of(2).directions])
    points, outside = vertices(heights, 0.0, 2), np.array([0.0, 0.0, 0.5, 0.75])
    row = separate(points, outside)
    assert row is not None
    assert float(row @ outside) > right_side(row, heights, 0.0) + 1e-3
    assert separate(points, points.mean(0)) is None


def diamond() -> Problem:
    """1.25 - ReLU(x1 + x2) - ReLU(x1 - x2) on |x1|, |x2| <= 1/2, where it is at least 1/4."""
    graph = Graph((2,))
    graph.dense(2, torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double(), torch.zeros(2).double())
    graph.relu()
    graph.dense(
        2, torch.tensor([[-1.0, -1.0], [0.0, 0.0]]).double(), torch.tensor([1.25, 0]).double()
    )
    ends = (torch.full((1, 2), end, dtype=torch.float64) for end in (-0.5, 0.5))
    return about(graph.network(), Box(*ends))


def test_groups_prove_what_triangles_cannot() -> None:
    (triangles,), (groups,) = LP()(diamond()), MultiNeuron()(diamond())
    assert triangles.status is Status.UNKNOWN
    assert groups.status is Status.CERTIFIED
    assert groups.margin == pytest.approx(0.25, abs=1e-6)


def test_bounds_are_true_and_never_below_the_triangles() -> None:
    higher = 0
    with cases() as case:
        for name, build in PIECEWISE.items():
            for seed, norm in ((0, Norm.LINF), (1, Norm.LINF), (2, Norm.L2)):
                with case(f"{name} {seed} {norm}"):
                    x = torch.rand(2, generator=torch.Generator().manual_seed(seed))
                    region = Ball(norm, Fraction(1, 2), -1.0, 2.0)
                    network = build(seed)
                    problem = about(network, region, x, int(network(x[None].double()).argmax()))
                    around = UnrolledProblem.of(problem, 0, Deadline())
                    margins, _ = proved_margins(around, Deadline())
                    rows = GroupRows(around, Deadline(), 3, 12)
                    raised = [
                        rows.raise_bound(around.goals.select(slice(row, row + 1)))
                        for row in range(len(margins))
                    ]
                    for before, after in zip(margins.tolist(), raised, strict=True):
                        assert after > 0 or after >= before - 1e-3 * (1 + abs(before))
                        higher += after > before + 1e-3
                    if norm is Norm.LINF:
                        assert Fraction(min(raised)) <= truth(problem)
    assert higher > 2


def test_with_the_same_bounds_of_neurons_the_method_proves_all_that_lp_proves() -> None:
    for name in ("relu 2-4-4-3", "residual"):
        network = FAMILIES[name](1)
        problem = ask(network, centers(network, 1, 3), Ball(Norm.LINF, Fraction(1, 4)))
        same = LP(all_bounds=False)(problem)
        for before, after in zip(same, MultiNeuron(intermediate_steps=0)(problem), strict=True):
            assert before.margin is None or after.margin is not None
            assert before.margin is None or after.margin >= before.margin  # type: ignore[operator]


@pytest.mark.slow
def test_neither_a_solver_that_lies_nor_rows_from_nowhere_prove_anything_false(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)

    def size() -> float:
        return float(10.0 ** random.integers(-3, 4))

    def lie(program: TriangleProgram, weight: Float64Array, seconds: float = 0.0) -> Solution:
        del weight, seconds
        through = random.normal(size=program.units) * size()
        point = random.normal(size=program.inputs + 2 * program.units)
        return Solution(1e9, through, point, random.normal(size=program._added) * size())

    def invent(points: Float64Array, outside: Float64Array) -> Float64Array:
        del points
        return random.normal(size=len(outside)) * size()

    monkeypatch.setattr(TriangleProgram, "minimize", lie)
    monkeypatch.setattr(group_rows, "separate", invent)
    monkeypatch.setattr(group_rows, "ENOUGH", -1e9)
    low, high = (torch.full((1, 2), end, dtype=torch.float64) for end in (-0.5, 0.75))
    for build in PIECEWISE.values():
        for label in range(2):
            problem = replace(about(build(0), Box(low, high), label=label), seconds=0.3)
            (verdict,) = MultiNeuron(rounds=2, groups=6).solve(problem)
            assert not verdict.note.startswith("failed")
            if verdict.margin is not None:
                assert Fraction(verdict.margin) <= truth(problem)
            assert verdict.status is not Status.CERTIFIED or truth(problem) > 0


def test_rows_that_are_too_good_are_moved_until_they_hold() -> None:
    """A network of one group: whatever row is asked for, its side is that of its largest value."""
    problem = diamond()
    around = UnrolledProblem.of(problem, 0, Deadline())
    assert isinstance(problem.network.nodes[1].operation, Dense)  # type: ignore[union-attr]
    rows = GroupRows(around, Deadline(), 1, 4)
    rows._bound_octahedra(around.unrolled.layers[0], [(0, 1)])
    rows._add([(1.0, (0, 1), np.array([0.0, 0.0, 1.0, 1.0]))])
    assert rows.sides[0] >= 1.0
    assert rows.sides[0] == pytest.approx(1.0, abs=1e-6)
