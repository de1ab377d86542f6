"""ONNX operators that rearrange entries: views, slices, concatenation, padding, reductions."""

from pathlib import Path

import numpy as np
import pytest

from evaluators.network.affine import Gather, Reshape
from evaluators.network.network import Sum
from evaluators.numerics.errors import UnsupportedModelError
from tests.evaluators.test_operators import check, kinds
from tests.fixtures.onnx_models import Array, integers, node, numbers

RESHAPES = [
    ("Flatten", "x", {}, {}),
    ("Flatten", "x", {"axis": 2}, {}),
    ("Flatten", "x", {"axis": -1}, {}),
    ("Reshape", "x s", {}, {"s": integers(-1, 12)}),
    ("Reshape", "x s", {}, {"s": integers(1, 12)}),
    ("Reshape", "x s", {}, {"s": integers(0, -1, 2)}),
    ("Reshape", "x s", {}, {"s": integers(0, 0, 3, 4)}),
    ("Squeeze", "x a", {}, {"a": integers(1)}),
    ("Squeeze", "x a", {}, {"a": integers(-3)}),
    ("Unsqueeze", "x a", {}, {"a": integers(1)}),
    ("Unsqueeze", "x a", {}, {"a": integers(-1, 2)}),
]


@pytest.mark.parametrize(("kind", "inputs", "attributes", "constants"), RESHAPES)
def test_views(
    tmp_path: Path,
    kind: str,
    inputs: str,
    attributes: dict[str, int],
    constants: dict[str, Array],
) -> None:
    shape = (1, 6, 2)
    nodes = [node(kind, inputs, "z", **attributes)]
    if attributes:  # Flatten from another axis than 1 folds other dimensions into the batch's
        nodes = [node(kind, inputs, "r", **attributes), node("Reshape", "r back", "z")]
        constants = {**constants, "back": integers(1, 12)}
        (note,) = check(tmp_path, (2, 3, 2), nodes, constants).notes
        assert "one input at a time" in note
        return
    assert set(kinds(check(tmp_path, shape, nodes, constants, batch=1))) == {Reshape}


@pytest.mark.parametrize(
    ("kind", "attributes"), [("Squeeze", {"axes": [1]}), ("Unsqueeze", {"axes": [1, 3]})]
)
def test_views_of_old_opsets(tmp_path: Path, kind: str, attributes: dict[str, list[int]]) -> None:
    check(tmp_path, (1, 6, 2), [node(kind, "x", "z", **attributes)], opset=11)


@pytest.mark.parametrize("axis", [1, -1])
def test_one_axis_that_is_no_list(tmp_path: Path, axis: int) -> None:
    """As PyTorch's exporter writes it, and onnxruntime takes it."""
    constants = {"axis": np.array(axis, dtype=np.int64)}
    check(tmp_path, (3, 2), [node("Unsqueeze", "x axis", "z")], constants)
    with pytest.raises(UnsupportedModelError, match="1 dimensions are needed"):
        check(tmp_path, (1, 3, 2), [node("Squeeze", "x axis", "z")], constants)


