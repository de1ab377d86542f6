"""A file whose inputs meet in a batch is read, and says so."""

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from evaluators.onnx import batches
from evaluators.onnx.batches import TOGETHER
from evaluators.onnx.operators.builder import Builder
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.runtime import Runtime
from tests.fixtures.onnx_models import integers, node

WEIGHT = np.array([[1, -1], [2, 0.5], [-1, 1], [0.5, 3]], np.float32)


def linear(*nodes: NodeProto, first: str, size: int | str = "batch") -> onnx.ModelProto:
    """The nodes, and a matrix behind the first value of this name."""
    given = {"W": WEIGHT, **NUMBERS}
    graph = helper.make_graph(
        [*nodes, node("MatMul", f"{first} W", "y")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size, 2])],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


NUMBERS = {
    "none": integers(0), "one": integers(1), "row": integers(1, -1), "rows": integers(-1, 4)
}  # fmt: skip
MEET = {
    "by their number": [
        node("Shape", "x", "sizes"), node("Slice", "sizes none one", "size"),
        node("Cast", "size", "number", to=1), node("Mul", "x number", "z"),
    ],
    "in one row": [
        node("Reshape", "x row", "all"), node("Softmax", "all", "p", axis=1),
        node("Reshape", "p rows", "z"),
    ],
    "as one dimension more": [
        node("Unsqueeze", "x none", "all"), node("Softmax", "all", "p", axis=1),
        node("Squeeze", "p none", "z"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", MEET)
def test_inputs_that_meet_in_a_batch_are_told(name: str) -> None:
    assert import_onnx(linear(*MEET[name], first="z")).notes == (TOGETHER,)


@pytest.mark.parametrize("name", MEET)
def test_a_file_of_one_input_has_no_batch(name: str) -> None:
    assert import_onnx(linear(*MEET[name], first="z", size=1)).notes == ()


def test_inputs_that_do_not_meet_need_no_note() -> None:
    apart = [node("Reshape", "x rows", "r"), node("Softmax", "r", "z", axis=1)]
    assert import_onnx(linear(*apart, first="z")).notes == ()


def test_a_file_that_onnxruntime_does_not_run_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by a random graph: it has no OneHot of some types, and no exception of ours says so."""

    def refuse(*_: object) -> None:
        raise RuntimeError("Could not find an implementation for OneHot(9)")

    network = import_onnx(linear(*MEET["in one row"], first="z"))
    runtime = network.runtime
    assert isinstance(runtime, Runtime)
    monkeypatch.setattr(batches, "_moves_batch", lambda builder: False)
    builder, both = object.__new__(Builder), np.eye(2, 4, dtype=np.float32)
    assert batches.note_of(builder, runtime, both) == TOGETHER
    monkeypatch.setattr(Runtime, "__call__", refuse)
    assert batches.note_of(builder, runtime, both) is None
