"""Proved margins against real arithmetic, with no tolerance: rounding must never help a proof."""

from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction
from itertools import permutations, product

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.listing import catalogue
from evaluators.network.affine import Diagonal
from evaluators.network.elementwise import Sigmoid
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.effort import examples, fewer, first_alone
from tests.fixtures.exact import Vector, fractions, least_margin, margin
from tests.fixtures.methods import LONG, quick_first
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers

PROVERS = {
    name: method
    for name, method in catalogue().items()
    if method.accepts is Network and method.certifies and not method.complete
}
"""Complete methods use up their time on a tie; `test_branch_and_bound.py` is about them."""

SLOW = sorted(LONG & PROVERS.keys())
"""Methods that are asked about fewer of many random networks than the others."""


def box(region: Ball, x: Tensor) -> tuple[Vector, Vector]:
    """An linf region around an example, exactly."""
    assert region.norm is Norm.LINF
    low, high = Fraction(region.low), Fraction(region.high)
    lower = [max(v - region.radius, low) for v in fractions(x)]
    return lower, [min(v + region.radius, high) for v in fractions(x)]


def two_layers(first: Tensor, shift: Tensor, second: Tensor, bias: Tensor) -> Network:
    graph = Graph((2,))
    graph.dense(len(first), first.double(), shift.double())
    graph.relu()
    graph.dense(len(second), second.double(), bias.double())
    return graph.network()


def check(
    network: Network, x: Tensor, region: Ball, label: int, slow: Collection[str]
) -> dict[str, Status]:
    """That no proved margin exceeds the exact one, of quick methods and these slow ones."""
    problem = Problem(network, x[None], torch.tensor([label]), region, deployed=False)
    truth = least_margin(network, *box(region, x), label)
    statuses = {}
    for name, evaluator in PROVERS.items():
        if name in SLOW and name not in slow:
            continue
        (verdict,) = evaluator()(problem)
        statuses[name] = verdict.status
        if verdict.margin is not None:
            assert Fraction(verdict.margin) <= truth, name
        if verdict.status is Status.CERTIFIED:
            assert truth > 0, name
    return statuses


@pytest.mark.slow
@pytest.mark.parametrize("radius", [Fraction(1, 20), Fraction(1, 3), Fraction(2)])
def test_random_networks_against_exact_enumeration(radius: Fraction) -> None:
    certified = 0
    for seed in range(fewer(25, 13)):
        network = FAMILIES["relu 2-3-2"](seed)
        x = centers(network, seed, 2)
        for row, label in enumerate(network(x.double()).argmax(1).tolist()):
            region = Ball(Norm.LINF, radius, -1.0, 2.0)
            statuses = check(network, x[row], region, label, SLOW if seed % 3 == 0 else ())
            certified += statuses["crown"] is Status.CERTIFIED
    assert certified > 0 or radius > 1


@pytest.mark.slow
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=12, max_size=12),
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2),
    st.sampled_from([Fraction(8, 255), Fraction(1, 10**7), Fraction(1, 2)]),
    st.sets(st.sampled_from(SLOW), min_size=2, max_size=2),
)
@settings(max_examples=examples(100), deadline=None)
def test_any_float32_weights_against_exact_enumeration(
    weights: list[float], x: list[float], radius: Fraction, slow: set[str]
) -> None:
    """Weights of 1e38 beside those of 1e-45: absorption, overflow and underflow."""
    w = torch.tensor(weights, dtype=torch.float64)
    network = two_layers(w[:4].reshape(2, 2), w[4:6], w[6:10].reshape(2, 2), w[10:])
    example = torch.tensor(x, dtype=torch.float32)
    for label in (0, 1):
        check(network, example, Ball(Norm.LINF, radius), label, slow)


