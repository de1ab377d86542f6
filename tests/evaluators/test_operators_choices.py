"""Indices that the network computes choose what onnxruntime chooses, and it is bounded."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import NodeProto

from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.ibp import IBP
from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import Contract, import_bytes, import_onnx
from evaluators.propagation.intervals import interval_bounds
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.evaluators.test_operators import check
from tests.fixtures.methods import quick_first
from tests.fixtures.onnx_models import Array, integers, model, node, numbers, save
from tests.fixtures.tiny import ask, centers, least_margins, points_of

METHODS = {name: e for name, e in catalogue().items() if e.accepts is Network and e.certifies}
TABLE = numbers(4, 2, seed=4)
COUNTED = {"depth": np.array(4, np.int64), "values": integers(0, 1), "one": integers(1)}
INDEX = node("ArgMax", "x", "i", axis=2, keepdims=0)
"""Of a value `[batch, 3, 4]`: `[batch, 3]`."""
SPELLINGS: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "one of a table": ([INDEX, node("Gather", "t i", "z")], {"t": TABLE}),
    "along another axis": (
        [INDEX, node("Gather", "t i", "z", axis=2)], {"t": np.ascontiguousarray(TABLE.T)[None]},
    ),
    "the least": ([node("ArgMin", "x", "i", axis=-1), node("Gather", "t i", "z")], {"t": TABLE}),
    "of another dimension": (
        [
            node("ArgMax", "x", "i", axis=1), node("Squeeze", "i one", "j"),
            node("Gather", "t j", "z"),
        ],
        {"t": TABLE, "one": integers(1)},
    ),
    "by GatherND": (
        [INDEX, node("Unsqueeze", "i last", "j"), node("GatherND", "t j", "z")],
        {"t": TABLE, "last": integers(-1)},
    ),
    "one-hot": (
        [INDEX, node("OneHot", "i depth values", "o"), node("Cast", "o", "z", to=1)], COUNTED,
    ),
    "one-hot, turned": (
        [
            INDEX, node("OneHot", "i depth values", "o"),
            node("Transpose", "o", "p", perm=[0, 2, 1]),
            node("Cast", "p", "q", to=1), node("MatMul", "q x", "z"),
        ],
        {"depth": np.array(3, np.int64), "values": integers(0, 1)},
    ),
    "one-hot in front, of other numbers": (
        [INDEX, node("OneHot", "i depth values", "z", axis=1)],
        {"depth": integers(6), "values": np.array([-0.5, 2], np.float32)},
    ),
    "equal to a number": (
        [
            node("ArgMax", "x", "i", axis=2), node("Equal", "i counted", "e"),
            node("Cast", "e", "w", to=7), node("Cast", "w", "z", to=1),
        ],
        {"counted": np.arange(-1, 5)},
    ),
    "as a number": ([INDEX, node("Cast", "i", "z", to=1)], {}),
    "one of the values": (
        [
            node("ArgMin", "x", "i", axis=2), node("Neg", "x", "n"),
            node("GatherElements", "n i", "z", axis=2),
        ],
        {},
    ),
    "of other values": (
        [
            node("Exp", "x", "n"), node("ArgMax", "x", "i", axis=2, keepdims=0),
            node("Gather", "n i", "z", axis=2),
        ],
        {},
    ),
    "of a constant": (
        [node("ArgMax", "x", "i", axis=2), node("GatherElements", "t i", "z", axis=2)],
        {"t": numbers(1, 3, 4, seed=9)},
    ),
    "the two first": (
        [
            node("TopK", "x two", "v i"), node("GatherElements", "x i", "g", axis=2),
            node("Mul", "v g", "z"),
        ],
        {"two": integers(2)},
    ),
    "the two last, repeated": (
        [
            node("TopK", "x two", "v i", largest=0, axis=1), node("Neg", "x", "n"),
            node("Unsqueeze", "i last", "j"), node("Expand", "j wide", "k"),
            node("Unsqueeze", "n last", "m"), node("Concat", "m m m", "l", axis=3),
            node("GatherElements", "l k", "z", axis=1),
        ],
        {"two": integers(2), "last": integers(3), "wide": integers(1, 1, 1, 3)},
    ),
    "put among zeros": (
        [
            node("TopK", "x two", "v i"), node("Softmax", "v", "g"),
            node("ScatterElements", "nothing i g", "z", axis=2),
        ],
        {"two": integers(2), "nothing": np.zeros((1, 3, 4), np.float32)},
    ),
    "put into another value": (
        [
            node("TopK", "x two", "v i", largest=0, axis=1), node("Neg", "x", "n"),
            node("ScatterElements", "n i v", "z", axis=1),
        ],
        {"two": integers(2)},
    ),
    "a constant put into a constant": (
        [
            node("ArgMax", "x", "i", axis=2),
            node("ScatterElements", "t i marks", "m", axis=-1), node("Mul", "x m", "z"),
        ],
        {"t": numbers(1, 3, 4, seed=9), "marks": numbers(1, 3, 1, seed=3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_what_is_chosen_is_what_onnxruntime_chooses_and_bounded(name: str, tmp_path: Path) -> None:
    nodes, constants = SPELLINGS[name]
    network = check(tmp_path, (3, 4), nodes, constants)
    runtime = network.runtime
    assert runtime is not None
    x = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    x[1, :, 1:3] = x[1, :, :1]  # alike: the first comes first
    x[1, 1:] = x[1, :1]
    theirs = torch.from_numpy(np.stack([runtime(row)[0] for row in x.numpy()]))
    torch.testing.assert_close(network(x.double()).float(), theirs, rtol=1e-6, atol=1e-6)
    labels, noise = network(x.double()).argmax(1), torch.rand(300, 1, 3, 4) * 2 - 1
    for radius in (Fraction(1, 1000), Fraction(1, 5)):
        near = (x + noise * float(radius)).clamp(0, 1).flatten(0, 1)
        logits = network(near.double()).reshape(300, 2, -1)
        best = logits.gather(2, labels.expand(300, 2)[..., None])
        others = logits.scatter(2, labels.expand(300, 2)[..., None], -torch.inf).amax(2)
        least = (best[..., 0] - others).amin(0)
        for method in (IBP(), CROWN()):
            problem = Problem(network, x, labels, Ball(Norm.LINF, radius))
            for row, verdict in enumerate(method(problem)):
                assert verdict.margin is None or verdict.margin <= float(least[row])


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("Expand", "i twice", "j")], "it puts several entries into one place"),
        ([node("Identity", "i", "j")], r"its index of shape \(1, 3, 1\) puts \(1, 3, 2\)"),
    ],
)
def test_what_is_not_put_into_places_of_its_own_is_refused(
    nodes: list[NodeProto], said: str, tmp_path: Path
) -> None:
    nodes = [
        node("ArgMax", "x", "i", axis=2), *nodes, node("ScatterElements", "x j t", "z", axis=2),
    ]  # fmt: skip
    constants = {"twice": integers(1, 3, 2), "t": numbers(1, 3, 2)}
    with pytest.raises(UnsupportedModelError, match=said):
        check(tmp_path, (3, 4), nodes, constants)


def chosen(nodes: Sequence[NodeProto], **constants: Array) -> Network:
    """A network of two inputs, three scores `s` and what they choose, `c`, added to two logits."""
    known = {"w": numbers(2, 3, seed=1), "v": numbers(2, 2, seed=2), **constants}
    first = [node("MatMul", "x w", "s"), node("MatMul", "x v", "u")]
    proto = model([*first, *nodes, node("Add", "u c", "y")], ("batch", 2), known)
    return import_bytes(proto.SerializeToString(), Path("m.onnx"), None, Contract((2,), 2))


TINY = {
    "one of a table": chosen(
        [node("ArgMax", "s", "i", axis=1, keepdims=0), node("Gather", "t i", "c")],
        t=numbers(3, 2, seed=3) / 2,
    ),
    "one of two experts": chosen(
        [
            node("TopK", "s two", "k i"),
            node("GatherElements", "s i", "g", axis=1),
            node("Relu", "g", "c"),
        ],
        two=integers(2),
    ),
}


@pytest.mark.parametrize("name", quick_first(METHODS))
def test_every_method_is_right_about_choices_or_says_that_it_cannot(name: str) -> None:
    for network, radius in zip(TINY.values(), (Fraction(1, 4), Fraction(1, 20)), strict=True):
        region = Ball(Norm.LINF, radius)
        problem = ask(network, centers(network, 0, 2), region)
        for row, verdict in enumerate(METHODS[name]()(problem)):
            points = points_of(region, problem.x[row], 41)
            least = float(least_margins(network, points, int(problem.labels[row])).min())
            assert verdict.margin is None or verdict.margin <= least + 1e-7
            assert least > 0 or verdict.status is not Status.CERTIFIED


def test_where_one_is_surely_chosen_nothing_is_lost(tmp_path: Path) -> None:
    nodes, constants = SPELLINGS["one of a table"]
    network = check(tmp_path, (3, 4), nodes, constants)
    x = torch.arange(12, dtype=torch.float64).reshape(1, 3, 4)
    *_, (lower, upper) = interval_bounds(network, x - 0.4, x + 0.4)
    torch.testing.assert_close(upper, network(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(lower, network(x), rtol=1e-6, atol=1e-6)
    *_, (lower, upper) = interval_bounds(network, x - 9.0, x + 9.0)
    assert bool((lower >= TABLE.min() - 1e-5).all())
    assert bool((upper <= TABLE.max() + 1e-5).all())


REFUSED: dict[str, tuple[list[NodeProto], dict[str, Array], str]] = {
    "counted with": (
        [INDEX, node("Add", "i one", "j"), node("Gather", "t j", "z")],
        {"t": TABLE, "one": integers(1)},
        "reads whole numbers that the network computes; of an index",
    ),
    "a larger index than there are entries": (
        [INDEX, node("Gather", "t i", "z")], {"t": TABLE[:3]}, "below 4, for 3 entries",
    ),
    "over the batch": (
        [node("ArgMax", "x", "i"), node("Cast", "i", "z", to=1)], {}, "the batch dimension",
    ),
    "the last of those alike": (
        [node("ArgMax", "x", "i", axis=1, select_last_index=1), node("Cast", "i", "z", to=1)], {},
        "'select_last_index' is 1",
    ),
    "marks counted with": (
        [INDEX, node("OneHot", "i depth values", "o"), node("ReduceSum", "o one", "z")], COUNTED,
        "reads whole numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_bounded_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    nodes, constants, said = REFUSED[name]
    proto = model([*nodes, node("Flatten", "z", "y")], ("batch", 3, 4), constants)
    with pytest.raises(UnsupportedModelError, match=said):
        import_onnx(save(proto, tmp_path / "m.onnx"))
