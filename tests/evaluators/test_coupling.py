"""Neurons that share a ball: no point in it beats what all lines are lowered by together."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.sdp_crown import SdpCROWN, balls_of
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Network, apply
from evaluators.propagation.coupling import Coupling, NodeBall, least_together
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.intervals import Interval, interval_bounds
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.unrolled.coupled import Chosen, Coupled, local_balls
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.effort import examples
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers, least_margins, points_of

RELU = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual", "pooled", "convolutional")
TINY = Fraction(1, 2**40)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1


@settings(max_examples=examples(150), deadline=None)
@given(
    st.integers(1, 12),
    st.integers(0, 2**20),
    st.sampled_from([0.0, 0.125, 0.9]),
    st.integers(-8, 8),
    st.sampled_from([None, 0.0, 1e-9, 0.1, 1.0, 1e3, 1e12]),
)
def test_no_point_of_ball_and_box_is_below_the_bound(
    n: int, seed: int, leak: float, power: int, weight: float | None
) -> None:
    generator, scale = drawn(seed), 10.0**power
    rows, slopes = uniform(generator, 1, 3, n), uniform(generator, 1, 3, n)
    middle = uniform(generator, 1, n) * scale
    radius = torch.rand(1, generator=generator, dtype=torch.float64) * 2 * scale
    lower, upper = (middle + sign * (uniform(generator, 1, n) + 1) * scale for sign in (-1, 1))
    coupling = Coupling.of(NodeBall(middle, radius, 0 * radius), Interval(lower, upper))
    carrier = DenseRows(Graph((n,), 0).network(), torch.zeros(1, dtype=torch.long))
    own = None if weight is None else torch.full((1, 3), weight, dtype=torch.float64) / scale
    value, slack = least_together(carrier, rows, slopes, leak, coupling, 0, own)
    assert bool((slack <= 1e-9 * scale * (1 + (weight or 0))).all())

    directions = uniform(generator, 2000, n)
    directions = torch.cat((directions, rows[0], -rows[0], directions.sign()))
    lengths = torch.linalg.vector_norm(directions, dim=1, keepdim=True).clamp(min=1e-300)
    shares = torch.rand(len(directions), 1, generator=generator, dtype=torch.float64)
    shares[::2] = 1.0
    points = middle + directions / lengths * radius * shares * (1 - 1e-12)
    points = torch.maximum(torch.minimum(points, upper), lower)
    points = torch.cat((points, middle))
    outputs = torch.maximum(points, leak * points)
    reached = (outputs @ rows[0].T - points @ (rows * slopes)[0].T).amin(0)
    assert bool((value[0] - slack[0] <= reached + 1e-12 * scale).all())


def test_a_ball_is_worth_the_root_of_the_number_of_neurons() -> None:
    """The paper's example: -Σ relu(z_i) in a ball around 0, with chords as lines."""
    n = 64
    zero = torch.zeros(1).double()
    ball = NodeBall(torch.zeros(1, n).double(), zero + 1, zero)
    coupling = Coupling.of(ball, Interval(-torch.ones(1, n).double(), torch.ones(1, n).double()))
    carrier = DenseRows(Graph((n,), 0).network(), torch.zeros(1, dtype=torch.long))
    rows, slopes = -torch.ones(1, 1, n).double(), torch.full((1, 1, n), 0.5).double()
    value, slack = least_together(carrier, rows, slopes, 0.0, coupling, 0)
    assert float(value - slack) == pytest.approx(-(n**0.5) / 2)
    without, _ = least_together(carrier, rows, slopes, 0.0, coupling, 0, torch.zeros(1, 1).double())
    assert float(without) == pytest.approx(-n / 2)


def around(family: str, seed: int) -> tuple[Problem, Coupled]:
    network = FAMILIES[family](seed)
    region = Ball(Norm.L2, Fraction(1, 4))
    problem = ask(network, centers(network, seed, 3), region).select([2])
    asked = UnrolledProblem.of(problem, 0, problem.deadline())
    written = Problem(asked.unrolled.network, problem.x, problem.labels, region, deployed=False)
    return problem, Coupled(asked, balls_of(written))