@pytest.mark.slow
@given(
    st.integers(-60, 60),
    st.integers(-3, 3),
    st.sampled_from([1, 2, 3, 5]),
    st.sets(st.sampled_from(SLOW), min_size=2, max_size=2),
)
@settings(max_examples=examples(100), deadline=None)
def test_big_weights_that_cancel_hide_no_counterexample(
    exponent: int, gap: int, hidden: int, slow: set[str]
) -> None:
    """Logits big·x + 1 - big·x against 1 + gap·tiny: the float64 value knows only the big part."""
    big = 2.0**exponent
    tiny = 2.0**-20
    first = torch.tensor([[big, 0.0], [big, 0.0], [0.0, 1.0]])
    shift = torch.tensor([1.0, 0.0, 0.0])
    second = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    bias = torch.tensor([0.0, 1.0 + gap * tiny])
    network = two_layers(first, shift, second, bias)
    x = torch.tensor([0.5, 0.5])
    statuses = check(network, x, Ball(Norm.LINF, Fraction(1, 2 + hidden)), 0, slow)
    if gap >= 0:  # a tie is a violation
        assert Status.CERTIFIED not in statuses.values()


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("name", quick_first(PROVERS))
def test_coefficients_that_cancel_hide_no_counterexample(name: str, order: tuple[int, ...]) -> None:
    """Logit 1/2 - (big·x + x - big·x): multiplied out in float64, the x in the middle is lost."""
    graph = Graph((1,))
    first = torch.tensor([2.0**60, 1.0, -(2.0**60)], dtype=torch.float64)[list(order), None]
    graph.dense(3, first, torch.zeros(3, dtype=torch.float64))
    second = torch.tensor([[-1.0] * 3, [0.0] * 3], dtype=torch.float64)
    graph.dense(2, second, torch.tensor([0.5, 0.0], dtype=torch.float64))
    region = Ball(Norm.LINF, Fraction(1))
    problem = Problem(
        graph.network(), torch.tensor([[0.0]]), torch.tensor([0]), region, deployed=False
    )
    (verdict,) = PROVERS[name]()(problem)
    assert verdict.note == "bound too loose"
    assert verdict.margin is not None
    assert verdict.margin <= -0.5


@pytest.mark.slow
@pytest.mark.parametrize("family", ["relu 2-4-4-3", "leaky 2-4-3-3"])
def test_deep_networks_against_fractions_on_a_grid(family: str) -> None:
    region = Ball(Norm.LINF, Fraction(1, 3))
    for seed in range(fewer(8, 4)):
        network = FAMILIES[family](seed)
        problem = ask(network, centers(network, seed, 2), region)
        found = {name: evaluator()(problem) for name, evaluator in PROVERS.items()}
        for row, label in enumerate(problem.labels.tolist()):
            lower, upper = box(region, problem.x[row])
            axes = [
                [lo + (hi - lo) * step / 8 for step in range(9)]
                for lo, hi in zip(lower, upper, strict=True)
            ]
            least = min(margin(network, list(point), label) for point in product(*axes))
            for verdicts in found.values():
                proved = verdicts[row].margin
                assert proved is None or Fraction(proved) <= least


@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("norm", list(Norm))
def test_equal_logits_are_never_certified(name: str, norm: Norm) -> None:
    graph = Graph((2,))
    weight = torch.tensor([[1.0, 2.0], [1.0, 2.0], [-1.0, -1.0]], dtype=torch.float64)
    graph.dense(3, weight, torch.zeros(3, dtype=torch.float64))
    problem = ask(graph.network(), torch.tensor([[0.5, 0.5]]), Ball(norm, Fraction(1, 100)))
    assert int(problem.labels[0]) == 0
    (verdict,) = PROVERS[name]()(problem)
    assert verdict.status is not Status.CERTIFIED
    assert verdict.margin is None or verdict.margin < 0


COARSE = {"curvature": Fraction(1, 10**6), "op-norm": Fraction(1, 5)}
"""How much less than a tie's radius methods need whose bound of a linear margin is not exact."""


@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("norm", list(Norm))
def test_the_radius_is_decided_exactly(name: str, norm: Norm) -> None:
    """Margin x - 1/2 at x = 3/4: a radius of 1/4 leaves a tie, and a little less a proof."""
    graph = Graph((1,))
    weight = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.tensor([0.0, 0.5], dtype=torch.float64))
    for radius, status in [
        (Fraction(1, 4), Status.UNKNOWN),
        (Fraction(1, 4) - COARSE.get(name, Fraction(1, 10**12)), Status.CERTIFIED),
        (Fraction(1, 4) + Fraction(1, 10**30), Status.UNKNOWN),
    ]:
        problem = ask(graph.network(), torch.tensor([[0.75]]), Ball(norm, radius))
        (verdict,) = PROVERS[name]()(replace(problem, seconds=5.0))
        # A tie is a counterexample, which a complete method may find.
        proved = verdict.status is Status.CERTIFIED
        assert proved == (status is Status.CERTIFIED), radius


