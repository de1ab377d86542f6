"""What is proved holds in every float32 run: in any order of summation, and in onnxruntime."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluators.evaluator import Evaluator
from evaluators.listing import catalogue
from evaluators.network.affine import Dense
from evaluators.network.deployment import run_error
from evaluators.network.elementwise import Elementwise, LeakyReLU, Sigmoid, Slopes, Tanh
from evaluators.network.network import Network, Product, Sum
from evaluators.network.steps import Step
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.runtime import Session
from evaluators.onnx.writer import export_onnx
from evaluators.propagation.intervals import interval_bounds
from evaluators.propagation.linear_bounds import linear_relaxation
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Deployment, Status
from tests.fixtures.methods import quick_first
from tests.fixtures.networks import Graph, linear
from tests.fixtures.onnx_models import model, node
from tests.fixtures.tiny import FAMILIES, chain, points_of

Array = NDArray[np.float32]

PROVERS: dict[str, type[Evaluator]] = {
    name: kind for name, kind in catalogue().items() if kind.accepts is Network and kind.certifies
}
SECONDS = 0.5
"""For what must not be certified: a complete method uses all of them up."""


def shuffled(network: Network, x: Array, random: np.random.Generator) -> Array:
    """A float32 run of dense layers and ReLUs, its sums one by one in an order of chance."""
    for step in network.nodes[1:]:
        operation = step.operation
        if isinstance(operation, LeakyReLU):
            x = np.where(x > 0, x, np.float32(operation.leak) * x)
            continue
        assert isinstance(operation, Dense)
        assert operation.bias is not None
        products = operation.weight.numpy().astype(np.float32) * x
        terms = np.concatenate((products, operation.bias.numpy().astype(np.float32)[:, None]), 1)
        terms = random.permuted(terms, axis=1)
        x = np.add.accumulate(terms, axis=1, dtype=np.float32)[:, -1]
    return x


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(1, 24), leak=st.sampled_from([0.0, 0.125]))
def test_no_order_of_summation_leaves_the_intervals(seed: int, width: int, leak: float) -> None:
    network = chain(6, width, width, 3, function=LeakyReLU(leak), seed=seed)
    random = np.random.default_rng(seed)
    for x in random.random((5, 6), dtype=np.float32):
        point = torch.from_numpy(x).double()[None]
        bounds = interval_bounds(network, point, point, deployed=True)[-1]
        computed = shuffled(network, x, random)
        assert bool((torch.from_numpy(computed) >= bounds.lower[0]).all())
        assert bool((torch.from_numpy(computed) <= bounds.upper[0]).all())


def test_an_interval_has_room_for_the_rounding_of_a_bias() -> None:
    """2^24 + 1/2 is 2^24 in float32."""
    point = torch.tensor([[0.5]]).double()
    bounds = interval_bounds(linear([[1.0]], [2.0**24]), point, point, deployed=True)[-1]
    assert float(bounds.lower) <= 2.0**24 < float(bounds.upper)


def test_linear_bounds_of_a_neuron_have_room_for_its_own_rounding() -> None:
    """Also where the walk begins behind the neuron's own weights."""
    seen = 0
    for seed in range(10):
        network = FAMILIES["relu 2-4-4-3"](seed)
        x = torch.rand(3, 2, generator=torch.Generator().manual_seed(seed))
        region = Ball(Norm.LINF, Fraction(1, 2), -9.0, 9.0)
        problem = Problem(network, x, torch.zeros(3, dtype=torch.long), region)
        float32, real = (
            linear_relaxation(replace(problem, deployed=deployed)) for deployed in (True, False)
        )
        for position, step in enumerate(network.nodes):
            error = float32.run_error(position)
            if not isinstance(step.operation, Dense) or error is None:
                continue
            wide, narrow = float32.bounds[position], real.bounds[position]
            assert bool((wide.lower <= narrow.lower - error / 2).all())
            assert bool((wide.upper >= narrow.upper + error / 2).all())
            seen += 1
    assert seen == 30


def large(bias: float) -> Network:
    """Logits x + bias and bias, at which float32 cannot see a small x."""
    return linear([[1.0], [0.0]], [bias, bias])