def test_a_shape_worked_out_by_the_graph(tmp_path: Path) -> None:
    """What PyTorch writes for x.view(x.shape[0], -1)."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "batch", axis=0),
        node("Unsqueeze", "batch axes", "first"),
        node("Concat", "first rest", "target", axis=0),
        node("Reshape", "x target", "z"),
    ]
    constants = {"zero": np.array(0, dtype=np.int64), "axes": integers(0), "rest": integers(-1)}
    assert set(kinds(check(tmp_path, (2, 3), nodes, constants))) == {Reshape}


def test_a_part_of_a_shape(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "rest", start=1, end=3),
        node("Concat", "one rest", "target", axis=0),
        node("Reshape", "x target", "z"),
    ]
    check(tmp_path, (2, 3), nodes, {"one": integers(1)})


@pytest.mark.parametrize("order", [[0, 2, 1, 3], [0, 3, 1, 2], [0, 1, 2, 3]])
def test_transpose(tmp_path: Path, order: list[int]) -> None:
    network = check(tmp_path, (2, 3, 4), [node("Transpose", "x", "z", perm=order)])
    assert kinds(network) == [Reshape if order == sorted(order) else Gather]


SLICES = {
    "one axis": (integers(1), integers(3), integers(1), integers(1)),
    "far end": (integers(1), integers(2**63 - 1), integers(2), integers(1)),
    "negative": (integers(-3), integers(-1), integers(-1), integers(1)),
    "steps": (integers(0, 1), integers(9, 9), integers(1, 2), integers(2, 3)),
    "backwards": (integers(-1), integers(-(2**63)), integers(2), integers(-2)),
    "backwards to zero": (integers(3), integers(-5), integers(2), integers(-1)),
}


@pytest.mark.parametrize("variant", SLICES)
def test_slice(tmp_path: Path, variant: str) -> None:
    constants = dict(zip(("s", "e", "a", "t"), SLICES[variant], strict=True))
    assert kinds(check(tmp_path, (3, 4), [node("Slice", "x s e a t", "z")], constants)) == [Gather]


def test_slice_of_old_opsets(tmp_path: Path) -> None:
    cut = node("Slice", "x", "z", starts=[1], ends=[3], axes=[2])
    check(tmp_path, (3, 4), [cut], opset=9)


@pytest.mark.parametrize("sizes", [None, (1, 3)])
def test_split_and_concat(tmp_path: Path, sizes: tuple[int, ...] | None) -> None:
    cut = node("Split", "x sizes" if sizes else "x", "a b", axis=1)
    nodes = [cut, node("Relu", "a", "c"), node("Concat", "b c b", "z", axis=1)]
    constants = {"sizes": integers(*sizes)} if sizes else {}
    network = check(tmp_path, (4, 2), nodes, constants)
    assert kinds(network).count(Sum) == 1


def test_split_of_new_opsets(tmp_path: Path) -> None:
    nodes = [node("Split", "x", "a b", axis=2, num_outputs=2), node("Sub", "a b", "z")]
    check(tmp_path, (3, 4), nodes, opset=18)


def test_concat_with_a_constant(tmp_path: Path) -> None:
    check(tmp_path, (2, 3), [node("Concat", "c x", "z", axis=1)], {"c": numbers(1, 1, 3)}, batch=1)


def test_concat_of_branches_along_a_negative_axis(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "a"),
        node("Sigmoid", "x", "b"),
        node("Concat", "a b x", "z", axis=-3),
    ]
    check(tmp_path, (2, 3, 3), nodes, {"w": numbers(2, 2, 1, 1)})


@pytest.mark.parametrize(("axis", "index"), [(1, [2, 0, 0]), (2, [-1, 1]), (1, 1), (-1, [[0, 1]])])
def test_gather(tmp_path: Path, axis: int, index: object) -> None:
    constants = {"i": np.array(index, dtype=np.int64)}
    check(tmp_path, (3, 4), [node("Gather", "x i", "z", axis=axis)], constants)


@pytest.mark.parametrize(
    "pads", [(0, 0, 1, 2, 0, 0, 3, 0), (0, 1, 0, 0, 0, 0, 0, 0), (0, 0, -1, 2, 0, 0, -1, -1)]
)
@pytest.mark.parametrize("opset", [9, 17])
def test_pad(tmp_path: Path, pads: tuple[int, ...], opset: int) -> None:
    old = opset < 11
    attributes = {"pads": list(pads)} if old else {}
    pad = node("Pad", "x" if old else "x p", "z", **attributes)
    constants = {} if old else {"p": integers(*pads)}
    assert kinds(check(tmp_path, (2, 4, 4), [pad], constants, opset)) == [Gather]


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize("axes", [[2], [-1, 1], [1, 2, 3]])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("opset", [11, 18])
def test_reduce(tmp_path: Path, kind: str, axes: list[int], keep: int, opset: int) -> None:
    if opset == 18:
        reduced = node(kind, "x a", "r", keepdims=keep)
        constants = {"a": integers(*axes)}
    else:
        reduced, constants = node(kind, "x", "r", axes=axes, keepdims=keep), {}
    back = {**constants, "s": integers(1, -1)}
    check(tmp_path, (2, 3, 4), [reduced, node("Reshape", "r s", "z")], back, opset, 1)


def test_a_slice_that_names_the_whole_batch_leaves_it_alone(tmp_path: Path) -> None:
    constants = {"s": integers(0, 1), "e": integers(2**31 - 1, -1)}
    check(tmp_path, (3, 4), [node("Slice", "x s e", "z")], constants)
