"""Functions with kinks are sums of ReLUs: read as onnxruntime computes them, in both readers."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import NodeProto

from evaluators.listing import catalogue
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.bounds import bounds
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.recheck.agreement import disagreement
from evaluators.recheck.reader import read_model
from tests.fixtures.effort import first_few
from tests.fixtures.onnx_models import Array, model, node, numbers, save
from tests.fixtures.tiny import ask, centers, least_margins, points_of

SLACK = 1e-6


def number(value: float) -> Array:
    return np.array(value, dtype=np.float32)


LOW, HIGH = number(-0.5), number(0.75)
KINDS: dict[str, tuple[NodeProto, int, dict[str, Array]]] = {
    "clip to both": (node("Clip", "h l u", "z"), 17, {"l": LOW, "u": HIGH}),
    "clip from below": (node("Clip", "h l", "z"), 17, {"l": LOW}),
    "clip from above": (node("Clip", "h - u", "z"), 17, {"u": HIGH}),
    "clip at zero": (node("Clip", "h l u", "z"), 17, {"l": number(0), "u": HIGH}),
    "clip to one point": (node("Clip", "h u u", "z"), 17, {"u": HIGH}),
    "clip of old": (node("Clip", "h", "z", min=-0.5, max=0.75), 9, {}),
    "larger of a constant": (node("Max", "l h", "z"), 17, {"l": numbers(4)}),
    "smaller of constants": (node("Min", "h l u", "z"), 17, {"l": numbers(4), "u": LOW}),
    "smaller of what is far away": (node("Min", "h u", "z"), 17, {"u": number(1e12)}),
    "larger of what is far away": (node("Clip", "h l", "z"), 17, {"l": number(-3e9)}),
    "absolute value": (node("Abs", "h", "z"), 17, {}),
    "slopes of all signs": (
        node("PRelu", "h s", "z"), 17, {"s": np.array([-0.5, 0.25, 1, 2], np.float32)},
    ),
    "one slope": (node("PRelu", "h s", "z"), 17, {"s": number(0.25).reshape(1)}),
    "negative leak": (node("LeakyRelu", "h", "z", alpha=-0.5), 17, {}),
    "steep leak": (node("LeakyRelu", "h", "z", alpha=3.0), 17, {}),
    "hard sigmoid": (node("HardSigmoid", "h", "z", alpha=0.5), 17, {}),
}  # fmt: skip


def network_of(kind: str, folder: Path) -> tuple[Path, Network]:
    operator, opset, constants = KINDS[kind]
    nodes = [node("Gemm", "x a b", "h"), operator, node("Gemm", "z c d", "y")]
    weights = {"a": 3 * numbers(2, 4), "b": numbers(4, seed=1), "c": 3 * numbers(4, 2, seed=2)}
    constants = {**constants, **weights, "d": numbers(2, seed=3)}
    path = save(model(nodes, ("batch", 2), constants, opset), folder / "model.onnx")
    return path, import_onnx(path)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_alike_by_both_readers_with_nothing_but_relus(kind: str, tmp_path: Path) -> None:
    path, network = network_of(kind, tmp_path)
    assert all(
        isinstance(n.operation, LeakyReLU) for n in network.nodes if hasattr(n.operation, "leak")
    )
    x = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32) * 4
    assert disagreement(read_model(path.read_bytes()), network, x) == ""
    assert network.runtime is not None
    theirs = np.concatenate([network.runtime(row[None]) for row in x])
    np.testing.assert_allclose(network(torch.from_numpy(x).double()).numpy(), theirs, atol=1e-4)


METHODS = ("ibp", "crown", "alpha-crown", "lp", "milp", "branch-and-bound", "zonotope")


@pytest.mark.parametrize("kind", first_few(KINDS, 3))
def test_every_method_bounds_it_rightly(kind: str, tmp_path: Path) -> None:
    _, network = network_of(kind, tmp_path)
    methods, certified = catalogue(), 0
    for radius in (Fraction(1, 50), Fraction(1, 5)):
        region = Ball(Norm.LINF, radius)
        problem = ask(network, centers(network, 0, 3), region)
        for name in METHODS:
            for row, verdict in enumerate(methods[name]()(problem)):
                assert not verdict.note.startswith(("failed", "refused", "unsupp")), verdict.note
                points = points_of(region, problem.x[row], 21)
                least = float(least_margins(network, points, int(problem.labels[row])).min())
                assert verdict.margin is None or verdict.margin <= least + SLACK
                certified += verdict.status is Status.CERTIFIED
                assert least > 0 or verdict.status is not Status.CERTIFIED
                if name == "milp" and least > 1e-3:
                    assert verdict.status is Status.CERTIFIED
    assert certified


def test_intervals_of_a_clamp_are_its_ends(tmp_path: Path) -> None:
    """A sum of two ReLUs would lose this: relu(x) - relu(x - 6) of [0, 10] is within [-4, 10]."""
    _, network = network_of("clip to both", tmp_path)
    found = bounds(network, torch.full((1, 2), 0.5), Ball(Norm.LINF, Fraction(1, 2)), "ibp")
    low, high = list(found.layers.values())[-2]
    assert -0.5 - 1e-4 < float(low.min()) < -0.49
    assert 0.74 < float(high.max()) < 0.75 + 1e-4


def test_ends_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    nodes = [node("Clip", "x l u", "y")]
    path = save(model(nodes, ("batch", 3), {"l": HIGH, "u": LOW}, 17), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError, match=r"its min 0.75 is above its max -0.5"):
        import_onnx(path)
