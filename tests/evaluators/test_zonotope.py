"""Zonotopes hold every value of every node, exactly; they spare backward passes, nothing else."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from evaluators.deterministic.fast_lin import FastLin
from evaluators.deterministic.zonotope import DeepZ
from evaluators.network.elementwise import Elementwise
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.propagation.intervals import Interval, propagate
from evaluators.propagation.zonotopes import Zonotopes
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Box
from evaluators.unrolled.unrolled_network import Unrolled
from tests.fixtures.effort import first_alone, only
from tests.fixtures.exact import fractions
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers, points_of
from tests.fixtures.unrolled import (
    PIECEWISE,
    TELLING,
    WITH_SIGMOIDS,
    about,
    around,
    box,
    inside,
    node_values,
    wild,
)

WIDE = Box(*(torch.full((1, 2), end, dtype=torch.float64) for end in (-2.0, 2.0)))


def zonotope_bounds(network: Network, box: Interval) -> list[Interval | None]:
    """Of every node, each function's input bounded by zonotopes alone."""
    zonotopes = Zonotopes.of(network, box)
    assert zonotopes is not None
    bounds, found = [box], [zonotopes.interval(0)]
    for position, node in enumerate(network.nodes[1:], start=1):
        if isinstance(node.operation, Elementwise):
            cheap = found[node.parents[0]]
            assert cheap is not None
            bounds[node.parents[0]] = cheap
        bounds.append(propagate(node.operation, [bounds[parent] for parent in node.parents]))
        zonotopes.step(position, bounds)
        found.append(zonotopes.interval(position))
    return found


@pytest.mark.parametrize("width", first_alone([2.0, 1e-12, 0.0]))
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", PIECEWISE)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 500))
def test_every_value_of_every_node_is_inside(
    name: str, scaled: bool, width: float, seed: int
) -> None:
    """Of narrow boxes, rounding is all that there is."""
    plain = PIECEWISE[name](seed)
    network = without_max_pools(wild(plain, seed) if scaled else plain).to(torch.float64)
    generator = torch.Generator().manual_seed(seed)
    problem = about(network, box(generator, network, width))
    bounds = zonotope_bounds(network, Interval(*problem.region.hull(problem.x)))
    for point in inside(problem, generator, 6):
        values = node_values(network, point)
        for node, found, value in zip(network.nodes, bounds, values, strict=True):
            assert found is not None
            for low, high, v in zip(*map(fractions, found), value, strict=True):
                assert low <= v <= high, node.name


def test_an_affine_function_is_bounded_to_the_rounding() -> None:
    """x and -x cancel in a zonotope, where intervals add them."""
    graph = Graph((2,))
    graph.dense(2, torch.tensor([[1.0, 1], [1, -1]]).double(), torch.zeros(2).double())
    graph.dense(2, torch.tensor([[1.0, 1], [1, -1]]).double(), torch.zeros(2).double())
    *_, last = zonotope_bounds(graph.network(), Interval(WIDE.lower, WIDE.upper))
    assert last is not None
    assert torch.allclose(last.upper, torch.full((1, 2), 4.0).double(), atol=1e-12)


def test_a_relu_costs_half_its_triangle_s_height() -> None:
    """On [-1, 3]: 3/4 z plus something from 0 to 3/4."""
    graph = Graph((1,))
    graph.relu()
    graph.dense(1, torch.ones(1, 1).double(), torch.zeros(1).double())
    box = Interval(*(torch.full((1, 1), end, dtype=torch.float64) for end in (-1.0, 3.0)))
    *_, last = zonotope_bounds(graph.network(), box)
    assert last is not None
    assert [float(last.lower), float(last.upper)] == pytest.approx([-0.75, 3.0])


@pytest.mark.parametrize("name", only(PIECEWISE, TELLING))
def test_without_evidence_bounds_are_nowhere_looser(name: str) -> None:
    for seed in range(3):
        problem = about(PIECEWISE[name](seed), WIDE)
        plain = around(replace(problem, evidence=True)).unrolled
        cheap = around(problem).unrolled
        for with_evidence, without in zip(plain.bounds, cheap.bounds, strict=True):
            loose = 0.05 * (with_evidence.upper - with_evidence.lower) + 1e-6
            assert bool((without.lower >= with_evidence.lower - loose).all())
            assert bool((without.upper <= with_evidence.upper + loose).all())


def test_fewer_rows_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    express = Unrolled.express

    def counted(self: Unrolled, position: int, rows: csr_array) -> object:
        nonlocal written
        written += rows.shape[0]
        return express(self, position, rows)

    monkeypatch.setattr(Unrolled, "express", counted)
    graph = Graph((2,), 3)
    for _ in range(4):
        graph.dense(20)
        graph.relu()
    graph.dense(2)
    small = Box(*(torch.full((1, 2), end, dtype=torch.float64) for end in (0.3, 0.5)))
    problem = about(graph.network(), small)
    around(replace(problem, evidence=True))
    before, written = written, 0
    around(problem)
    assert written < before


def test_other_functions_and_many_inputs_have_none() -> None:
    for network in (function(0) for function in WITH_SIGMOIDS.values()):
        assert Zonotopes.of(without_max_pools(network), Interval(WIDE.lower, WIDE.upper)) is None
    many = Interval(torch.zeros(1, 65).double(), torch.ones(1, 65).double())
    assert Zonotopes.of(PIECEWISE["relu 2-3-2"](0), many) is None


@pytest.mark.parametrize("norm", list(Norm))
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 500), name=st.sampled_from(sorted(FAMILIES)))
def test_every_logit_of_a_ball_is_inside(norm: Norm, name: str, seed: int) -> None:
    """With sigmoids, and where the pixel range cuts the ball."""
    network = without_max_pools(FAMILIES[name](seed)).to(torch.float64)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *network.input_shape, generator=generator)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.3, x.round(), x)
    region = Ball(norm, Fraction(1, 3))
    rows = torch.randn(3, network.classes, generator=generator, dtype=torch.float64)
    least = Zonotopes.around(network, x, region).least(rows)[0]
    logits = network(points_of(region, x[0], 5).double())
    assert bool((logits @ rows.T >= least - 1e-9 * (1 + least.abs())).all())


def test_on_a_chain_a_zonotope_is_fast_lin() -> None:
    """Both relax a ReLU by parallel lines, one forwards and one backwards."""
    for seed in range(10):
        network = FAMILIES["relu 2-4-4-3"](seed)
        region = Ball(Norm.LINF, Fraction(1, 20))
        problem = replace(ask(network, centers(network, seed, 3), region), deployed=False)
        for zonotope, fast_lin in zip(DeepZ()(problem), FastLin()(problem), strict=True):
            assert zonotope.margin == pytest.approx(fast_lin.margin, rel=1e-9, abs=1e-9)
