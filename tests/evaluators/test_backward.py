"""Backward propagation of linear bounds: by hand, and every bound on every node's grid."""

from fractions import Fraction
from math import isqrt, prod
from typing import Any

import pytest
import torch
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.network.network import Network
from evaluators.propagation import linear_bounds
from evaluators.propagation.backward import lower_bounds, unit_rows
from evaluators.propagation.bounded import Center
from evaluators.propagation.concretization import dual_norm, least_over_region
from evaluators.propagation.dense_rows import FEW, LARGE, DenseRows
from evaluators.propagation.intervals import Interval, interval_bounds
from evaluators.propagation.linear_bounds import (
    interval_relaxation,
    linear_relaxation,
    margin_rows,
    margins,
)
from evaluators.propagation.relaxed import Relaxed
from evaluators.propagation.rounding_charge import settle
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from tests.evaluators.test_intervals import values
from tests.fixtures.effort import only
from tests.fixtures.networks import Graph, of_every_kind
from tests.fixtures.tiny import FAMILIES, REGIONS, ask, centers, least_margins, points_of


def problem_of(family: str, seed: int, region: Ball) -> Problem:
    network = FAMILIES[family](seed)
    return ask(network, centers(network, seed, 2), region)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("region", only(REGIONS, [norm.value for norm in Norm]))
def test_every_nodes_bounds_contain_its_grid(family: str, region: str) -> None:
    for seed in range(3):
        problem = problem_of(family, seed, REGIONS[region])
        assert isinstance(problem.network, Network)
        assert isinstance(problem.region, Ball)
        for relaxed in (interval_relaxation(problem), linear_relaxation(problem)):
            for row, x in enumerate(problem.x):
                points = points_of(problem.region, x, 11 if x.numel() == 2 else 4)
                for value, (lower, upper) in zip(
                    values(problem.network, points), relaxed.bounds, strict=True
                ):
                    slack = 1e-12 * (1 + value.abs())
                    assert bool((value >= lower[row] - slack).all())
                    assert bool((value <= upper[row] + slack).all())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("to_input", [False, True])
def test_every_margin_holds_for_every_label(family: str, region: str, to_input: bool) -> None:
    """Not only for the prediction: all differences of logits, most of them negative."""
    for seed in range(3):
        problem = problem_of(family, seed, REGIONS[region])
        assert isinstance(problem.network, Network)
        assert isinstance(problem.region, Ball)
        relaxed = linear_relaxation(problem)
        for label in range(problem.classes):
            proved = margins(relaxed, torch.full((2,), label), to_input)
            for row, x in enumerate(problem.x):
                points = points_of(problem.region, x, 11 if x.numel() == 2 else 4)
                least = least_margins(problem.network, points, label)
                assert bool((proved[row] <= least + 1e-12 * (1 + least.abs())).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_line_holds_on_its_nodes_grid(family: str) -> None:
    """A backward pass from any node, with any coefficients, bounds what they make of its values."""
    region = Ball(Norm.LINF, Fraction(3, 10))
    generator = torch.Generator().manual_seed(0)
    for seed in range(5):
        problem = problem_of(family, seed, region)
        assert isinstance(problem.network, Network)
        relaxed = linear_relaxation(problem)
        for position, node in enumerate(problem.network.nodes):
            rows = torch.randn(2, 6, *node.shape, generator=generator, dtype=torch.float64)
            proved = lower_bounds(relaxed, position, rows, torch.arange(2))
            for row, x in enumerate(problem.x):
                points = points_of(region, x, 11 if x.numel() == 2 else 4)
                at = values(problem.network, points)[position].flatten(1)
                least = (rows[row].flatten(1) @ at.T).amin(1)
                assert bool((proved[row] <= least + 1e-12 * (1 + least.abs())).all())


def by_hand() -> Network:
    """relu(x + y) - relu(x - y) against 0, x and y in [-1, 1]: CROWN's textbook shape."""
    graph = Graph((2,))
    double = torch.float64
    weight = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=double)
    graph.dense(2, weight, torch.zeros(2, dtype=double))
    graph.relu()
    weight = torch.tensor([[1.0, -1.0], [0.0, 0.0]], dtype=double)
    graph.dense(2, weight, torch.tensor([3.0, 0.0], dtype=double))
    return graph.network()


