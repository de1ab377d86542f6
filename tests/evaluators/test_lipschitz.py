"""Lipschitz constants: proved from the weights alone, never too small, tight where it counts."""

import math
from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic.lipschitz_margin import LipschitzMargin
from evaluators.deterministic.op_norm import OpNorm
from evaluators.falsification.pgd import PGD
from evaluators.lipschitz import spectral
from evaluators.lipschitz.blocks import blocks_of
from evaluators.lipschitz.constants import Reach, margins
from evaluators.lipschitz.one_run import OneRun
from evaluators.lipschitz.operators import constant_of
from evaluators.lipschitz.spectral import convolution_bound, matrix_bound
from evaluators.network.affine import Adjoint, Convolution, Dense, Diagonal, Gather
from evaluators.network.deployment import run_error
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import MaxPool, Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.effort import examples, first_alone
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers

ORDERS = {Norm.LINF: torch.inf, Norm.L2: 2, Norm.L1: 1}


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(-60, 60),
    st.integers(0, 4),
    st.integers(0, 99),
)
def test_a_matrix_bound_is_above_the_norm_and_next_to_it(
    rows: int, columns: int, power: int, rank: int, seed: int
) -> None:
    left = torch.randn(rows, max(1, rank), generator=drawn(seed), dtype=torch.float64)
    right = torch.randn(max(1, rank), columns, generator=drawn(seed + 1), dtype=torch.float64)
    matrix = left @ right * 10.0**power if rank else torch.zeros(rows, columns).double()
    bound, norm = matrix_bound(matrix), float(torch.linalg.matrix_norm(matrix, 2))
    assert norm * (1 - 1e-13) <= bound <= norm * 1.01 + 1e-130


def test_a_matrix_that_is_not_finite_has_no_bound() -> None:
    for value in (math.nan, math.inf):
        assert matrix_bound(torch.tensor([[1.0, value]]).double()) == math.inf


def convolution_of(seed: int) -> Convolution:
    """One of any layout: one or two dimensions, groups, strides, padding and dilation."""
    random = Random(seed)
    groups, dimensions = random.choice((1, 2)), random.choice((1, 2))
    inputs, outputs = groups * random.randint(1, 2), groups * random.randint(1, 3)

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(random.randint(low, high) for _ in range(dimensions))

    layout = each(1, 3), each(0, 2), each(1, 2), groups
    weight = torch.randn(outputs, inputs // groups, *each(1, 3), generator=drawn(seed)).double()
    shape = (inputs, *each(5, 6))
    run = torch.nn.functional.conv1d if dimensions == 1 else torch.nn.functional.conv2d
    after = tuple(run(torch.zeros(1, *shape).double(), weight, None, *layout).shape[1:])
    return Convolution(shape, after, None, weight, *layout)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 10_000))
def test_no_convolution_is_larger_than_its_bound(seed: int) -> None:
    convolution = convolution_of(seed)
    matrix = torch.from_numpy(convolution.matrix.toarray())
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    assert norm * (1 - 1e-13) <= convolution_bound(convolution)
    for kind, order in ORDERS.items():
        for one in (
            convolution,
            Adjoint(convolution.output_shape, convolution.input_shape, None, convolution),
        ):
            whole = torch.from_numpy(one.matrix.toarray())
            assert float(torch.linalg.matrix_norm(whole, order)) * (1 - 1e-13) <= constant_of(
                one, kind
            )


def test_a_long_convolution_is_bounded_to_a_few_per_cent() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=drawn(0)).double()
    ones = (1, 1)
    convolution = Convolution((3, 16, 16), (4, 16, 16), None, weight, ones, ones, ones)
    matrix = torch.from_numpy(convolution.matrix.toarray())
    assert convolution_bound(convolution) <= 1.05 * float(torch.linalg.matrix_norm(matrix, 2))


