"""What is put in front of an ONNX file: it does what its authors' code did, and changes no more."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.adapter import InputAdapter, adapt
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.onnx.runtime import Runtime
from evaluators.recheck.reader import read_model
from tests.fixtures.effort import examples
from tests.fixtures.onnx_models import classifier_model, model, node, numbers

IMAGE = (3, 2, 4)
PIXELS = np.random.default_rng(5).random((4, *IMAGE), dtype=np.float32)
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


def normalised(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """As torchvision does it: float32, first the mean, then the deviation."""
    mean, deviation = (
        np.array(numbers, dtype=np.float32).reshape(-1, 1, 1) for numbers in (MEAN, DEVIATION)
    )
    return (x - mean) / deviation


def their_model(shape: tuple[int, ...], batch: int | str) -> bytes:
    """A file of others, whose input has this shape behind its batch."""
    nodes = [
        node("Flatten", "x", "flat"),
        node("Gemm", "flat w b", "hidden"),
        node("Relu", "hidden", "bent"),
        node("Gemm", "bent v c", "y"),
    ]
    constants = {"w": numbers(24, 5), "b": numbers(5), "v": numbers(5, 3), "c": numbers(3)}
    made = model(nodes, (batch, *shape), constants, output=(batch, 3))
    return bytes(made.SerializeToString())


CASES = {
    "normalised": (IMAGE, InputAdapter(MEAN, DEVIATION), normalised),
    "channels last": (
        (2, 4, 3),
        InputAdapter(channels_last=True),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    "a column": ((24, 1), InputAdapter(shape=(24, 1)), lambda x: x.reshape(-1, 24, 1)),
    "all at once": (
        (24,),
        InputAdapter(MEAN, DEVIATION, channels_last=True, shape=(24,)),
        lambda x: normalised(x).transpose(0, 2, 3, 1).reshape(-1, 24),
    ),
}


@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("case", CASES)
def test_an_adapted_file_answers_pixels_as_its_authors_code_does(
    case: str, batch: int | str
) -> None:
    shape, adapter, theirs = CASES[case]
    data = their_model(shape, batch)
    adapted = adapt(data, adapter, IMAGE)
    network = import_bytes(adapted, Path("adapted.onnx"), PIXELS, Contract(IMAGE, 3))
    ours, wanted = Runtime(adapted), Runtime(data)
    for x in PIXELS:
        # To the last bit: their code and the nodes do the same in float32.
        fed = np.ascontiguousarray(theirs(x[None]))
        assert (ours(x[None]) == wanted(fed)).all()
    assert network.input_shape == IMAGE
    assert read_model(adapted).input_shape == IMAGE


def test_an_adapter_changes_nothing_in_the_graph_but_its_input() -> None:
    data = their_model((24,), "batch")
    adapted = adapt(data, InputAdapter(MEAN, DEVIATION, shape=(24,)), IMAGE)
    before, after = onnx.load_from_string(data), onnx.load_from_string(adapted)
    added = len(after.graph.node) - len(before.graph.node)
    assert [one.op_type for one in after.graph.node[:added] if one.op_type != "Constant"] == [
        "Sub",
        "Div",
        "Reshape",
    ]
    del after.graph.node[:added], after.graph.input[:], before.graph.input[:]
    assert after == before


def test_what_comes_out_is_the_same_every_time_and_another_for_another_adapter() -> None:
    data = their_model((2, 4, 3), 1)
    made = [
        adapt(data, adapter, IMAGE)
        for adapter in (
            InputAdapter(channels_last=True),
            InputAdapter(channels_last=True),
            InputAdapter(MEAN, DEVIATION, channels_last=True),
            InputAdapter(MEAN, MEAN, channels_last=True),
        )
    ]
    assert made[0] == made[1]
    assert len(set(made)) == 3


def two_inputs() -> bytes:
    made = classifier_model(IMAGE)
    made.graph.input.append(helper.make_tensor_value_info("second", onnx.TensorProto.FLOAT, [1]))
    return bytes(made.SerializeToString())


def taken_name(rename: str) -> bytes:
    """A file that already computes a value of the adapter's name."""
    made = classifier_model(IMAGE)
    made.graph.node[0].output[0] = made.graph.node[1].input[0] = rename
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "nothing can be put in front"),
        (b"\x80\x04 a pickle", "nothing can be put in front"),
        (two_inputs(), "has not one input"),
        (taken_name("adapter_sub_made"), "begins with adapter_"),
        (their_model((24,), 1)[:-3], "nothing can be put in front"),
        (2 * their_model((24,), 1), "nothing can be put in front"),
    ],
)
def test_what_has_no_one_input_of_its_own_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(UnsupportedModelError, match=told):
        adapt(data, InputAdapter(shape=(24,)), IMAGE)


def test_an_adapter_that_does_nothing_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="does nothing"):
        adapt(their_model(IMAGE, 1), InputAdapter(), IMAGE)


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_no_bytes_bring_down_what_walks_them(data: st.DataObject) -> None:
    """A stranger's file is refused, or becomes bytes that the reader judges."""
    content = bytearray(their_model((24,), 1))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content) - 1, 300)))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        adapted = adapt(bytes(content), InputAdapter(shape=(24,)), IMAGE)
    except UnsupportedModelError:
        return
    assert b"adapter_pixels" in adapted