def scaled(factors: list[float], shift: float) -> Network:
    """Logits 0 and factors·((x - 1/2) + (y - 1/2)) - shift, factor after factor."""
    double = torch.float64
    graph = Graph((2,))
    graph.add(Diagonal((2,), (2,), torch.full((2,), -0.5, dtype=double), None), (2,))
    for factor in factors:
        scale = torch.tensor(factor, dtype=double)
        graph.add(Diagonal((2,), (2,), None, scale), (2,))
    weight = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=double)
    graph.dense(2, weight, torch.tensor([0.0, -shift], dtype=double))
    return graph.network()


@pytest.mark.parametrize("name", quick_first(PROVERS))
@pytest.mark.parametrize("norm", first_alone(Norm))
@pytest.mark.parametrize(
    ("factors", "shift"),
    [
        ([1e-34] * 5, 0.0),
        ([1e-34] * 5, 2e-171),
        ([1e-45] * 9, 0.0),
        ([1e38] * 8 + [1e-45] * 7, 1e-30),
        ([1e38] * 8 + [1e-45] * 8, 1e-57),
        ([1e-38] * 8 + [1e38] * 8, 1e-10),
    ],
)
def test_products_that_underflow_hide_no_counterexample(
    name: str, norm: Norm, factors: list[float], shift: float
) -> None:
    """At (3/4, 1/2) the second logit exceeds the first one, 0, by less than floats can hold."""
    excess = Fraction(1, 4)
    for factor in factors:
        excess *= Fraction(factor)
    excess -= Fraction(shift)
    assert excess > 0
    x = torch.tensor([[0.5, 0.5]])
    problem = Problem(
        scaled(factors, shift), x, torch.tensor([0]), Ball(norm, Fraction(1, 4)), deployed=False
    )
    # Asked by itself: at the center the logits tie, which is wrong already.
    (verdict,) = PROVERS[name]().solve(replace(problem, seconds=0.5))
    loose = ("bound too loose", "bound not finite", "numerically undecided", "timeout")
    assert verdict.note in loose


@pytest.mark.parametrize("name", quick_first(PROVERS))
def test_a_sigmoid_too_small_for_floats_is_not_zero(name: str) -> None:
    """sigmoid(-720) is 1e-313, which 1 / (1 + exp(720)) gives as 0; 1e318 of it is more than 1."""
    double = torch.float64
    graph = Graph((1,))
    small = torch.full((1, 1), 1e-3, dtype=double)
    graph.dense(1, small, torch.tensor([-720.0], dtype=double))
    graph.add(Sigmoid(), (1,))
    for factor in [1e38] * 8 + [1e14]:
        graph.dense(1, torch.full((1, 1), factor, dtype=double), torch.zeros(1, dtype=double))
        graph.relu()
    weight = torch.tensor([[0.0], [1.0]], dtype=double)
    graph.dense(2, weight, torch.tensor([1.0, 0.0], dtype=double))
    region = Ball(Norm.LINF, Fraction(1, 9))
    problem = Problem(
        graph.network(), torch.tensor([[0.5]]), torch.tensor([0]), region, deployed=False
    )
    (verdict,) = PROVERS[name]()(problem)
    assert verdict.note.startswith(("bound too loose", "bound not finite", "unsupported"))


@given(st.integers(0, 10**6), st.integers(1, 6))
@settings(max_examples=examples(60), deadline=None)
def test_a_margin_of_one_ulp_needs_a_real_proof(seed: int, width: int) -> None:
    """Second logit = first minus a margin of a few float64 ulps: proofs only where it is true."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(width, 2, generator=generator)
    row = torch.randn(width, generator=generator)
    bias = torch.tensor([0.0, float(torch.randn(1, generator=generator)) * 2**-50])
    network = two_layers(first, torch.randn(width, generator=generator), row.repeat(2, 1), bias)
    x = torch.rand(2, generator=generator)
    assume(float(bias[1]) != 0)
    for label in (0, 1):
        check(network, x, Ball(Norm.LINF, Fraction(1, 7)), label, SLOW)


def test_exact_enumeration_is_itself_right() -> None:
    """Least over [0, 1]² of |x - y| - 1/4 is -1/4, on the line where both neurons bend."""
    first = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    second = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    network = two_layers(first, torch.zeros(2), second, torch.tensor([0.0, 0.25]))
    zero, one = Fraction(0), Fraction(1)
    assert least_margin(network, [zero, zero], [one, one], 0) == Fraction(-1, 4)