def test_a_bound_by_hand() -> None:
    """Both neurons in [-2, 2]: relu >= 0 and relu <= z/2 + 1, so 3 + 0 - ((x - y)/2 + 1) >= 1.

    Interval propagation gives 3 + 0 - 2 = 1 too; with slope 1 below (chosen where the upper end is
    larger) the bound would differ, and [-1, 1] shifted to y in [-1/2, 1] shows that.
    """
    x = torch.zeros(1, 2)
    region = Ball(Norm.LINF, Fraction(1), -1.0, 1.0)
    problem = Problem(by_hand(), x, torch.tensor([0]), region, deployed=False)
    relaxed = linear_relaxation(problem)
    assert relaxed.bounds[1].lower[0].tolist() == pytest.approx([-2.0, -2.0])
    assert float(margins(relaxed, problem.labels, True)) == pytest.approx(1.0, abs=1e-12)
    # Around (1/2, 0), radius 1/2: z1 in [0, 3/2]... z = x ± y with x in [0, 1], y in [-1/2, 1/2]:
    # both in [-1/2, 3/2]; relu(z1) >= z1, relu(z2) <= 3/4 (z2 + 1/2): 3 + z1 - 3/4 z2 - 3/8
    # = 21/8 + x/4 + 7/4 y >= 21/8 - 7/8 = 7/4.
    moved = Problem(
        by_hand(),
        torch.tensor([[0.5, 0.0]]),
        torch.tensor([0]),
        Ball(Norm.LINF, Fraction(1, 2), -1.0, 1.0),
        deployed=False,
    )
    found = float(margins(linear_relaxation(moved), moved.labels, True))
    assert found == pytest.approx(1.75, abs=1e-12)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_linear_networks_bound_is_exact(norm: Norm) -> None:
    """Margin w·x + b over a ball away from the pixel range's ends: minus radius times dual norm."""
    graph = Graph((3,))
    weight = torch.tensor([[3.0, -1.0, 2.0], [1.0, 1.0, -1.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.tensor([0.5, 0.25], dtype=torch.float64))
    x = torch.tensor([[0.5, 0.25, 0.75]])
    region = Ball(norm, Fraction(1, 8))
    problem = Problem(graph.network(), x, torch.tensor([0]), region, deployed=False)
    difference = weight[0] - weight[1]
    center = float(difference @ x[0].double()) + 0.25
    dual = {Norm.LINF: 1, Norm.L2: 2, Norm.L1: torch.inf}[norm]
    expected = center - float(torch.linalg.vector_norm(difference, dual)) / 8
    for relaxed in (interval_relaxation(problem), linear_relaxation(problem)):
        assert float(margins(relaxed, problem.labels, True)) == pytest.approx(expected, abs=1e-12)


def least(rows: Tensor, x: Tensor, region: Ball) -> float:
    """The proved least value of the only row over the region around the only example."""
    carrier = DenseRows(Graph((2,)).network(), torch.tensor([0]))
    hull = Center.of(Interval(*region.hull(x)))
    return float(settle(*least_over_region(carrier, rows, x, region, hull)))


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
def test_no_perturbation_follows_a_pull_beyond_the_pixel_range(norm: Norm) -> None:
    """At x = (0, 1/2) a positive coefficient of the first entry cannot lower the value."""
    rows = torch.tensor([[[3.0, 4.0]]], dtype=torch.float64)
    x = torch.tensor([[0.0, 0.5]], dtype=torch.float64)
    region = Ball(norm, Fraction(1, 4))
    assert least(rows, x, region) == pytest.approx(2.0 - 1.0, abs=1e-12)


def test_the_better_of_ball_and_box_is_taken() -> None:
    """An l1 ball of radius 10 around any point of [0, 1] is the whole box."""
    rows = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    x = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    region = Ball(Norm.L1, Fraction(10))
    assert least(rows, x, region) == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e-310, 1e160])
def test_dual_norms_survive_small_and_large_coefficients(scale: float) -> None:
    rows = torch.tensor([[[3.0, -4.0]]], dtype=torch.float64) * scale
    assert float(dual_norm(rows, Norm.L2)) == pytest.approx(5 * scale, rel=1e-9)
    assert float(dual_norm(rows, Norm.L1)) == pytest.approx(4 * scale, rel=1e-9)
    assert float(dual_norm(rows, Norm.LINF)) == pytest.approx(7 * scale, rel=1e-9)
    assert float(dual_norm(rows * 0, Norm.L2)) == 0.0


