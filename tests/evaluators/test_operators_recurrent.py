"""Layers with a state, entries put in place, masks, volumes: read as onnxruntime runs them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import NodeProto

from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.propagation.bounds import bounds
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from tests.evaluators.test_operators import check
from tests.fixtures.onnx_models import Array, integers, model, node, numbers

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
STEPS, ENTRIES, SIZE = 2, 3, 2
TURN = node("Transpose", "x", "t", perm=[1, 0, 2])


def bounded(network: Network, *, finite: bool = True) -> None:
    """Values of many points lie within intervals and CROWN's bounds."""
    shape, generator = network.input_shape, torch.Generator().manual_seed(3)
    x = torch.rand(1, *shape, generator=generator)
    for radius in (Fraction(1, 10),):
        noise = torch.rand(200, *shape, generator=generator).double() * 2 - 1
        noise[100:] = noise[100:].sign()
        near = (x + noise * float(radius)).clamp(0, 1)
        found = network(near)
        for method in ("ibp", "crown"):
            logits = bounds(network, x, Ball(Norm.LINF, radius), method).logits
            assert bool((logits.lower <= found).all() and (found <= logits.upper).all())
            assert bool(logits.lower.isfinite().all()) or not finite


def layer(kind: str, count: int) -> dict[str, Array]:
    gates = GATES[kind] * SIZE
    return {
        "w": numbers(count, gates, ENTRIES),
        "r": numbers(count, gates, SIZE, seed=1),
        "b": numbers(count, 2 * gates, seed=2),
        "h": numbers(count, 1, SIZE, seed=3),
    }


@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_layer_is_its_steps(tmp_path: Path, kind: str, way: str) -> None:
    count = 1 + (way == "bidirectional")
    states = "h h" if kind == "LSTM" else "h"
    made = node(kind, f"t w r b  {states}", "z", hidden_size=SIZE, direction=way)
    made.input[:] = ["t", "w", "r", "b", "", *states.split()]
    back = node("Transpose", "s", "z", perm=[2, 0, 1, 3])
    made.output[:], made.name = ["s"], "s"
    network = check(tmp_path, (STEPS, ENTRIES), [TURN, made, back], layer(kind, count), batch=1)
    if way == "reverse":
        bounded(network)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_last_state_alone_is_read(tmp_path: Path, kind: str, before: int) -> None:
    more = {"linear_before_reset": before} if kind == "GRU" else {}
    made = node(kind, "t w r b", "s", hidden_size=SIZE, **more)
    made.output[:] = ["", "last"]
    picked = node("Gather", "last zero", "z", axis=0)
    constants = {**layer(kind, 1), "zero": np.array(0)}
    check(tmp_path, (STEPS, ENTRIES), [TURN, made, picked], constants, batch=1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"activations": ["Relu", "Tanh", "Tanh"]}, "'activations'"),
        ({"clip": 1.0}, "'clip'"),
        ({"layout": 1}, "'layout'"),
        ({"input_forget": 1}, "'input_forget'"),
        ({"hidden_size": 3}, "weights have shapes"),
    ],
)
def test_what_an_lstm_may_do_otherwise_is_refused(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    made = node("LSTM", "t w r b", "z", **{"hidden_size": SIZE, **more})
    with pytest.raises(UnsupportedModelError, match=message):
        check(tmp_path, (STEPS, ENTRIES), [TURN, made], layer("LSTM", 1), batch=1)


TWICE = np.array([[[0, 0, 1, 0]]])
PUT: dict[str, tuple[list[NodeProto], dict[str, Array], int]] = {
    "ScatterElements": (
        [node("ScatterElements", "x i u", "z", axis=2)],
        {"i": np.array([[[2, 0, 3, -3]]]), "u": numbers(1, 1, 4)},
        17,
    ),
    "ScatterElements that adds": (
        [node("Relu", "x", "u"), node("ScatterElements", "x i u", "z", axis=2, reduction="add")],
        {"i": np.repeat(TWICE, 3, 1)},
        17,
    ),
    "ScatterND": (
        [node("ScatterND", "x i u", "z")],
        {"i": integers(0, 1, 2)[None, None], "u": numbers(1, 1)},
        17,
    ),
    "GatherElements": (
        [node("GatherElements", "x i", "z", axis=1)],
        {"i": np.array([[[2, 0, -3, 1], [1, 1, 0, -1]]])},
        17,
    ),
    "GatherElements of a moved batch": (
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("GatherElements", "t i", "g", axis=0),
            node("Transpose", "g", "z", perm=[1, 0, 2]),
        ],
        {"i": np.array([[[2, 0, 1]], [[0, 0, -1]]])},
        17,
    ),
    "Col2Im": (
        [node("Col2Im", "x image block", "z")],
        {"image": integers(1, 5), "block": integers(1, 2)},
        18,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUT)
def test_entries_are_put_in_place(tmp_path: Path, name: str) -> None:
    nodes, constants, opset = PUT[name]
    shape = (2, 4) if name == "Col2Im" else (3, 4)
    check(tmp_path, shape, nodes, constants, opset, batch=1)


def test_entries_that_are_not_there_are_not_taken(tmp_path: Path) -> None:
    nodes = [node("GatherElements", "x i", "z", axis=1)]
    with pytest.raises(UnsupportedModelError, match="leaves a value of"):
        check(tmp_path, (3, 4), nodes, {"i": np.array([[[3]]])}, batch=1)


def test_two_entries_in_one_place_are_refused(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "u"), node("ScatterElements", "x i u", "z", axis=2)]
    with pytest.raises(UnsupportedModelError, match="into one place"):
        check(tmp_path, (1, 4), nodes, {"i": TWICE}, batch=1)


