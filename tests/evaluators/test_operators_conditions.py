"""Comparisons, and choices by them: read as onnxruntime runs them, and bounded at every jump."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import NodeProto

from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.ibp import IBP
from evaluators.listing import catalogue
from evaluators.network.deployment import FLUSHED
from evaluators.network.elementwise import LeakyReLU, Slopes
from evaluators.network.network import Network, Product
from evaluators.network.steps import Rounding, Step
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.evaluators.test_operators import check
from tests.fixtures.effort import examples, first_alone
from tests.fixtures.methods import quick_first
from tests.fixtures.networks import Graph
from tests.fixtures.onnx_models import Array, node, numbers
from tests.fixtures.tiny import ask, centers, least_margins, points_of

METHODS = {name: e for name, e in catalogue().items() if e.accepts is Network and e.certifies}
CHOICES: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "Greater": ([node("Greater", "x c", "t"), node("Where", "t x d", "z")], {}),
    "Less": ([node("Less", "x c", "t"), node("Where", "t d x", "z")], {}),
    "GreaterOrEqual": ([node("GreaterOrEqual", "c x", "t"), node("Where", "t c d", "z")], {}),
    "LessOrEqual": ([node("LessOrEqual", "x c", "t"), node("Where", "t x n", "z")], {}),
    "Sign": ([node("Sub", "x c", "s"), node("Sign", "s", "z")], {}),
    "Not": (
        [node("Greater", "x c", "t"), node("Not", "t", "u"), node("Cast", "u", "z", to=1)], {},
    ),
    "And": (
        [
            node("Greater", "x c", "t"), node("Less", "x d", "u"), node("And", "t u", "v"),
            node("Where", "v x c", "z"),
        ],
        {},
    ),
    "Or": (
        [
            node("Greater", "x c", "t"), node("Less", "x d", "u"), node("Or", "t u", "v"),
            node("Where", "v n x", "z"),
        ],
        {},
    ),
    "IsNaN": ([node("IsNaN", "x", "t"), node("Where", "t c x", "z")], {}),
    "IsInf": ([node("IsInf", "x", "t"), node("Where", "t d x", "z")], {}),
    "zeros of a ReLU": (
        [
            node("Sub", "x c", "s"), node("Relu", "s", "r"), node("Equal", "r zero", "t"),
            node("Where", "t d s", "z"),
        ],
        {"zero": np.zeros(1, np.float32)},
    ),
    "the largest number for infinity": (
        [
            node("IsInf", "x", "i"), node("Greater", "x c", "g"), node("And", "g i", "t"),
            node("Where", "t most x", "z"),
        ],
        {"most": np.array(np.finfo(np.float32).max)},
    ),
    **{
        kind: ([node("Mul", "x w", "s"), node(kind, "s", "z")], {"w": 3 * numbers(3, 4, seed=5)})
        for kind in ("Floor", "Ceil", "Round")
    },
    "of a wider value": (
        [node("Greater", "x c", "t"), node("Where", "t x w", "z")], {"w": numbers(3, 4, seed=5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("opset", [16, 21])
def test_it_is_read_as_it_is_run_and_bounded(name: str, opset: int, tmp_path: Path) -> None:
    nodes, more = CHOICES[name]
    known = {"c": np.full(4, 0.5, np.float32), "d": numbers(4, seed=2), **more}
    nodes = [node("Neg", "x", "n"), *nodes]
    nodes = [each for each in nodes if each.op_type != "Neg" or "n" in str(nodes[1:])]
    used = {key: array for key, array in known.items() if f'"{key}"' in str(nodes)}
    network = check(tmp_path, (3, 4), nodes, used, opset=opset)
    x = torch.rand(3, 3, 4, generator=torch.Generator().manual_seed(0))
    labels, noise = network(x.double()).argmax(1), torch.rand(400, 1, 3, 4) * 2 - 1
    for radius in (Fraction(1, 1000), Fraction(1, 10)):
        near = (x + noise * float(radius)).clamp(0, 1).flatten(0, 1)
        logits = network(near.double()).reshape(400, 3, -1)
        best = logits.gather(2, labels.expand(400, 3)[..., None])
        others = logits.scatter(2, labels.expand(400, 3)[..., None], -torch.inf).amax(2)
        least = (best[..., 0] - others).amin(0)
        for method in (IBP(), CROWN()):
            problem = Problem(network, x, labels, Ball(Norm.LINF, radius))
            for row, verdict in enumerate(method(problem)):
                assert verdict.margin is None or verdict.margin <= float(least[row])


def stepped(seed: int, chooses: bool) -> Network:
    """A layer, a comparison with zero, and a choice by it or by whole numbers."""
    graph = Graph((2,), seed)

    def layer() -> None:
        (inputs,) = graph.nodes[-1].shape
        weight = (2 * graph.random(4, inputs)).float().double()
        graph.dense(4, weight, (graph.random(4) / 4).float().double())

    layer()
    other = graph.add(LeakyReLU(), (4,))
    layer()
    truth = graph.add(Step() if chooses else Rounding("Round"), (4,))
    if chooses:
        graph.add(Product(), (4,), (other, truth))
    weight = (3 * graph.random(2, 4)).float().double()
    graph.dense(2, weight, graph.random(2).float().double())
    return graph.network()


@pytest.mark.parametrize("norm", first_alone([Norm.LINF, Norm.L2, Norm.L1]))
@pytest.mark.parametrize("name", quick_first(METHODS))
def test_every_method_is_right_at_jumps_or_says_that_it_cannot(name: str, norm: Norm) -> None:
    for seed in range(2):
        network = stepped(seed, chooses=seed % 2 > 0)
        for radius in (Fraction(1, 100), Fraction(1, 4)):
            region = Ball(norm, radius)
            problem = ask(network, centers(network, seed, 3), region)
            for row, verdict in enumerate(METHODS[name]()(problem)):
                points = points_of(region, problem.x[row], 41)
                least = float(least_margins(network, points, int(problem.labels[row])).min())
                assert verdict.margin is None or verdict.margin <= least + 1e-7
                assert least > 0 or verdict.status is not Status.CERTIFIED


@given(st.floats(-2, 2), st.floats(0, 3), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=examples(100), deadline=None)
@example(0.0, 0.0, 0.0, 0.0)
@example(-1.0, 1.0, 0.5, 2.0)
@example(1e-300, 1.0, 0.0, 0.0)
@example(-1e-7, 1.0, 0.0, 0.0)
@example(0.0, 1.175494351e-38, 0.0, 0.0)
@example(FLUSHED, 0.0, 0.0, 0.0)
@example(-FLUSHED, 0.0, 0.0, 0.0)
def test_lines_and_bounds_hold_on_both_sides_of_the_step(
    start: float, width: float, low: float, high: float
) -> None:
    ends = [torch.tensor([end], dtype=torch.float64) for end in (start, start + width)]
    x = torch.cat((torch.linspace(start, start + width, 101).double(), *ends))
    x = x.clamp(float(ends[0]), float(ends[1]))
    near = x.abs() <= FLUSHED
    step = Step()
    for slopes in (Slopes(*torch.tensor([[low], [high]]).double()), step.slopes(*ends)):
        below, above = step.intercepts(slopes, *ends)
        for value in (step(x), torch.where(near, 1.0, step(x)), torch.where(near, 0.0, step(x))):
            assert bool((slopes.lower * x + below <= value).all())
            assert bool((slopes.upper * x + above >= value).all())
    least, most = step.bounds(*ends)
    assert bool((least <= step(x)).all())
    assert bool((step(x) <= most).all())
    assert float(most - least) == float(bool(ends[0] <= FLUSHED) and bool(ends[1] >= -FLUSHED))


@given(
    st.sampled_from(["Floor", "Ceil", "Round"]),
    st.floats(-6, 6), st.floats(0, 5), st.floats(-3, 3), st.floats(-3, 3),
)  # fmt: skip
@settings(max_examples=examples(200), deadline=None)
@example("Floor", 0.0, 0.0, 0.0, 0.0)
@example("Floor", -1e-40, 0.0, 1.0, 1.0)
@example("Ceil", 1e-40, 0.5, 0.5, 2.0)
@example("Round", 0.5, 1.0, 1.0, 1.0)
@example("Round", -2.5, 5.0, 0.0, 0.0)
@example("Ceil", -3.0, 3.0, 0.9, 1.1)
def test_lines_and_bounds_hold_for_whole_numbers(
    kind: str, start: float, width: float, low: float, high: float
) -> None:
    ends = [torch.tensor([end], dtype=torch.float64) for end in (start, start + width)]
    halves = torch.arange(-16, 30).double() / 2
    x = torch.cat((torch.linspace(start, start + width, 101).double(), halves, *ends))
    x = x.clamp(float(ends[0]), float(ends[1]))
    function = Rounding(kind)
    flushed = function(torch.where(x.abs() <= FLUSHED, 0.0, x))
    for slopes in (Slopes(*torch.tensor([[low], [high]]).double()), function.slopes(*ends)):
        below, above = function.intercepts(slopes, *ends)
        gaps, _ = function.supports(slopes, *ends)
        assert bool((below <= gaps.lower).all())
        assert bool((above >= gaps.upper).all())
        for value in (function(x), flushed):
            assert bool((slopes.lower * x + below <= value).all())
            assert bool((slopes.upper * x + above >= value).all())
    least, most = function.bounds(*ends)
    for value in (function(x), flushed):
        assert bool((least <= value).all())
        assert bool((value <= most).all())
    assert float(most - least) <= width + 1