@pytest.mark.parametrize(("image", "kernel"), [((60, 60), (40, 40)), ((3000,), (1500,))])
def test_a_kernel_as_large_as_its_image_is_bounded_piece_by_piece(
    image: tuple[int, ...], kernel: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frequencies times its taps are far more numbers than either: of a file of a few kB."""
    sizes = list[int]()
    einsum = torch.einsum

    def counted(equation: str, weight: Tensor, waves: Tensor) -> Tensor:
        # Of a part of a tensor all of it is in memory.
        sizes.append(waves.untyped_storage().nbytes() // waves.element_size())
        return einsum(equation, weight, waves)

    weight = torch.randn(1, 1, *kernel, dtype=torch.float64)
    zeros, ones = (0,) * len(image), (1,) * len(image)
    places = tuple(size - taps + 1 for size, taps in zip(image, kernel, strict=True))
    large = Convolution((1, *image), (1, *places), None, weight, ones, zeros, ones)
    monkeypatch.setattr(torch, "einsum", counted)
    assert convolution_bound(large) >= float(weight.abs().max())
    assert max(sizes) <= spectral.AT_ONCE


def test_few_weights_far_apart_do_not_take_long() -> None:
    """A file of thousands of them would take hours before its first example."""
    weight = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    shape, far = (1, 32, 32), (10_000, 10_000)
    small = Convolution(shape, shape, None, weight, (1, 1), far, far)
    assert convolution_bound(small) == math.inf
    assert constant_of(small, Norm.L2) == pytest.approx(1)  # one tap alone meets the image


def test_a_convolution_whose_sums_over_taps_would_take_hours_has_no_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = torch.ones(1, 1, 30, 30, dtype=torch.float64)
    large = Convolution((1, 40, 40), (1, 11, 11), None, weight, (1, 1), (0, 0), (1, 1))
    assert math.isfinite(convolution_bound(large))
    monkeypatch.setattr(spectral, "MOST_PRODUCTS", 2**20)
    assert convolution_bound(large) == math.inf
    assert math.isfinite(constant_of(large, Norm.L2))


@pytest.mark.parametrize("norm", list(Norm))
def test_other_operators_have_the_norms_of_their_matrices(norm: Norm) -> None:
    for one in (
        Dense((4,), (3,), None, torch.randn(3, 4, generator=drawn(1)).double()),
        Diagonal((3,), (3,), None, torch.tensor([1.0, -2.0, 0.5]).double()),
        Gather((3,), (5,), None, torch.tensor([0, 0, -1, 2, 0])),
    ):
        matrix = torch.from_numpy(one.matrix.toarray())
        norm_of = float(torch.linalg.matrix_norm(matrix, ORDERS[norm]))
        assert norm_of * (1 - 1e-13) <= constant_of(one, norm) <= norm_of * 1.001


@pytest.mark.parametrize("norm", list(Norm))
def test_windows_that_overlap_move_by_more_than_their_inputs(norm: Norm) -> None:
    pool = MaxPool((1, 5, 5), (3, 3), (1, 1), (1, 1))
    x, y = torch.zeros(1, 1, 5, 5).double(), torch.zeros(1, 1, 5, 5).double()
    y[0, 0, 2, 2] = 1.0
    moved = torch.linalg.vector_norm((pool(y) - pool(x)).flatten(), ORDERS[norm])
    assert float(moved) <= constant_of(pool, norm)


def sandwich(seed: int, scale: float = 1.0) -> Network:
    """Three blocks x - 2 W T⁻¹ relu(Wᵀx + b) of 1-Lipschitz training, and a dense layer."""
    graph = Graph((6,), seed)
    for _ in range(3):
        start = len(graph.nodes) - 1
        weight = graph.random(8, 6)
        share = (weight @ weight.T).abs().sum(1)
        graph.dense(8, weight.float().double(), graph.random(8).float().double())
        graph.relu()
        back = -2 * scale * weight.T / share
        last = graph.dense(6, back.float().double(), torch.zeros(6).double())
        graph.sum(start, last)
    graph.dense(3, graph.random(3, 6).float().double(), torch.zeros(3).double())
    return graph.network()


def sorted_pairs(seed: int) -> Network:
    """Maxima and minima of pairs, written with ReLUs: max(a, b) = b + relu(a - b)."""
    graph = Graph((4,), seed)
    swap = torch.tensor([1, 0, 3, 2])
    start = graph.dense(
        4, torch.linalg.qr(graph.random(4, 4)).Q.float().double(), torch.zeros(4).double()
    )
    swapped = graph.add(Gather((4,), (4,), None, swap), (4,))
    apart = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]]).double()
    graph.add(Dense((4,), (2,), None, apart), (2,), (start,))
    graph.relu()
    last = graph.dense(4, apart.T.clone(), torch.zeros(4).double())
    graph.sum(swapped, last)
    graph.dense(3, graph.random(3, 4).float().double(), torch.zeros(3).double())
    return graph.network()


@pytest.mark.parametrize("build", [sandwich, sorted_pairs])
def test_blocks_of_1_lipschitz_training_have_a_constant_of_one(build: object) -> None:
    for seed in range(4):
        network = build(seed)  # type: ignore[operator]
        blocks = blocks_of(network)
        assert len(blocks) == (3 if build is sandwich else 1)
        for block in blocks.values():
            assert 1 <= block.constant <= 1 + 1e-4


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 500), st.floats(0.1, 3.0))
def test_no_block_moves_by_more_than_its_constant(seed: int, scale: float) -> None:
    """Whatever the weights are: those of training with another scale are no 1-Lipschitz block."""
    network = sandwich(seed, scale)
    for position, block in blocks_of(network).items():
        assert block.start < position
        x = torch.randn(200, 6, generator=drawn(seed)).double()
        y = x + torch.randn(200, 6, generator=drawn(seed + 1)).double() * 0.1
        before = [values(network, z)[block.start] for z in (x, y)]
        after = [values(network, z)[position] for z in (x, y)]
        ratio = (after[0] - after[1]).norm(dim=1) / (before[0] - before[1]).norm(dim=1)
        assert float(ratio.max()) <= block.constant


def values(network: Network, x: Tensor) -> list[Tensor]:
    found = [x]
    for node in network.nodes[1:]:
        operation, parents = node.operation, [found[p] for p in node.parents]
        found.append(operation(parents[0]) if len(parents) == 1 else parents[0] + parents[1])  # type: ignore[operator]
    return found


@pytest.mark.parametrize("norm", list(Norm))
def test_no_node_moves_farther_than_is_said(norm: Norm) -> None:
    for name in ("relu 2-4-4-3", "residual", "pooled", "convolutional", "tanh 2-3-3-2"):
        network = FAMILIES[name](1)
        problem = ask(network, centers(network, 1, 3), Ball(norm, Fraction(1, 5)))
        reach = Reach.of(problem)
        low, high = problem.region.hull(problem.x)
        for corner in range(8):
            share = torch.rand(low.shape, generator=drawn(corner), dtype=torch.float64)
            point = (low + share * (high - low)).float()
            inside = [problem.region.contains(x, p) for x, p in zip(problem.x, point, strict=True)]
            logits = network.to(torch.float32)(point).double()
            value = network(problem.x.double())
            size = torch.linalg.vector_norm(logits - value, ORDERS[norm], dim=1)
            assert bool((size <= reach.moved[-1] + reach.lost[-1])[inside].all())


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 9999), st.sampled_from([Norm.L2, Norm.L1]), st.floats(-3, 3))
def test_no_run_within_reach_loses_more_at_a_node_than_is_said(
    seed: int, norm: Norm, power: float
) -> None:
    graph = Graph((5,), seed)
    graph.dense(7, 10.0**power * graph.random(7, 5), graph.random(7))
    graph.dense(4, graph.random(4, 7), graph.random(4))
    network = graph.network()
    problem = ask(network, centers(network, seed, 2), Ball(norm, Fraction(1, 3)))
    reach = Reach.of(replace(problem, deployed=True))
    for position in (1, 2):
        (parent,), operation = network.nodes[position].parents, network.nodes[position].operation
        far = torch.randn(2, *network.nodes[parent].shape, generator=drawn(seed)).double()
        far = far.softmax(1) if seed % 2 else far  # along all weights that are large
        far = far / torch.linalg.vector_norm(far, ORDERS[norm], dim=1, keepdim=True)
        steps = (reach.moved[parent] + reach.lost[parent])[:, None] * far.abs()
        error = run_error(operation, [reach.values[parent].magnitude + steps])
        assert error is not None
        size = torch.linalg.vector_norm(error, ORDERS[norm], dim=1)
        assert bool((size <= reach.own[position] * (1 + 1e-12)).all())


@pytest.mark.parametrize("norm", first_alone([Norm.L2, Norm.LINF, Norm.L1]))
@pytest.mark.parametrize("method", first_alone([LipschitzMargin(), OpNorm()]))
def test_no_attack_breaks_what_is_proved(method: LipschitzMargin | OpNorm, norm: Norm) -> None:
    proved = 0
    for seed in range(6):
        network = (sandwich, sorted_pairs)[seed % 2](seed)
        x = torch.rand(20, *network.input_shape, generator=drawn(seed))
        problem = ask(network, x, Ball(norm, Fraction(1, 50)))
        for mine, attack in zip(method(problem), PGD()(problem), strict=True):
            assert not (mine.status is Status.CERTIFIED and attack.status is Status.FALSIFIED)
            proved += mine.status is Status.CERTIFIED
    assert proved


def test_weights_of_any_size_prove_nothing_that_float32_does_not_keep() -> None:
    """Where a constant swallows the input, all runs tie, and real arithmetic alone has a margin."""
    graph = Graph((2,), 0)
    graph.dense(2, torch.eye(2).double(), torch.full((2,), 2.0**30).double())
    graph.relu()
    graph.dense(2, torch.eye(2).double(), torch.zeros(2).double())
    network = graph.network()
    x = torch.tensor([[0.9, 0.1]])
    problem = ask(network, x, Ball(Norm.L2, Fraction(1, 100)))
    problem = replace(problem, labels=torch.zeros(1).long())
    for deployed, status in ((False, Status.CERTIFIED), (True, Status.UNKNOWN)):
        asked = replace(problem, deployed=deployed)
        assert LipschitzMargin().solve(asked)[0].status is status


def test_pairs_of_rows_and_blocks_prove_more_than_products() -> None:
    network = sandwich(3)
    problem = ask(network, torch.rand(60, 6, generator=drawn(0)), Ball(Norm.L2, Fraction(1, 20)))
    counts = [
        sum(v.status is Status.CERTIFIED for v in method(problem))
        for method in (OpNorm(), LipschitzMargin())
    ]
    assert counts[1] > counts[0]


def test_leaky_slopes_are_no_steeper_than_one() -> None:
    assert constant_of(LeakyReLU(0.2), Norm.L2) == 1.0


def one_run(problem: Problem) -> OneRun:
    run = OneRun.within(problem)
    assert run is not None
    return run


@pytest.mark.parametrize("norm", list(Norm))
def test_one_run_is_no_farther_from_real_arithmetic_than_is_said(norm: Norm) -> None:
    """Also where a bias swallows what is added to it."""
    graph = Graph((2,), 0)
    graph.dense(2, torch.eye(2).double(), torch.full((2,), 2.0**24).double())
    swallowed = graph.network()
    networks = [swallowed, sandwich(0), sorted_pairs(1)]
    networks += [FAMILIES[name](1) for name in ("relu 2-4-4-3", "residual", "pooled")]
    for network in networks:
        x = torch.rand(3, *network.input_shape, generator=drawn(0))
        asked = ask(network, x, Ball(norm, Fraction(1, 5)))
        real = one_run(replace(asked, deployed=False))
        exact = Reach.of(replace(asked, deployed=False)).values[-1].lower
        apart = real.values[-1].lower - exact
        size = torch.linalg.vector_norm(apart, ORDERS[norm], dim=1)
        assert bool((size <= real.lost[-1] + 1e-13).all())
        theirs = one_run(replace(asked, deployed=True))
        assert torch.equal(theirs.moved[-1], real.moved[-1])
        assert bool((theirs.lost[-1] >= 2 * real.lost[-1]).all())


@pytest.mark.parametrize("deployed", first_alone([True, False]))
def test_one_run_leaves_nothing_open_that_intervals_prove(deployed: bool) -> None:
    """Radii next to the largest that intervals prove, where one run is not enough."""
    network = sandwich(3)
    x = torch.rand(12, *network.input_shape, generator=drawn(2))
    asked = replace(ask(network, x, Ball(Norm.L2, Fraction(1, 50))), deployed=deployed)

    def by_intervals(problem: Problem) -> list[bool]:
        return (margins(Reach.of(problem), problem.labels) > 0).all(1).tolist()

    more = 0
    for row in range(len(asked)):
        one, low, high = asked.select([row]), Fraction(0), Fraction(1)
        for _ in range(40):
            middle = (low + high) / 2
            proved = by_intervals(replace(one, region=Ball(Norm.L2, middle)))[0]
            low, high = (middle, high) if proved else (low, middle)
        if low:
            one = replace(one, region=Ball(Norm.L2, low))
            run = one_run(one)
            more += not bool((margins(run, one.labels) > 0).all())
            assert LipschitzMargin().solve(one)[0].status is Status.CERTIFIED
    assert more, "no radius was one that a run alone does not prove"


def test_no_run_counts_where_float32_may_have_fewer_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    network = sandwich(0)
    x = torch.rand(2, *network.input_shape, generator=drawn(0))
    asked = ask(network, x, Ball(Norm.L2, Fraction(1, 50)))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert OneRun.within(asked) is None
    finally:
        torch.set_float32_matmul_precision(before)
    assert OneRun.within(replace(asked, x=asked.x.double())) is None
    assert OneRun.within(asked) is not None
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    assert OneRun.within(asked) is None