@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("norm", list(Norm))
def test_a_constant_that_absorbs_the_margin_leaves_no_proof(name: str, norm: Norm) -> None:
    region = Ball(norm, Fraction(1, 8))
    problem = Problem(large(2.0**24), torch.tensor([[0.5]]), torch.tensor([0]), region)
    evaluator = PROVERS[name]()
    (real,) = evaluator.solve(replace(problem, deployed=False, seconds=5.0))
    (float32,) = evaluator.solve(replace(problem, seconds=SECONDS))
    assert real.status is Status.CERTIFIED, "the test is about rounding alone"
    assert float32.status is not Status.CERTIFIED


@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("norm", list(Norm))
def test_a_subnormal_weight_that_hardware_takes_for_zero_leaves_no_proof(
    name: str, norm: Norm
) -> None:
    graph = Graph((1,))
    for power in (40, 39, -127, 40, 8):  # in all, 1
        graph.dense(1, torch.full((1, 1), 2.0**power).double(), torch.zeros(1).double())
    graph.dense(2, torch.tensor([[1.0], [0.0]]).double(), torch.zeros(2).double())
    network, x = graph.network(), torch.tensor([[0.5]])
    before = torch.set_flush_denormal(True)
    try:
        if before:
            run = network.to(torch.float32, x.device)(x)
            assert bool((run == 0).all()), "the test is about a processor that does so"
    finally:
        torch.set_flush_denormal(False)
    problem = Problem(network, x, torch.tensor([0]), Ball(norm, Fraction(1, 8)), seconds=SECONDS)
    (real,) = PROVERS[name]().solve(replace(problem, deployed=False, seconds=5.0))
    (float32,) = PROVERS[name]().solve(problem)
    assert real.note or real.status is Status.CERTIFIED, "the test is about rounding alone"
    assert float32.status is not Status.CERTIFIED


@pytest.mark.parametrize("name", quick_first(PROVERS))
def test_logits_that_are_both_taken_for_zero_leave_no_proof(name: str) -> None:
    """A ReLU rounds nothing, but hardware that flushes subnormal numbers makes 1e-38 a tie."""
    graph = Graph((2,))
    graph.relu()
    x, ball = torch.tensor([[1e-38, 0.0]]), Ball(Norm.LINF, Fraction(1, 10**40))
    problem = Problem(graph.network(), x, torch.tensor([0]), ball, seconds=SECONDS)
    assert PROVERS[name]()(problem)[0].status is Status.UNKNOWN


def test_a_subnormal_leak_may_be_taken_for_zero() -> None:
    error = run_error(LeakyReLU(2.0**-130), [torch.tensor([[2.0**80]]).double()])
    assert error is not None
    assert float(error) >= 2.0**-50


@pytest.mark.parametrize("leak", [0.1, 0.3, 0.9, float(np.float32(0.1))])
def test_a_leak_that_is_no_float32_number_is_rounded_as_well(leak: float) -> None:
    """No file has one, but a network may be written down with one."""
    x = torch.from_numpy(np.linspace(-200, -1, 4001, dtype=np.float32))[None]
    error = run_error(LeakyReLU(leak), [x.double().abs()])
    lost = (LeakyReLU(leak)(x).double() - leak * x.double()).abs()
    assert error is not None
    assert bool((lost <= error).all())


@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("inputs", [1, 16])
def test_a_constant_that_comes_and_goes_leaves_no_proof_either(name: str, inputs: int) -> None:
    """Added before a ReLU and taken off behind it: the logits are of modest size."""
    graph = Graph((inputs,))
    one = torch.zeros(2, inputs).double()
    one[0, 0] = 1.0
    graph.dense(2, one, torch.full((2,), 2.0**24).double())
    graph.relu()
    graph.dense(2, torch.eye(2).double(), torch.full((2,), -(2.0**24)).double())
    graph.relu(leak=0.5)
    graph.dense(2, torch.eye(2).double(), torch.tensor([0.0, 0.125]).double())
    x, region = torch.full((1, inputs), 0.5), Ball(Norm.LINF, Fraction(1, 8))
    problem = Problem(graph.network(), x, torch.tensor([0]), region, seconds=SECONDS)
    (real,) = PROVERS[name]().solve(replace(problem, deployed=False, seconds=5.0))
    (float32,) = PROVERS[name]().solve(problem)
    declined = real.note.startswith("unsupported")
    assert declined or real.status is Status.CERTIFIED, "the test is about rounding alone"
    assert float32.status is not Status.CERTIFIED