def test_margin_rows_are_label_minus_other() -> None:
    rows = margin_rows(torch.tensor([1]), 3)
    assert rows.tolist() == [[[-1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]]


def test_single_entries_are_bounded_like_unit_vectors() -> None:
    """Where a walk may start from rows of a matrix, it proves no more and no less."""
    network = of_every_kind()
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    relaxed = linear_relaxation(ask(network, x, Ball(Norm.LINF, Fraction(1, 50))))
    examples, shortened = torch.arange(2), 0
    for position, node in enumerate(network.nodes[1:], start=1):
        entries = torch.arange(min(6, prod(node.shape))).expand(2, -1)
        start, rows, constant = unit_rows(relaxed.network, position, entries)
        shortened += start != position
        units = torch.eye(prod(node.shape), dtype=torch.float64)[entries]
        expected = lower_bounds(
            relaxed, position, units.reshape(*rows.shape[:2], *node.shape), examples
        )
        found = lower_bounds(relaxed, start, rows, examples, constant=constant)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert shortened == 2


def test_what_upper_bounds_decide_gets_no_lower_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """ReLUs that are never positive cost one backward pass, the others two."""
    asked: list[Tensor] = []
    refine = linear_bounds._refine_by_planes

    def counted(relaxed: Relaxed, position: int, unstable: Tensor, *rest: Any) -> None:
        asked.append(unstable)
        refine(relaxed, position, unstable, *rest)

    monkeypatch.setattr(linear_bounds, "_refine_by_planes", counted)
    graph = Graph((2,))
    graph.dense(2, torch.eye(2).double(), torch.zeros(2, dtype=torch.float64))
    graph.relu()
    # (x + y) - (x + y) - 1/4, whose sign intervals do not know, and x + y - 1/2 over [0, 1/2]².
    weight = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.zeros(2, dtype=torch.float64))
    weight = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.tensor([-0.25, -0.5], dtype=torch.float64))
    graph.relu()
    graph.dense(2)
    region = Ball(Norm.LINF, Fraction(1, 4))
    linear_relaxation(ask(graph.network(), torch.tensor([[0.25, 0.25]]), region))
    assert [unstable.tolist() for unstable in asked] == [[[True, True]], [[False, True]]]


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 2000, 100_000])
def test_the_size_of_chunks_changes_no_bound(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = of_every_kind()
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    problem = ask(network, x, Ball(Norm.LINF, Fraction(1, 50)))
    whole = linear_relaxation(problem)
    expected = margins(whole, problem.labels, True)
    monkeypatch.setattr(linear_bounds, "CHUNK_BYTES", chunk)
    cut = linear_relaxation(problem)
    for one, other in zip(whole.bounds, cut.bounds, strict=True):
        assert torch.allclose(one.lower, other.lower, rtol=1e-9, atol=1e-11)
        assert torch.allclose(one.upper, other.upper, rtol=1e-9, atol=1e-11)
    assert torch.allclose(margins(cut, problem.labels, True), expected, rtol=1e-9, atol=1e-11)


def test_linear_bounds_tighten_intervals_and_never_loosen_them() -> None:
    network = of_every_kind()
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    problem = ask(network, x, Ball(Norm.LINF, Fraction(1, 20)))
    loose = interval_bounds(network, *problem.region.hull(x))
    tight = linear_relaxation(problem).bounds
    for one, other in zip(loose, tight, strict=True):
        assert bool((other.lower >= one.lower - 1e-9).all())
        assert bool((other.upper <= one.upper + 1e-9).all())
    assert float((tight[-1].upper - tight[-1].lower).mean()) < 0.9 * float(
        (loose[-1].upper - loose[-1].lower).mean()
    )


def test_rounding_is_bounded_but_not_by_much() -> None:
    """A linear network's bound loses a few ulps of the sizes involved, no more."""
    graph = Graph((200,))
    for _ in range(4):
        graph.dense(200)
    graph.dense(2)
    x: Tensor = torch.rand(1, 200, generator=torch.Generator().manual_seed(7))
    problem = ask(graph.network(), x, Ball(Norm.LINF, Fraction(1, 10**9)))
    relaxed: Relaxed = linear_relaxation(problem)
    logits = graph.network()(x.double())[0].sort(descending=True).values
    proved = float(margins(relaxed, problem.labels, True).min())
    assert 0 <= float(logits[0] - logits[1]) - proved < 1e-6


def test_a_matrix_is_applied_without_entries_that_are_zero_in_a_group() -> None:
    """The entries differ from group to group; numbers that are none stay so."""
    random, size = torch.Generator().manual_seed(0), isqrt(LARGE) + 1
    rows = torch.randn(3, FEW, size, dtype=torch.float64, generator=random)
    for group, places in enumerate(([0, 3], [6], range(size))):
        rows[group, :, list(places)] = 0.0
    rows[1, 2, 4] = torch.nan
    weight = torch.randn(size, size, dtype=torch.float64, generator=random)
    dense = Dense((size,), (size,), None, weight)
    network = by_hand()
    found = DenseRows(network, torch.arange(3)).adjoint(rows, dense, 1)
    assert torch.allclose(found, rows @ weight, rtol=0, atol=1e-11, equal_nan=True)
