"""Masks of ordinary numbers before a softmax: read as they are run, bounded, and never trusted."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import NodeProto

from evaluators.listing import catalogue
from evaluators.network.guards import LEFT, Unsure, Within
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.bounds import bounds
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.evaluators.test_operators import check
from tests.fixtures.effort import first_alone
from tests.fixtures.methods import quick_first
from tests.fixtures.onnx_models import Array, model, node, numbers

METHODS = {name: e for name, e in catalogue().items() if e.accepts is Network and e.certifies}
CAUSAL = np.tril(np.ones((4, 4), "f4"))
LEVELS = (-20.0, -100.0, -500.0, -1e4, -65504.0, -1e9, -9e15, -3e38)
WAYS = ("Add", "Where", "Mul and Sub")


def masked(way: str, level: float) -> tuple[list[NodeProto], dict[str, Array]]:
    """Scores "s" of "x", of which a causal mask lowers some."""
    low = np.where(CAUSAL > 0, 0, level).astype("f4")
    if way == "Add":
        return [node("Add", "x m", "s")], {"m": low}
    if way == "Where":
        return [node("Where", "c x l", "s")], {"c": CAUSAL > 0, "l": np.array(level, "f4")}
    return [node("Mul", "x k", "t"), node("Sub", "t m", "s")], {"k": CAUSAL, "m": -low}


def runs_lie_within(network: Network, radius: Fraction) -> float:
    """Compare the bounds with what onnxruntime computes; the widest interval of CROWN's."""
    assert network.runtime is not None
    x = torch.from_numpy(numbers(1, *network.input_shape, seed=3)).sigmoid()
    noise = torch.rand(60, *network.input_shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    noise[20:] = noise[20:].sign()
    near = (x + noise * float(radius)).clamp(0, 1)
    found = np.stack([network.runtime(row.numpy()).reshape(-1) for row in near])
    widest = 0.0
    for method in ("ibp", "crown"):
        logits = bounds(network, x, Ball(Norm.LINF, radius), method).logits
        assert bool((logits.lower.numpy() <= found).all())
        assert bool((found <= logits.upper.numpy()).all())
        widest = float((logits.upper - logits.lower).max())
    return widest


@pytest.mark.parametrize("way", first_alone(WAYS))
def test_what_a_mask_lowers_is_bounded_as_tightly_as_what_is_left_out(
    tmp_path: Path, way: str
) -> None:
    widths = {}
    for level in LEVELS:
        if way == "Mul and Sub" and level < -(2.0**40):
            continue  # no sum with a weight, as a mask's is
        nodes, constants = masked(way, level)
        nodes = [*nodes, node("Softmax", "s", "w"), node("MatMul", "w v", "z")]
        network = check(tmp_path, (2, 4, 4), nodes, {**constants, "v": numbers(4, 3)})
        widths[level] = runs_lie_within(network, Fraction(1, 50))
    assert max(widths.values()) < 1.02 * min(widths.values()), widths


@pytest.mark.parametrize("level", [-20.0, -100.0, -500.0])
def test_a_log_softmax_of_lowered_scores_is_bounded(tmp_path: Path, level: float) -> None:
    nodes, constants = masked("Add", level)
    network = check(tmp_path, (4, 4), [*nodes, node("LogSoftmax", "s", "z")], constants)
    assert runs_lie_within(network, Fraction(1, 50)) < 1


def test_an_entry_that_may_rise_above_its_mask_leaves_nothing_bounded(tmp_path: Path) -> None:
    """A mask of -1000 hides scores of up to 700, and not those of up to 1400: they decide."""
    low, scale = np.array([[0, 0, 0, -1000]], "f4"), np.array([[1, 1, 1, 700]], "f4")
    nodes = [node("Mul", "x k", "t"), node("Add", "t m", "s"), node("Softmax", "s", "w")]
    nodes += [node("Flatten", "w", "y")]
    network = import_onnx(model(nodes, (1, 1, 4), {"k": scale, "m": low}))
    x = torch.full((1, 1, 4), 0.5)
    for radius, sure in ((Fraction(1, 2), True), (Fraction(9, 10), False)):
        for method in ("ibp", "crown"):
            logits = bounds(network, x, Ball(Norm.LINF, radius, 0.0, 2.0), method).logits
            assert bool(logits.upper.isfinite().all()) == sure
            assert bool((logits.upper[0, 3] < 0.5).any()) == sure
    assert network.runtime is not None
    high = torch.tensor([[0.5, 0.5, 0.5, 1.9]])
    assert float(network.runtime(high.numpy())[..., 3].max()) > 0.99
    assert bool(network(high[None].double()).isnan().any())


@pytest.mark.parametrize("name", quick_first(METHODS))
def test_no_method_trusts_a_mask_that_scores_may_rise_above(name: str) -> None:
    low, scale = np.array([[0, 0, 0, -1000]], "f4"), np.array([[1, 1, 1, 700]], "f4")
    nodes = [node("Mul", "x k", "t"), node("Add", "t m", "s"), node("Softmax", "s", "w")]
    nodes += [node("MatMul", "w v", "o"), node("Flatten", "o", "y")]
    value = np.array([[3, 0], [3, 0], [3, 0], [0, 3]], "f4")
    network = import_onnx(model(nodes, (1, 1, 4), {"k": scale, "m": low, "v": value}))
    x = torch.full((1, 1, 4), 0.5)
    for radius in (Fraction(1, 4), Fraction(9, 10)):
        region = Ball(Norm.LINF, radius, 0.0, 2.0)
        (verdict,) = METHODS[name]()(Problem(network, x, torch.tensor([0]), region, seconds=2.0))
        assert verdict.status is not Status.CERTIFIED or radius < Fraction(1, 2)
        sure = name in ("ibp", "crown", "alpha-crown") and radius < Fraction(1, 2)
        assert verdict.status is Status.CERTIFIED or not sure, verdict.note


def test_a_guard_is_nothing_inside_and_unknown_elsewhere() -> None:
    guard, ends = Within(-1.0, 2.0), torch.tensor([-2.0, -1.0, 0.0], dtype=torch.float64)
    below, above = guard.bounds(ends, ends + 2)
    assert below.tolist()[1:] == [-LEFT, -LEFT]
    assert above.tolist()[1:] == [LEFT, LEFT]
    assert bool(below[0].isnan())
    assert bool(above[0].isnan())
    below, above = guard.intercepts(guard.slopes(ends, ends + 2), ends, ends + 2)
    assert bool(below[0].isnan())
    assert float(below[1]) < 0 < float(above[1])
    assert guard.run_deviation(ends, ends + 2).tolist() == [float("inf"), LEFT, LEFT]
    assert guard(ends).tolist()[1:] == [0, 0]
    assert bool(guard(ends)[0].isnan())
    nothing = torch.full_like(ends, float("nan"))
    assert bool(guard.bounds(nothing, nothing)[0].isnan().all())


def test_what_a_run_may_miss_is_a_share_of_the_argument() -> None:
    ends = torch.tensor([-4.0, 1.0, 2.0**100], dtype=torch.float64)
    found = Unsure(0.25).run_deviation(ends, ends + 1).tolist()
    assert found[:2] == pytest.approx([1.0, 0.5])
    assert found[2] == float("inf")
