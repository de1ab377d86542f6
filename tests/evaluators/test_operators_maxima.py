"""Maxima of every kind: read as onnxruntime computes them, in both readers, by every method."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import NodeProto

from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.bounds import bounds
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.recheck.agreement import disagreement
from evaluators.recheck.reader import read_model
from tests.fixtures.effort import first_few
from tests.fixtures.onnx_models import Array, integers, model, node, numbers, save
from tests.fixtures.tiny import ask, centers, least_margins, points_of

SLACK = 1e-6
HALVES = node("Split", "h", "a b", axis=1)
KINDS: dict[str, tuple[list[NodeProto], int]] = {
    "larger of two": ([HALVES, node("Max", "a b", "s"), node("Concat", "s h", "z", axis=1)], 17),
    "smaller of three": (
        [HALVES, node("Min", "a b q", "s"), node("Concat", "s h", "z", axis=1)], 17,
    ),
    "MaxMin": (
        [HALVES, node("Max", "a b", "u"), node("Min", "a b", "v"),
         node("Concat", "u v", "z", axis=1)], 13,
    ),
    "sorted falling": ([node("TopK", "h four", "z i", axis=1)], 17),
    "sorted in groups": (
        [node("Reshape", "h groups", "g"), node("TopK", "g two", "s i", axis=-1, largest=0),
         node("Reshape", "s flat", "z")], 17,
    ),
    "first two": ([node("TopK", "h two", "s i"), node("Concat", "s h", "z", axis=1)], 10),
    "largest of pairs": (
        [node("Reshape", "h groups", "g"), node("ReduceMax", "g", "s", axes=[2], keepdims=0),
         node("ReduceMin", "g", "t", axes=[-1], keepdims=0),
         node("Concat", "s t", "z", axis=1)], 13,
    ),
    "distances": (
        [node("Reshape", "h one", "g"), node("Sub", "g table", "d"), node("Abs", "d", "e"),
         node("ReduceMax", "e", "z", axes=[2], keepdims=0)], 13,
    ),
    "global pool": (
        [node("Reshape", "h channels", "g"), node("GlobalMaxPool", "g", "s"),
         node("Flatten", "s", "z")], 17,
    ),
    "one dimension": (
        [node("Reshape", "h channels", "g"),
         node("MaxPool", "g", "s j", kernel_shape=[2], pads=[1, 0], strides=[1]),
         node("Flatten", "s", "z")], 17,
    ),
}  # fmt: skip
CONSTANTS: dict[str, Array] = {
    "q": numbers(2, seed=5) + 1, "four": integers(4), "two": integers(2), "flat": integers(-1, 4),
    "groups": integers(-1, 2, 2), "one": integers(-1, 1, 4), "channels": integers(-1, 2, 2),
    "table": numbers(4, 4, seed=6),
}  # fmt: skip
OUTPUTS = {"larger of two": 6, "smaller of three": 6, "first two": 6, "global pool": 2}


def network_of(kind: str, folder: Path) -> tuple[Path, Network]:
    inner, opset = KINDS[kind]
    nodes = [node("Gemm", "x a_ b_", "h"), *inner, node("Gemm", "z c_ d_", "y")]
    read = {name for each in inner for name in each.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in read}
    size = OUTPUTS.get(kind, 4)
    weights = {"a_": 3 * numbers(2, 4), "b_": numbers(4, seed=1)}
    weights |= {"c_": 3 * numbers(size, 2, seed=2), "d_": numbers(2, seed=3)}
    path = save(model(nodes, ("batch", 2), {**constants, **weights}, opset), folder / "model.onnx")
    return path, import_onnx(path)


@pytest.mark.parametrize("kind", KINDS)
def test_maxima_are_read_alike_by_both_readers(kind: str, tmp_path: Path) -> None:
    path, network = network_of(kind, tmp_path)
    x = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32) * 4
    assert disagreement(read_model(path.read_bytes()), network, x) == ""
    assert network.runtime is not None
    theirs = np.concatenate([network.runtime(row[None]) for row in x])
    np.testing.assert_allclose(network(torch.from_numpy(x).double()).numpy(), theirs, atol=1e-4)


METHODS = ("ibp", "crown", "alpha-crown", "lp", "milp", "branch-and-bound", "lipschitz-margin")


@pytest.mark.parametrize("kind", first_few(KINDS, 4))
def test_every_method_bounds_maxima_rightly(kind: str, tmp_path: Path) -> None:
    _, network = network_of(kind, tmp_path)
    methods, certified = catalogue(), 0
    region = Ball(Norm.LINF, Fraction(1, 20))
    problem = ask(network, centers(network, 0, 2)[1:], region)
    for name in METHODS:
        (verdict,) = methods[name]()(problem)
        assert not verdict.note.startswith(("failed", "refused", "unsupp")), verdict.note
        points = points_of(region, problem.x[0], 21)
        least = float(least_margins(network, points, int(problem.labels[0])).min())
        assert verdict.margin is None or verdict.margin <= least + SLACK
        certified += verdict.status is Status.CERTIFIED
        assert least > 0 or verdict.status is not Status.CERTIFIED
        if name == "milp" and least > 1e-3:
            assert verdict.status is Status.CERTIFIED
    assert certified


def test_intervals_of_a_maximum_are_the_maximum_of_intervals(tmp_path: Path) -> None:
    """Written as b + relu(a - b), a maximum would lose the width of its arguments."""
    _, network = network_of("MaxMin", tmp_path)
    found = bounds(network, torch.full((1, 2), 0.5), Ball(Norm.LINF, Fraction(1, 2)), "ibp")
    layers = list(found.layers.values())
    (h,) = [layer for layer in layers if layer[0].shape[1:] == (4,)][:1]
    first, second = torch.maximum(h[0][:, :2], h[0][:, 2:]), torch.maximum(h[1][:, :2], h[1][:, 2:])
    low, high = layers[-2]
    torch.testing.assert_close(low[:, :2], first, atol=1e-5, rtol=0)
    torch.testing.assert_close(high[:, :2], second, atol=1e-5, rtol=0)
