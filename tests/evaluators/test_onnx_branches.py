"""Choices (If) with a constant condition: the branch that onnxruntime takes, and no other."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from evaluators import import_module
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.branches import take_branches
from evaluators.onnx.one_file import merged, settle
from evaluators.onnx.reader import Contract, import_bytes
from tests.fixtures.onnx_models import numbers

FLOAT, BOOL, INT = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
node = helper.make_node


def branch(nodes: Sequence[NodeProto], *outputs: str, **given: np.ndarray) -> onnx.GraphProto:
    values = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(array, name) for name, array in given.items()]
    return helper.make_graph(list(nodes), "branch", [], values, tensors)


def model(*nodes: NodeProto, **given: np.ndarray) -> onnx.ModelProto:
    """A graph of `x` `[batch, 6]` to `y`, with these constants."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(file: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    (found,) = onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})
    return np.asarray(found)


TWO, SIX = np.array(2, np.float32), np.array(6, np.int64)
ASKED = (
    node("Shape", ["x"], ["sizes"]),
    node("Gather", ["sizes", "last"], ["columns"]),
    node("Equal", ["columns", "six"], ["same"]),
)
"""Whether x has six columns."""
SIZES: dict[str, np.ndarray] = {"last": np.array(1, np.int64), "six": SIX, "two": TWO}


def choice(
    condition: str, then: onnx.GraphProto, otherwise: onnx.GraphProto, *outputs: str
) -> NodeProto:
    return node("If", [condition], outputs, then_branch=then, else_branch=otherwise)


def twice(name: str = "m") -> onnx.GraphProto:
    return branch([node("Mul", ["x", "two"], [name])], name)


def minus(name: str = "m") -> onnx.GraphProto:
    return branch([node("Neg", ["x"], [name])], name)


def same(name: str) -> onnx.GraphProto:
    return branch([node("Identity", [name], ["i"])], "i")