@pytest.mark.parametrize("name", quick_first(PROVERS))
def test_a_proof_says_which_runs_it_is_about(name: str) -> None:
    region = Ball(Norm.LINF, Fraction(1, 8))
    problem = Problem(large(1.0), torch.tensor([[0.5]]), torch.tensor([0]), region)
    for deployed, kind in ((True, Deployment.FLOAT32), (False, Deployment.REAL)):
        (verdict,) = PROVERS[name]()(replace(problem, deployed=deployed, seconds=5.0))
        assert (verdict.status, verdict.deployment) == (Status.CERTIFIED, kind)


CHAINS = [name for name in FAMILIES if name.startswith(("relu", "leaky"))]


def shifted(network: Network, by: float) -> Network:
    """The network with a constant added to all logits."""
    *nodes, last = network.nodes
    operation = last.operation
    assert isinstance(operation, Dense)
    bias = torch.zeros(last.shape).double() if operation.bias is None else operation.bias
    bias = (bias + by).float().double()
    return Network((*nodes, replace(last, operation=replace(operation, bias=bias))))


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("family", CHAINS)
def test_margins_hold_in_every_order_on_a_dense_grid(name: str, family: str) -> None:
    """Of networks whose logits have a large constant, so that float32 loses what float64 keeps."""
    random, inner = np.random.default_rng(0), Ball(Norm.LINF, Fraction(49, 1000))
    for seed, size in itertools.product(range(2), (0.0, 2.0**12, 2.0**16)):
        network = shifted(FAMILIES[family](seed), size)
        x = torch.rand(3, *network.input_shape, generator=torch.Generator().manual_seed(seed))
        region = Ball(Norm.LINF, Fraction(1, 20))
        labels = network(x.double()).argmax(1)
        problem = Problem(network, x, labels, region, seconds=2.0)
        found = PROVERS[name]().solve(problem)
        for row, verdict in enumerate(found):
            if verdict.status is not Status.CERTIFIED:
                continue
            assert verdict.margin is not None
            label = int(labels[row])
            for point in points_of(inner, x[row], 5):
                logits = shuffled(network, point.float().numpy(), random).astype(np.float64)
                margin = logits[label] - np.delete(logits, label).max()
                assert margin >= verdict.margin > 0


@pytest.mark.slow
def test_margins_near_zero_hold_in_onnxruntime(tmp_path: Path) -> None:
    """Tiny networks whose second logit is the first less almost nothing."""
    broken = proved = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        graph = Graph((3,))
        graph.dense(4, torch.randn(4, 3, generator=generator).float().double())
        graph.relu()
        row = torch.randn(4, generator=generator).float().double()
        weight = torch.stack((row, row, -row))
        gap = 10.0 ** -float(torch.randint(3, 9, (1,), generator=generator))
        graph.dense(3, weight, torch.tensor([3.0, 3.0 - gap, -9.0]).float().double())
        path = tmp_path / f"{seed}.onnx"
        export_onnx(graph.network(), path)
        network = import_onnx(path)
        x = torch.rand(1, 3, generator=generator)
        region = Ball(Norm.LINF, Fraction(1, 10))
        problem = Problem(network, x, torch.tensor([0]), region, seconds=0.25)
        for name in ("ibp", "crown", "branch-and-bound"):
            (verdict,) = PROVERS[name]()(problem)
            if verdict.status is not Status.CERTIFIED:
                continue
            proved += 1
            assert network.runtime is not None
            for point in points_of(Ball(Norm.LINF, Fraction(99, 1000)), x[0], 7):
                logits = network.runtime(point.float().numpy())[0]
                broken += not logits[0] > logits[1]
    assert proved > 20
    assert not broken