MASK = np.where(np.tril(np.ones((4, 4))) > 0, 0, -np.inf).astype(np.float32)
LOWEST = np.where(np.isinf(MASK), np.finfo(np.float32).min, MASK)
MASKED: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "minus infinity": ([node("Add", "x m", "s")], {"m": MASK}),
    "the lowest number": ([node("Add", "x m", "s")], {"m": LOWEST}),
    "a choice": (
        [node("Where", "c x low", "s")], {"c": MASK == 0, "low": np.array(-np.inf, "f4")},
    ),
    "a mask that is worked out": (
        [node("Where", "c low x", "s")],
        {"c": MASK < 0, "low": np.array(np.finfo(np.float32).min)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKED)
def test_what_a_mask_hides_takes_no_part_in_a_softmax(tmp_path: Path, name: str) -> None:
    nodes, constants = MASKED[name]
    nodes = [*nodes, node("Softmax", "s", "w"), node("MatMul", "w v", "z")]
    bounded(check(tmp_path, (2, 4, 4), nodes, {**constants, "v": numbers(4, 3)}))


@pytest.mark.parametrize("behind", ["Relu", "Transpose", "Sigmoid"])
def test_what_a_mask_hides_is_read_by_nothing_else(tmp_path: Path, behind: str) -> None:
    nodes = [node("Add", "x m", "s"), node(behind, "s", "z")]
    with pytest.raises(UnsupportedModelError, match="a mask hides"):
        check(tmp_path, (4, 4), nodes, {"m": MASK})


def test_a_mask_of_whole_rows_and_a_masked_output_are_refused(tmp_path: Path) -> None:
    nothing = {"m": np.full((4, 4), -np.inf, "f4")}
    with pytest.raises(UnsupportedModelError, match="hides all entries"):
        check(tmp_path, (4, 4), [node("Add", "x m", "s"), node("Softmax", "s", "z")], nothing)
    with pytest.raises(UnsupportedModelError, match="hides entries of its output"):
        check(tmp_path, (4, 4), [node("Add", "x m", "z")], {"m": MASK})


@pytest.mark.parametrize("place", [0, 3])
def test_scores_that_could_overflow_leave_nothing_bounded(tmp_path: Path, place: int) -> None:
    """Hidden or not: minus infinity plus what overflows is no number to a runtime."""
    large = np.zeros((4, 4), "f4")
    large[place] = 2.0**39
    nodes = [
        *(node("MatMul", f"{a} w", b) for a, b in (("x", "a"), ("a", "b"), ("b", "c"))),
        node("Add", "c m", "s"),
        node("Softmax", "s", "z"),
    ]
    hidden = np.array([[0, 0, 0, -np.inf]], "f4")
    mixing = {"w": (np.eye(4) * 2.0**30).astype("f4"), "m": hidden}
    network = check_bounds_only(tmp_path, nodes, mixing)
    logits = bounds(network, torch.ones(1, 1, 4), Ball(Norm.LINF, Fraction(1, 8)), "ibp").logits
    assert not bool(logits.lower.isfinite().any() and (logits.lower > 0.5).any())


def check_bounds_only(path: Path, nodes: list[NodeProto], constants: dict[str, Array]) -> Network:
    """A network of scores beyond 2^83, on which nothing need be finite."""
    proto = model([*nodes, node("Flatten", "z", "y")], (1, 1, 4), constants, 17)
    tiny = np.zeros((4, 4), np.float32)
    return import_bytes(proto.SerializeToString(), path / "m.onnx", tiny[:, None], Contract(), "s")


SPACE = {"w": numbers(4, 1, 2, 3, 2), "b": numbers(4)}
VOLUMES: dict[str, NodeProto] = {
    "a convolution": node(
        "Conv", "x w b", "z", group=2, strides=[1, 2, 1], pads=[1, 0, 1, 1, 0, 1]
    ),
    "a dilated one": node(
        "Conv", "x w", "z", group=2, dilations=[2, 1, 1], pads=[0, 1, 0, 1, 1, 0]
    ),
    "a transposed one": node("ConvTranspose", "two w c", "z", group=1, strides=[2, 1, 1]),
    "an average": node("AveragePool", "x", "z", kernel_shape=[2, 3, 2], pads=[1, 0, 0, 1, 0, 1]),
    "a maximum": node("MaxPool", "x", "z", kernel_shape=[2, 2, 2], strides=[1, 2, 1]),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_windows_of_volumes(tmp_path: Path, name: str) -> None:
    nodes, constants = [VOLUMES[name]], {**SPACE, "c": numbers(1)}
    if name == "a transposed one":
        nodes = [node("Concat", "x x", "two", axis=1), *nodes]
    bounded(check(tmp_path, (2, 4, 5, 3), nodes, constants))


def test_a_transposed_convolution_is_cut_off_unevenly(tmp_path: Path) -> None:
    made = node("ConvTranspose", "x w b", "z", strides=[2, 2], pads=[0, 1, 1, 0])
    check(tmp_path, (2, 4, 3), [made], {"w": numbers(2, 3, 3, 3), "b": numbers(3)})


def test_stacks_of_branches_and_weights_that_are_computed(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "x", "r"),
        node("Unsqueeze", "x zero", "a"),
        node("Unsqueeze", "r zero", "c"),
        node("Concat", "a c", "s", axis=0),
        node("ReduceMean", "s", "m", axes=[0], keepdims=0),
        node("ReduceL2", "w", "n", axes=[1]),
        node("Div", "w n", "v"),
        node("Gemm", "m v b", "z", transB=1),
    ]
    constants = {"zero": integers(0), "w": numbers(3, 6), "b": numbers(3)}
    check(tmp_path, (6,), nodes, constants, batch=1)


def test_whole_numbers_are_divided_with_rest(tmp_path: Path) -> None:
    nodes = [node("Mod", "a b", "m"), node("Cast", "m", "f", to=1), node("Add", "x f", "z")]
    check(tmp_path, (3,), nodes, {"a": integers(7, 8, 9), "b": integers(3)})
    with pytest.raises(UnsupportedModelError, match="divides whole numbers"):
        check(tmp_path, (3,), nodes, {"a": integers(-7, 8, 9), "b": integers(3)})


def test_a_split_of_constants_is_worked_out(tmp_path: Path) -> None:
    nodes = [node("Split", "w sizes", "a c", axis=0), node("MatMul", "x c", "z")]
    check(tmp_path, (3,), nodes, {"w": numbers(5, 2), "sizes": integers(2, 3)})