NESTED = branch(
    [node("Abs", ["x"], ["m"]), choice("wrong", minus("n"), same("m"), "inner")], "inner"
)
CASES = {
    "of a size": model(*ASKED, choice("same", twice(), minus(), "y"), **SIZES),
    "of a size that is another": model(
        *ASKED, node("Not", ["same"], ["no"]), choice("no", twice(), minus(), "y"), **SIZES
    ),
    "of a constant": model(choice("no", minus(), twice(), "y"), no=np.array(False), two=TWO),
    "of a list of one": model(choice("no", minus(), twice(), "y"), no=np.array([True]), two=TWO),
    "what is there already": model(choice("yes", same("x"), minus(), "y"), yes=np.array(True)),
    "a constant of its own": model(
        choice("yes", branch([], "own", own=np.ones((1, 6), np.float32)), minus(), "z"),
        node("Add", ["x", "z"], ["y"]),
        yes=np.array(True),
    ),
    "two outputs": model(
        choice(
            "yes",
            branch([node("Neg", ["x"], ["a"]), node("Abs", ["a"], ["b"])], "b", "a"),
            branch([node("Abs", ["x"], ["a"]), node("Neg", ["a"], ["b"])], "b", "a"),
            "p",
            "q",
        ),
        node("Sub", ["p", "q"], ["y"]),
        yes=np.array(True),
    ),
    "one behind another": model(
        *ASKED,
        choice("same", twice(), minus(), "z"),
        node("Size", ["z"], ["count"]),
        node("Less", ["count", "six"], ["few"]),
        choice("few", same("z"), branch([node("Neg", ["z"], ["m"])], "m"), "y"),
        **SIZES,
    ),
    "one in another": model(
        choice("yes", NESTED, twice(), "y"), yes=np.array(True), wrong=np.array(False), two=TWO
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_branch_that_onnxruntime_takes_is_put_in(name: str) -> None:
    file, x = CASES[name], numbers(1, 6, seed=3)
    left = onnx.ModelProto.FromString(file.SerializeToString())
    assert take_branches(left) > 0
    kinds = [each.op_type for each in left.graph.node]
    assert "If" not in kinds
    assert not {"Shape", "Gather", "Equal", "Not", "Size", "Less"}.intersection(kinds)
    np.testing.assert_array_equal(run(left, x), run(file, x))


def test_what_another_branch_names_likewise_is_kept_apart() -> None:
    both = choice("yes", twice(), minus(), "p"), choice("no", twice(), minus(), "q")
    file = model(
        *both,
        node("Sub", ["p", "q"], ["y"]),
        yes=np.array(True),
        no=np.array(False),
        two=TWO,
    )
    x = numbers(1, 6)
    wanted = run(file, x)
    assert take_branches(file) == 2
    np.testing.assert_array_equal(run(file, x), wanted)


UNDECIDED = {
    "the input decides": model(
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Less", ["sum", "two"], ["few"]),
        choice("few", twice(), minus(), "y"),
        two=TWO,
    ),
    "the batch decides": model(
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "first"], ["rows"]),
        node("Equal", ["rows", "one"], ["single"]),
        choice("single", twice(), minus(), "y"),
        first=np.array(0, np.int64),
        one=np.array(1, np.int64),
        two=TWO,
    ),
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_a_choice_that_is_not_constant_stays_and_is_refused(name: str) -> None:
    data = UNDECIDED[name].SerializeToString()
    assert merged(data, Path("m.onnx")) is data
    with pytest.raises(UnsupportedModelError, match=r"where its condition is constant, `certboard"):
        import_bytes(data, Path("m.onnx"), None, Contract((6,), 6))


MANY = np.array([1e8, 1, -1e8, *[1] * 9], np.float32)
"""Numbers whose sum in float32 depends on the order."""


@pytest.mark.parametrize("kind", ["ReduceSum", "Softmax"])
def test_a_condition_that_onnxruntime_computes_otherwise_takes_no_branch(kind: str) -> None:
    """By another order of a sum, or by what Softmax was before opset 13."""
    if kind == "ReduceSum":
        asked = [
            node(kind, ["given"], ["found"], keepdims=0), node("Equal", ["found", "limit"], ["c"])
        ]  # fmt: skip
        given, limit = MANY, MANY.sum()
    else:
        asked = [
            node(kind, ["given"], ["all"]), node("ReduceMax", ["all"], ["found"], keepdims=0),
            node("Less", ["found", "limit"], ["c"]),
        ]  # fmt: skip
        given, limit = np.zeros((2, 2, 2), np.float32), np.float32(0.3)
    chosen = choice("c", twice(), minus(), "y")
    file = model(*asked, chosen, given=given, limit=np.array(limit), two=TWO)
    file.opset_import[0].version = 12
    x, settled = np.ones((1, 6), np.float32), onnx.ModelProto()
    settled.CopyFrom(file)
    take_branches(settled)
    np.testing.assert_array_equal(run(settled, x), run(file, x))


def test_an_owner_is_told_and_a_strangers_file_is_refused() -> None:
    data = CASES["of a size"].SerializeToString()
    made = settle(data, Path("m.onnx"), (6,))
    assert made.notes == (
        "1 of its If have a constant condition: the branch that is taken is in it alone",
    )
    network = import_bytes(made.data, Path("m.onnx"), None, Contract((6,), 6))
    x = torch.from_numpy(numbers(2, 6)).double()
    torch.testing.assert_close(network(x), 2 * x)
    with pytest.raises(UnsupportedModelError, match="contains a subgraph"):
        import_bytes(data, Path("m.onnx"), None, Contract((6,), 6))


def doubled_if_wide(x: Tensor, training: bool) -> Tensor:
    if training:
        x = torch.dropout(x, 0.5, True)
    if x.shape[1] > 3:
        x = x * 2.0
    return x


@cache
def script() -> Callable[[Tensor, bool], Tensor]:
    return torch.jit.script(doubled_if_wide)


class Scripted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(script()(x, False))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_a_module_with_scripted_parts_is_read() -> None:
    network = import_module(Scripted(), (6,))
    x = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(network(x), (2 * x).relu())
