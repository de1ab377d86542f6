"""Products as units: planes of any tilt hold, α-CROWN's gain on CROWN's, and only pairs prove."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.deterministic.crown import CROWN
from evaluators.network.affine import Dense, Gather
from evaluators.network.network import Network, Product
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.bounded import Center
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled import intermediate_bounds
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.product_units import product_layers
from evaluators.unrolled.proof import prove, stored
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Rows
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.effort import examples
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import ask, centers, least_margins, points_of

middles = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-30)
radii = st.floats(1e-30, 1e6)


def multiplied(seed: int) -> Network:
    """Two products, one of an earlier product's copies, with ReLUs between and behind them."""
    graph = Graph((2,), seed)

    def layer(parent: int, outputs: int, spread: float = 2.0) -> int:
        (inputs,) = graph.nodes[parent].shape
        weight = (spread * graph.random(outputs, inputs)).float().double()
        bias = graph.random(outputs).float().double()
        return graph.add(Dense((inputs,), (outputs,), bias, weight), (outputs,), (parent,))

    first = graph.add(Product(), (4,), (layer(0, 4), layer(0, 4)))
    bent = graph.relu(parent=layer(first, 4))
    graph.add(Product(), (4,), (bent, first))
    graph.relu(0.1 if seed % 2 else 0.0)
    layer(len(graph.nodes) - 1, 3)
    return graph.network()


def asked(seed: int, radius: Fraction, norm: Norm = Norm.LINF) -> Problem:
    network = multiplied(seed)
    return ask(network, centers(network, seed, 3), Ball(norm, radius))


def reached(problem: Problem, row: int) -> Tensor:
    """The least margins on a grid over the region."""
    assert isinstance(problem.network, Network)
    assert isinstance(problem.region, Ball)
    points = points_of(problem.region, problem.x[row], 21)
    return least_margins(problem.network, points, int(problem.labels[row]))


def center(middle: float, radius: float) -> Center:
    m, r = (torch.tensor([[value]], dtype=torch.float64) for value in (middle, radius))
    return Center(m, r, (m.abs() + r)[0])


@given(middles, radii, middles, radii, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=examples(200), deadline=None)
def test_planes_of_any_tilt_are_on_their_side_of_the_product_in_exact_arithmetic(
    m: float, r: float, n: float, s: float, low: float, high: float
) -> None:
    one = torch.zeros(1, dtype=torch.float64)
    factors = [Rows(torch.eye(2).double()[i : i + 1], one, one) for i in range(2)]
    centers_ = center(m, r), center(n, s)
    size = torch.tensor([abs(m) + r, abs(n) + s], dtype=torch.float64)
    layers = product_layers(1, torch.tensor([0]), (factors[0], factors[1]), centers_, size)
    lines = UnitLines.of(list(layers))
    choice = lines.choice(stored(torch.tensor([[low, high]]), lines).double())
    exact = [Fraction(value) for value in (m, r, n, s)]
    lost = [Fraction(float(layer.rows.lost)) for layer in layers]
    for x, y in product((-1, 1), repeat=2):
        a, b = exact[0] + x * exact[1], exact[2] + y * exact[3]
        h = (a - exact[0]) * (b - exact[2])
        u, v = (
            sum(
                (
                    Fraction(float(w)) * z
                    for w, z in zip(layer.rows.weight[0, :2], (a, b), strict=True)
                ),
                Fraction(float(layer.rows.bias)),
            )
            for layer in layers
        )
        assert choice.floors is not None
        below = Fraction(float(choice.slopes[0, 0])) * u + Fraction(float(choice.floors[0, 0]))
        above = Fraction(float(choice.chords[0, 1])) * v + Fraction(float(choice.offsets[0, 1]))
        assert below - lost[0] <= h <= above + lost[1]
        # Of the other coefficient's sign they say nothing.
        assert choice.chords[0, 0] == choice.offsets[0, 0] == 0
        assert choice.slopes[0, 1] == choice.floors[0, 1] == 0


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_whatever_the_tilts_no_bound_is_above_what_the_network_does(norm: Norm) -> None:
    for seed in range(2):
        problem = asked(seed, Fraction(1, 4), norm).select([2])
        around = UnrolledProblem.of(problem, 2, Deadline(20.0), products=True)
        least = reached(problem, 0)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(20):
            slopes = torch.rand(len(around.goals), len(around.lines.leak), generator=generator)
            slopes = stored(slopes, around.lines)
            found = prove(
                around.unrolled, around.lines, around.goals, around.x, problem.region, slopes
            )
            assert bool((found <= least).all())


def test_alpha_crown_gains_on_crown_and_is_never_above_the_truth() -> None:
    gained = 0
    for seed in range(2):
        for radius in (Fraction(1, 20), Fraction(1, 4)):
            problem = asked(seed, radius).select([1, 2])
            pairs = zip(CROWN()(problem), AlphaCROWN()(problem), strict=True)
            for row, (crown, alpha) in enumerate(pairs):
                if alpha.margin is None:
                    continue
                least = reached(problem, row)
                assert alpha.margin <= float(least.min())
                assert crown.margin is None or alpha.margin >= crown.margin
                gained += crown.margin is None or alpha.margin > crown.margin + 1e-3
    assert gained > 2


def test_branch_and_bound_splits_relus_where_there_are_products() -> None:
    certified = 0
    for seed in range(3):
        problem = replace(asked(seed, Fraction(1, 10)), seconds=2.0)
        for row, verdict in enumerate(_splitting(BranchAndBound())(problem)):
            least = reached(problem, row)
            if verdict.status is Status.CERTIFIED:
                certified += 1
                assert float(least.min()) > 0
            if verdict.status is Status.FALSIFIED:
                assert "unsupported" not in verdict.note
    assert certified


def _splitting(method: BranchAndBound) -> BranchAndBound:
    class Splitting(BranchAndBound):
        split_inputs_up_to = 0

    return Splitting(restarts=method.restarts)


def test_a_method_that_does_not_ask_for_products_gets_none() -> None:
    problem = asked(0, Fraction(1, 10)).select([2])
    with pytest.raises(UnrollingError, match="products"):
        UnrolledProblem.of(problem, 0, Deadline(20.0))


def test_a_networks_copies_of_entries_are_bounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both factors of attention are copies: their sources are tightened, as often as they are."""
    graph = Graph((2,), 0)
    graph.dense(3, graph.random(3, 2).float().double(), None)
    copies = graph.add(Gather((3,), (9,), None, torch.arange(9) % 3), (9,))
    other = graph.add(Gather((3,), (9,), None, torch.arange(9) // 3), (9,), (1,))
    graph.add(Product(), (9,), (copies, other))
    graph.dense(2, graph.random(2, 9).float().double(), None)
    network = graph.network()
    sizes: list[int] = []
    own = intermediate_bounds._Task.run

    def run(task: intermediate_bounds._Task) -> None:
        sizes.append(len(task.lower))
        own(task)

    monkeypatch.setattr(intermediate_bounds._Task, "run", run)
    problem = ask(network, centers(network, 0, 2), Ball(Norm.LINF, Fraction(1, 10))).select([1])
    around = UnrolledProblem.of(problem, 2, Deadline(20.0), products=True)
    assert sizes == [3]
    assert len(around.lines.leak) == 18