@settings(max_examples=examples(25), deadline=None)
@given(st.sampled_from(RELU), st.integers(0, 40), st.integers(0, 99), st.integers(-3, 6))
def test_any_slopes_and_multipliers_prove_what_holds(
    family: str, seed: int, other: int, power: int
) -> None:
    problem, coupled = around(family, seed)
    assert isinstance(problem.network, Network)
    start, generator = coupled.start(), drawn(other)
    lies = Chosen(
        uniform(generator, *start.below.shape),
        uniform(generator, *start.above.shape),
        tuple((uniform(generator, len(w)) + 1) * 10.0**power for w in start.weights),
    )
    found = [coupled.prove(lies), coupled.prove(coupled.ascend(5, problem.deadline()))]
    points = points_of(Ball(Norm.L2, Fraction(1, 4)), problem.x[0], 9)
    least = float(least_margins(problem.network, points, int(problem.labels[0])).min())
    for bounds in found:
        assert float(bounds.min()) <= least + 1e-9 * max(1.0, abs(least))


@settings(max_examples=examples(25), deadline=None)
@given(st.sampled_from(RELU), st.integers(0, 40))
def test_units_stay_in_their_local_balls(family: str, seed: int) -> None:
    problem, coupled = around(family, seed)
    network = coupled.unrolled.network
    points = points_of(Ball(Norm.L2, Fraction(1, 4)), problem.x[0], 9)
    reached = [points]
    for node in network.nodes[1:]:
        reached.append(apply(node.operation, [reached[p] for p in node.parents]))
    for layer, coupling in zip(coupled.layers, coupled.couplings, strict=True):
        (parent, *_) = network.nodes[layer.position].parents
        values = reached[parent].flatten(1)[:, layer.entries]
        distance = torch.linalg.vector_norm(values - coupling.ball.middle, dim=1).max()
        assert float(distance) <= float(coupling.ball.radius)
        assert bool((coupling.ball.radius < 1e3).all())


@pytest.mark.parametrize("family", RELU)
def test_a_local_ball_is_wider_by_what_its_middle_is_off(family: str) -> None:
    problem, coupled = around(family, 1)
    network, x = coupled.unrolled.network, problem.x.double()
    asked = replace(coupled.around, problem=replace(problem, region=Ball(Norm.L2, TINY)))
    values = interval_bounds(network, x, x)
    wide = []
    for layer in coupled.layers:
        here = values[network.nodes[layer.position].parents[0]].lower
        far = torch.full((1,), 1e3, dtype=torch.float64)
        wide.append(NodeBall(here + 1, far, torch.full_like(far, here.numel() ** 0.5)))
    for layer, its, ball in zip(coupled.layers, wide, local_balls(asked, wide), strict=True):
        true = its.middle.flatten()[layer.entries] - 1
        assert float((true - ball.middle).norm()) <= float(ball.radius) < 1e3


def test_it_proves_more_than_alpha_crown_in_l2() -> None:
    """A wide layer, whose neurons cannot all be at their worst at once."""
    graph = Graph((16,), 5)
    graph.dense(16, torch.linalg.qr(graph.random(16, 16))[0], 0.1 * graph.random(16))
    graph.relu()
    graph.dense(16, torch.linalg.qr(graph.random(16, 16))[0], 0.1 * graph.random(16))
    graph.add(LeakyReLU(), (16,))
    graph.dense(2, graph.random(2, 16), torch.zeros(2).double())
    network = graph.network()
    x = torch.full((1, 16), 0.5)
    label = network.to(torch.float32)(x).argmax(1)
    problem = Problem(network, x, label, Ball(Norm.L2, Fraction(1, 2)))
    (mine,), (other,) = SdpCROWN()(problem), AlphaCROWN()(problem)
    assert mine.margin is not None
    assert other.margin is not None
    assert mine.margin > other.margin + 0.05