def test_a_tie_of_all_deployed_logits_is_no_class() -> None:
    problem = Problem(
        large(2.0**30), torch.tensor([[0.5]]), torch.tensor([0]), Ball(Norm.LINF, Fraction(1, 4))
    )
    for kind in PROVERS.values():
        (verdict,) = kind()(problem)
        assert (verdict.status, verdict.prediction) == (Status.UNKNOWN, None)


@pytest.mark.parametrize("function", [Sigmoid(), Tanh()], ids=["sigmoid", "tanh"])
def test_onnxruntimes_functions_are_within_what_is_charged_for_them(function: Elementwise) -> None:
    """On a dense grid and in far tails, of every width of a vectorised kernel."""
    points = torch.cat((torch.linspace(-20, 20, 400_003), torch.logspace(-30, 4, 3000)))
    points = torch.cat((points, -points)).float()
    graph = model([node(function.name, "x", "y")], ("batch", len(points)))
    (computed,) = Session(graph.SerializeToString())({"x": points.numpy()[None]}).values()
    worst = (torch.from_numpy(computed[0]).double() - function(points.double())).abs().max()
    assert 0 < float(worst) <= function.run_error / 2


def test_what_may_overflow_has_no_bound() -> None:
    network = linear([[1e38, 1e38], [0.0, 1.0]], [0.0, 0.0])
    error = run_error(network.nodes[1].operation, [torch.tensor([[1.5, 1.5]]).double()])
    assert error is not None
    assert torch.isinf(error).tolist() == [[True, False]]


@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("function", [Sigmoid(), Tanh(), Step()], ids=lambda its: its.name)
def test_a_bounded_function_of_what_may_be_no_number_leaves_no_proof(
    name: str, function: Elementwise
) -> None:
    """The square of a large number, less the same: infinity less infinity in a run."""
    graph = Graph((1,))
    nothing = torch.zeros(1).double()
    graph.dense(1, torch.full((1, 1), 2.0**40).double(), nothing)
    large, minus = (
        graph.add(Dense((1,), (1,), nothing, torch.full((1, 1), by).double()), (1,), [1])
        for by in (2.0**35, -(2.0**35))
    )
    squares = [graph.add(Product(), (1,), [large, other]) for other in (large, minus)]
    graph.sum(*squares)
    graph.add(function, (1,))
    graph.dense(2, torch.tensor([[1.0], [0.0]]).double(), torch.tensor([2.0, 0.0]).double())
    network, x = graph.network(), torch.tensor([[0.5]])
    if not isinstance(function, Step):  # which is a comparison, of whatever
        run = network.to(torch.float32, x.device)(x)
        assert bool(run.isnan().any()), "the test is about runs that overflow"
    region = Ball(Norm.LINF, Fraction(1, 8))
    problem = Problem(network, x, torch.tensor([0]), region, seconds=SECONDS)
    (verdict,) = PROVERS[name]().solve(problem)
    assert verdict.status is not Status.CERTIFIED


def test_a_step_at_what_is_no_number_has_no_lines() -> None:
    nothing = torch.full((1, 1), math.nan).double()
    for line in Step().intercepts(Slopes(nothing, nothing), nothing, nothing):
        assert bool(line.isnan().all())


def test_not_a_number_has_no_bound() -> None:
    nothing = torch.full((1, 1), math.nan).double()
    for operation, inputs in ((linear([[1.0]], [0.0]).nodes[1].operation, 1), (Sum(), 2)):
        error = run_error(operation, [nothing] * inputs)
        assert error is not None
        assert bool(torch.isinf(error).all())


def test_an_unknown_function_has_no_bound() -> None:
    class Other(Sigmoid):
        run_error = Elementwise.run_error

    network = chain(2, 3, 2, function=Other(), seed=0)
    problem = Problem(network, torch.rand(1, 2), torch.tensor([0]), Ball(Norm.LINF, Fraction(1, 9)))
    for kind in PROVERS.values():
        (verdict,) = kind().solve(replace(problem, seconds=1.0))
        assert verdict.status is not Status.CERTIFIED
