"""What the checker proves of a claim alone: true, and never above exact arithmetic."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from scipy.sparse import csr_matrix

from evaluators.network.network import Network
from evaluators.recheck import batch
from evaluators.recheck.arithmetic import Arithmetic
from evaluators.recheck.batch import Intervals, least_margins
from evaluators.recheck.checker import Checker, Recheck
from evaluators.recheck.claim import CheckedModel, Step, affine
from evaluators.recheck.methods import METHODS, Balls, recheck_claims, select
from tests.evaluators.test_recheck_rounding import wild, wild_network
from tests.fixtures.certificates import least_margin, region_of
from tests.fixtures.checked import HASH, checked
from tests.fixtures.effort import examples, first_alone
from tests.fixtures.exact import run
from tests.fixtures.forgeries import certificate
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, centers

NORMS = ("linf", "l2", "l1")
EXACT = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual")
PIECEWISE = (*EXACT, "convolutional", "pooled")


def proved(model: CheckedModel, balls: Balls, method: str, **options: Any) -> list[Recheck]:
    return recheck_claims(model, balls, method, **{"model_sha256": HASH, **options})


def around(network: Network, x: Any, norm: str, radius: Fraction) -> Balls:
    labels = network(x.double()).argmax(1).numpy()
    return Balls(norm, radius, 0.0, 1.0, x.flatten(1).float().numpy(), labels)


def widest(proves: Callable[[Fraction], bool]) -> Fraction:
    """The largest of some radii at which a method still proves the claim; zero if none."""
    low, high = 0, 64
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if proves(Fraction(middle, 128)) else (low, middle)
    return Fraction(low, 128)


def reaches(network: Network, x: Any, norm: str, method: str, enumerable: bool) -> bool:
    """Whether a method proves anything, after checking the largest radius that it proves."""
    model = checked(network)

    def prove(radius: Fraction, exact: bool = False) -> Recheck:
        return proved(model, around(network, x, norm, radius), method, exact=exact)[0]

    radius = widest(lambda tried: prove(tried).accepted)
    if not radius:
        return False
    rounded, exact = prove(radius), prove(radius, exact=True)
    assert rounded.margin is not None
    assert exact.margin is not None
    # Rounding is charged, and costs next to nothing.
    assert 0 < rounded.margin <= exact.margin <= rounded.margin + 1e-9
    if norm != "l2" and enumerable:
        about = certificate([], norm=norm, radius=radius, x=x[0].float().numpy())
        label = int(network(x.double()).argmax())
        assert Fraction(exact.margin) <= least_margin(network, region_of(about), label)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("family", PIECEWISE)
def test_what_is_proved_is_true_and_near_the_exact_bound(
    family: str, norm: str, method: str
) -> None:
    """As far out as the method reaches, where a mistake in a bound would show."""
    seen = 0
    for seed in range(2):
        network = FAMILIES[family](seed)
        seen += reaches(network, centers(network, seed, 3)[2:], norm, method, family in EXACT)
    assert seen


@pytest.mark.parametrize("norm", first_alone(NORMS))
def test_the_methods_prove_more_the_more_they_cost(norm: str) -> None:
    strictly = [False, False]
    for seed in range(4):
        network = FAMILIES["relu 2-4-4-3"](seed)
        model, x = checked(network), centers(network, seed, 3)[2:]
        reached = []
        for method in METHODS:

            def proves(radius: Fraction, method: str = method) -> bool:
                return proved(model, around(network, x, norm, radius), method)[0].accepted  # noqa: B023

            reached.append(widest(proves))
        assert reached[0] <= reached[1] <= reached[2]
        strictly = [now or a < b for now, (a, b) in zip(strictly, pairwise(reached), strict=True)]
    assert strictly == [True, True]


@settings(max_examples=examples(25), deadline=None)
@given(
    seed=st.integers(0, 10**9), norm=st.sampled_from(NORMS), leak=st.sampled_from([0.0, 0.1, 0.7])
)
def test_no_bound_of_a_batch_is_above_its_exact_one(seed: int, norm: str, leak: float) -> None:
    """Weights of very different magnitudes, that cancel and absorb."""
    random = np.random.default_rng(seed)
    network = wild_network(random, leak)
    balls = wild_balls(random, norm)
    steps = checked(network).steps
    rounded, exact = least_margins(steps, balls), least_margins(steps, balls, exact=True)
    assert (rounded <= exact).all()
    for row, bound in enumerate(exact.tolist()):
        for corner in corners(balls, row):
            logits = run(network, corner)
            label = int(balls.labels[row])
            best = max(value for place, value in enumerate(logits) if place != label)
            assert Fraction(bound) <= logits[label] - best


@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 10**9), norm=st.sampled_from(NORMS), leak=st.sampled_from([0.0, 0.1]))
def test_no_derived_proof_holds_where_a_point_refutes_it(seed: int, norm: str, leak: float) -> None:
    random = np.random.default_rng(seed)
    network = wild_network(random, leak)
    balls = wild_balls(random, norm)
    for method in METHODS[1:]:
        for row, found in enumerate(proved(checked(network), balls, method, exact=False)):
            for corner in corners(balls, row) if found.accepted else []:
                logits = run(network, corner)
                label = int(balls.labels[row])
                best = max(value for place, value in enumerate(logits) if place != label)
                assert found.margin is not None
                assert Fraction(found.margin) <= logits[label] - best


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 10**9), norm=st.sampled_from(NORMS), leak=st.sampled_from([0.0, 0.1]))
def test_no_rounding_raises_a_floor_of_a_node_or_a_margin(
    seed: int, norm: str, leak: float
) -> None:
    """Node by node, and the end of a pass for the same floors: later charges hide no mistake."""
    random = np.random.default_rng(seed)
    network = wild_network(random, leak)
    steps, balls = checked(network).steps, wild_balls(random, norm)
    rounded, exact = (Intervals(steps, Arithmetic(kind)) for kind in (False, True))
    x = balls.x.astype(np.float64).T
    hull = rounded._hull(balls, x)
    assert_below(hull, exact._hull(balls, x))
    floors = rounded._forward(hull)
    for node, layer in rounded.layers.items():
        before = [floors[parent] for parent in steps[node].parents]
        alike = [exact.ar.array(floor) for floor in before]
        assert_below(rounded._affine(layer, before), exact._affine(exact.layers[node], alike))
    for node, step in enumerate(steps):
        for side, value, found in _bends(step, floors, node):
            kept = value if (value >= 0) == (side == 0) else Fraction(step.leak or 0) * value
            assert Fraction(found) <= kept
    # Floors that touch zero or nothing at all, so that few products are the sum.
    thin = [np.where(random.random(f.shape) < 0.5, 0.0, f) for f in floors]
    for label in range(3):
        sizes = [np.abs(floor).max((0, 1)) for floor in thin]
        bounds = rounded.bounds(label, dict(enumerate(thin)), sizes)
        same = {node: exact.ar.array(floor) for node, floor in enumerate(thin)}
        true = exact.bounds(label, same, [exact.ar.array(size) for size in sizes])
        assert_below(bounds, true)


@settings(max_examples=examples(150), deadline=None)
@given(seed=st.integers(0, 10**9), silent=st.sampled_from(["nothing", "weights", "biases"]))
def test_the_end_of_a_pass_charges_its_roundings(seed: int, silent: str) -> None:
    """Two affine nodes behind the input, whose products and biases cancel on the way back."""
    random = np.random.default_rng(seed)
    first, last = wild(random, 4, 3), wild(random, 3, 4)
    shift, bias = wild(random, 4), wild(random, 3)
    last[:, 1] = last[:, 0] * (1 + 1e-16 * random.integers(-4, 5, 3))
    first[1], shift[1] = -first[0], -shift[0]
    first[2], shift[2] = first[0] * random.normal(), shift[0] * random.normal()
    first, shift = first * (silent != "weights"), shift * (silent != "biases")
    steps = [Step(3, ()), affine((0,), csr_matrix(first), shift)]
    steps.append(affine((1,), csr_matrix(last), bias * (silent != "biases")))
    rounded, exact = (Intervals(steps, Arithmetic(kind)) for kind in (False, True))
    lower = random.normal(size=(3, 8)) * (random.random((3, 8)) < 0.6)
    hull = np.stack([lower, -lower - random.random((3, 8)) * 1e-12], 1)
    floors = [hull, rounded._affine(rounded.layers[1], [hull])]
    sizes = [np.abs(floor).max((0, 1)) for floor in (*floors, floors[0])]
    for label in range(3):
        bounds = rounded.bounds(label, {0: hull}, sizes)
        alike = [exact.ar.array(size) for size in sizes]
        assert_below(bounds, exact.bounds(label, {0: exact.ar.array(hull)}, alike))


def _bends(step: Any, floors: list[Any], node: int) -> list[tuple[int, Fraction, float]]:
    """Side, floor before and floor after of every entry of a ReLU."""
    if step.leak is None:
        return []
    before, after = floors[step.parents[0]], floors[node]
    return [
        (side, Fraction(a), b)
        for side in (0, 1)
        for a, b in zip(before[:, side].flat, after[:, side].flat, strict=True)
    ]


def assert_below(rounded: Any, exact: Any) -> None:
    pairs = zip(rounded.flat, exact.flat, strict=True)
    assert all(Fraction(float(a)) <= b for a, b in pairs if np.isfinite(a))


def wild_balls(random: Generator, norm: str) -> Balls:
    x = random.choice([0.0, 0.25, 1.0, *random.random(3)], (4, 3)).astype(np.float32)
    radius = Fraction(int(random.integers(1, 10**6)), 10 ** int(random.integers(6, 9)))
    return Balls(norm, radius, 0.0, 1.0, x, random.integers(0, 3, 4))


def corners(balls: Balls, row: int) -> list[list[Fraction]]:
    """Exact points of a ball: its example, and where it is widest along the axes or (l∞) all."""
    x = [Fraction(value) for value in balls.x[row].tolist()]
    signs = [
        s
        for s in product((-1, 0, 1), repeat=len(x))
        if balls.norm == "linf" or sum(map(abs, s)) < 2
    ]
    low, high = Fraction(balls.low), Fraction(balls.high)
    return [
        [min(high, max(low, v + s * balls.radius)) for v, s in zip(x, sign, strict=True)]
        for sign in signs
    ]


@pytest.mark.parametrize("family", PIECEWISE)
def test_intervals_of_a_batch_are_those_of_one_example(family: str) -> None:
    network = FAMILIES[family](1)
    model, x = checked(network), centers(network, 1, 5)
    balls = around(network, x, "linf", Fraction(1, 16))
    intervals = Intervals(model.steps, Arithmetic(False))
    hull = intervals._hull(balls, balls.x.astype(np.float64).T)
    floors = intervals._forward(hull)
    for row in range(len(x)):
        about = certificate(
            [], radius=balls.radius, x=balls.x[row].reshape(network.input_shape), layers=()
        )
        checker = Checker(model, about, True)
        checker._verify = lambda *_: None  # type: ignore[method-assign]
        for node in range(len(model.steps)):
            checker.floors.append(checker._interval(node))
            exact, rounded = checker.floors[node], floors[node][:, :, row].T
            assert all(Fraction(a) <= b for a, b in zip(rounded.flat, exact.flat, strict=True))
            assert np.abs(rounded - exact.astype(np.float64)).max() < 1e-9


def test_the_passes_of_a_batch_do_not_depend_on_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    network = FAMILIES["relu 2-4-4-3"](0)
    model, x = checked(network), torch.rand(40, 2)
    balls = around(network, x, "linf", Fraction(1, 64))
    together = least_margins(model.steps, balls)
    monkeypatch.setattr(batch, "_AT_ONCE", 1)
    one_by_one = least_margins(model.steps, balls)
    np.testing.assert_allclose(together, one_by_one, atol=1e-12)
    assert len(set(together.tolist())) > 30
    order = [7, 3, 39]
    np.testing.assert_allclose(least_margins(model.steps, select(balls, order)), together[order])


def line(a: float, b: float) -> Network:
    """Of one input x: logits a·x + b and 0."""
    graph = Graph((1,))
    weight = torch.tensor([[a], [0.0]], dtype=torch.float64)
    graph.dense(2, weight, torch.tensor([b, 0.0], dtype=torch.float64))
    return graph.network()


def ball(
    norm: str = "linf", radius: Fraction = Fraction(1, 4), x: float = 0.5, label: int = 0
) -> Balls:
    return Balls(norm, radius, 0.0, 1.0, np.array([[x]], dtype=np.float32), np.array([label]))


@pytest.mark.parametrize("method", METHODS)
def test_a_margin_by_hand(method: str) -> None:
    """x - 1/8 over [1/4, 3/4], and over [0, 1/2] where the pixel range cuts the ball."""
    for center, least in ((0.5, 0.125), (0.25, -0.125)):
        (found,) = proved(checked(line(1, -0.125)), ball(x=center), method, exact=True)
        assert found.accepted == (least > 0)
        assert found.margin == (least if least > 0 else None)


@pytest.mark.parametrize("rounded", [1, 3])
def test_a_weight_that_was_rounded_costs_a_margin_even_exactly(rounded: int) -> None:
    """Of x, or of relu(x), and the constant 1/8: as many roundings as the reader tells."""
    wide, shift = csr_matrix([[1.0], [0.0]]), np.array([-0.125, 0.0])
    steps = [Step(1, ()), affine((0,), csr_matrix([[1.0]]), 0.0, 2 * (rounded == 1))]
    steps.append(Step(1, (1,), 0.0))
    steps.append(affine((2,), wide, shift, 2 * (rounded == 3)))
    model = CheckedModel(tuple(steps), (1,), 2, HASH)
    for method in METHODS:
        (found,) = proved(model, ball(), method, exact=True)
        assert found.margin is not None
        assert 0.125 - 1e-14 < found.margin < 0.125


def test_a_tie_is_not_proved() -> None:
    for method in METHODS:
        for exact in (False, True):
            (found,) = proved(checked(line(1, -0.25)), ball(), method, exact=exact)
            assert not found.accepted


def test_a_round_ball_is_smaller_than_its_box() -> None:
    graph = Graph((2,))
    graph.dense(2, torch.tensor([[1.0, 1], [0, 0]]).double(), torch.tensor([-0.7, 0]).double())
    graph.relu()
    graph.dense(2, torch.eye(2).double(), torch.tensor([0.0, 0.0]).double())
    model, x = checked(graph.network()), np.full((1, 2), 0.5, dtype=np.float32)
    for norm, least in (("l2", 0.3 - 0.2 * 2**0.5), ("l1", 0.1)):
        balls = Balls(norm, Fraction(1, 5), 0.0, 1.0, x, np.array([0]))
        by_box, by_ball = (proved(model, balls, method)[0] for method in METHODS[:2])
        assert not by_box.accepted
        assert by_ball.margin == pytest.approx(least, abs=1e-6)


WRONG: dict[str, tuple[Balls, dict[str, Any], str]] = {
    "another model": (ball(), {"model_sha256": "1" * 64}, "another model"),
    "no model": (ball(), {"model_sha256": None}, "which model"),
    "a method that does not exist": (ball(), {"method": "magic"}, "no method 'magic'"),
    "a label that is no class": (ball(label=2), {}, "not a class"),
    "a negative label": (ball(label=-1), {}, "not a class"),
    "another norm": (ball(norm="l3"), {}, "no norm 'l3'"),
    "a box": (ball(norm="box"), {}, "no norm 'box'"),
    "no radius": (ball(radius=Fraction(0)), {}, "not positive"),
    "a negative radius": (ball(radius=Fraction(-1)), {}, "not positive"),
    "an example outside the pixel range": (ball(x=1.25), {}, "prove|outside"),
    "an example that is no number": (ball(x=float("nan")), {}, "prove|outside|finite"),
    "an infinite example": (ball(x=float("inf")), {}, "prove|outside|finite"),
    "a wrong label": (ball(label=1), {}, "prove"),
    "a radius too large": (ball(radius=Fraction(1, 2)), {}, "prove"),
    "another shape": (replace(ball(), x=np.zeros((1, 2), dtype=np.float32)), {}, "fit"),
    "more examples than labels": (replace(ball(), x=np.zeros((2, 1), np.float32)), {}, "fit"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WRONG)
def test_a_claim_that_is_wrong_in_one_way_is_refused(name: str, method: str) -> None:
    balls, options, reason = WRONG[name]
    model = checked(line(1, -0.125))
    assert all(one.accepted for one in proved(model, ball(), method))
    for found in proved(model, balls, **{"method": method, **options}):
        assert not found.accepted
        assert any(part in found.reason for part in reason.split("|")), found.reason


@pytest.mark.parametrize("method", METHODS)
def test_bounds_that_overflow_prove_nothing(method: str) -> None:
    """Coefficients grow beyond what float64 holds, although each weight is moderate."""
    steps = list(checked(line(1, 0.5)).steps)
    huge = [affine((0,), steps[1].weights * 1e90, steps[1].bias)]
    for _ in range(6):
        huge.append(affine((len(huge),), _diagonal(1e90), 0.0))
    model = CheckedModel((steps[0], *huge), (1,), 2, HASH)
    (found,) = proved(model, ball(), method, exact=False)
    assert not found.accepted


def _diagonal(value: float) -> Any:
    return csr_matrix(np.eye(2) * value)


def test_examples_are_judged_one_by_one() -> None:
    """One that is wrong costs no other its proof."""
    x = np.array([[0.5], [np.nan], [2.0], [0.25], [0.5]], dtype=np.float32)
    balls = Balls("linf", Fraction(1, 4), 0.0, 1.0, x, np.array([0, 0, 0, 0, 1]))
    for method in METHODS:
        found = proved(checked(line(1, -0.125)), balls, method)
        assert [one.accepted for one in found] == [True, False, False, False, False]
