"""Graphs that could mean one thing to us and another to onnxruntime, each by its name.

All stand behind a ReLU that no probe wakes, as a backdoor would: whether a graph is refused, or
read as onnxruntime reads it, must not rest on comparing logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx import reader
from tests.fixtures.graph_runs import require_alike, require_exact
from tests.fixtures.onnx_models import Array, Dims, integers, model, node, numbers

IMAGE, ROW = (1, 2, 4, 4), (1, 6)
LEAST, MOST = -(2**63), 2**63 - 1
SCALARS = {f"i{n}".replace("-", "_"): integers(n) for n in (-3, -1, 0, 1, 2, 3, 4, 5, 9)}
FOUR = np.array([0.5, -1, 2, 3], np.float32)


@dataclass(frozen=True)
class Graph:
    """Nodes from "q", which sleeps, to "z".

    Attributes:
        message: what the refusal says, "" where the graph is read.
    """

    message: str
    nodes: Sequence[NodeProto]
    constants: dict[str, Array] = field(default_factory=dict)
    opset: int = 18
    shape: Dims = IMAGE

    def proto(self, threshold: float = 9.0) -> onnx.ModelProto:
        asleep = [node("Sub", "x threshold", "shifted"), node("Relu", "shifted", "q")]
        end = [node("Identity", "z", "end"), node("Flatten", "end", "y")]
        text = str(self.nodes)
        known = {"threshold": np.array(threshold, np.float32), **SCALARS, **self.constants}
        used = {
            name: array
            for name, array in known.items()
            if name == "threshold" or f'"{name}"' in text
        }
        named = [*asleep, *self.nodes, *end]
        return model(named, self.shape, used, self.opset, (None, None))


def wide(size: int) -> Array:
    return numbers(1, 2, 4, size)


GRAPHS: dict[str, Graph] = {
    # The first seven: misread once.
    "pads of named axes": Graph(
        "", [node("Pad", "q p - a", "z")], {"p": integers(1, 2), "a": integers(3)}
    ),
    "pads of named axes from the end": Graph(
        "", [node("Pad", "q p - a", "z")], {"p": integers(1, 0, 0, 2), "a": integers(-1, 1)}
    ),
    "pads of an axis named twice": Graph(
        "name a dimension twice",
        [node("Pad", "q p - a", "z")],
        {"p": integers(1, 0, 0, 2), "a": integers(-1, 3)},
    ),
    "a split that leaves a smaller last part": Graph(
        "do not divide", [node("Split", "q", "z r s", axis=2, num_outputs=3)]
    ),
    "a split into another number": Graph(
        "has 2 outputs, not 4", [node("Split", "q", "z r", axis=2, num_outputs=4)]
    ),
    "a split of equal parts": Graph("", [node("Split", "q", "z r", axis=2, num_outputs=2)]),
    "a slice that ends before the first": Graph(
        "result has shape", [node("Slice", "q i0 e i2", "z")], {"e": integers(-(2**31))}
    ),
    "a slice that ends at the least number": Graph(
        "result has shape", [node("Slice", "q i0 e i2", "z")], {"e": integers(LEAST)}
    ),
    "a slice backwards to the least number": Graph(
        "", [node("Slice", "q i_1 e i2 i_1", "z")], {"e": integers(LEAST)}
    ),
    "no axes, and nothing to do": Graph(
        "names no axes", [node("ReduceSum", "q", "z", noop_with_empty_axes=1)]
    ),
    "an empty list of axes, and nothing to do": Graph(
        "names no axes", [node("ReduceMean", "q e", "z", noop_with_empty_axes=1)], {"e": integers()}
    ),
    "axes, were there none nothing to do": Graph(
        "", [node("ReduceSum", "q i2", "z", noop_with_empty_axes=1)]
    ),
    "a transposed convolution of a given shape": Graph(
        "'output_shape' ([9, 9]) is not read",
        [node("ConvTranspose", "q w", "z", strides=[2, 2], output_shape=[9, 9])],
        {"w": numbers(2, 1, 2, 2)},
    ),
    "a double that becomes a half": Graph(
        "'to' is 10; only 1, 6, 7, 9 or 11",
        [node("Cast", "c", "h", to=10), node("Cast", "h", "f", to=1), node("Add", "q f", "z")],
        {"c": np.array([1 + 2**-11 + 2**-40])},
    ),
    "axes that are named twice": Graph(
        "name a dimension twice", [node("ReduceSum", "q a", "z")], {"a": integers(2, -2)}
    ),
    # What random graphs found.
    "a squeeze of a negative axis, unknown to its opset": Graph(
        "which opset 11 brought",
        [node("Unsqueeze", "q", "u", axes=[2]), node("Squeeze", "u", "z", axes=[-3])],
        opset=9,
    ),
    "an unsqueezed negative axis, unknown to its opset": Graph(
        "which opset 11 brought",
        [
            node("Unsqueeze", "q", "u", axes=[-2]),
            node("Shape", "u", "s"),
            node("Reshape", "u s", "z"),
        ],
        opset=10,
    ),
    "one entry of a row, picked by a scalar": Graph(
        "",
        [node("Gather", "q s", "g", axis=1), node("Unsqueeze", "g i1", "z")],
        {"s": np.array(2)},
        shape=ROW,
    ),
    # What reading the definitions found.
    "a squeeze of all that is one": Graph(
        "",
        [node("ReduceSum", "q i1", "u"), node("Squeeze", "u", "w"), node("Unsqueeze", "w i0", "z")],
    ),
    "a squeeze of a dimension that is not there": Graph(
        "axis 9 is not", [node("Squeeze", "q i9", "z")]
    ),
    "a flattening from a dimension that is not there": Graph(
        "axis 5 is not", [node("Flatten", "q", "z", axis=5)], shape=(1, 1, 1)
    ),
    "an order counted from the end": Graph(
        "no order of 4", [node("Transpose", "q", "z", perm=[0, -1, 1, 2])]
    ),
    "a bias of one number for many channels": Graph(
        "its bias has shape (1,)",
        [node("Conv", "q w b", "z")],
        {"w": numbers(4, 2, 1, 1), "b": numbers(1)},
    ),
    "a bias in another shape": Graph(
        "its bias has shape (3, 1)",
        [node("Gemm", "q w b", "z")],
        {"w": numbers(6, 3), "b": numbers(3, 1)},
        shape=ROW,
    ),
    "a kernel_shape that is not the weight's": Graph(
        "is not its weight's",
        [node("Conv", "q w", "z", kernel_shape=[1, 2])],
        {"w": numbers(4, 2, 2, 1)},
    ),
    "pads and auto_pad": Graph(
        "pads and auto_pad",
        [node("Conv", "q w", "z", auto_pad="SAME_UPPER", pads=[0] * 4)],
        {"w": numbers(4, 2, 3, 3)},
    ),
    "auto_pad with dilations": Graph(
        "does not go with dilations",
        [node("Conv", "q w", "z", auto_pad="SAME_UPPER", dilations=[2, 2])],
        {"w": numbers(4, 2, 3, 3)},
    ),
    "auto_pad that begins behind the first entry": Graph(
        "leaves entries out",
        [node("Conv", "q w", "z", auto_pad="SAME_UPPER", strides=[4, 4])],
        {"w": numbers(4, 2, 1, 1)},
    ),
    "one of a list left out": Graph("its input 1 is left out", [node("Sum", "q - q", "z")]),
    "a bias that is named by nothing": Graph(
        "its bias is left out",
        [node("LayerNormalization", "q a -", "z")],
        {"a": np.ones(4, np.float32)},
    ),
    "a variance that may be nothing": Graph(
        "only a number above 0",
        [node("InstanceNormalization", "q a a", "z", epsilon=0.0)],
        {"a": np.ones(2, np.float32)},
    ),
    "statistics of each entry": Graph(
        "'spatial' is 0; only 1",
        [node("BatchNormalization", "q a a a a", "z", spatial=0)],
        {"a": np.ones(2, np.float32)},
        opset=8,
    ),
    "one statistic for all channels": Graph(
        "its scale has shape (1,)",
        [node("BatchNormalization", "q b a a a", "z")],
        {"a": np.ones(2, np.float32), "b": np.ones(1, np.float32)},
    ),
    "float64 within the network": Graph(
        "casts to a type other than float32",
        [node("Cast", "q", "d", to=11), node("Mul", "d c", "m"), node("Cast", "m", "z", to=1)],
        {"c": np.array([1e-300])},
    ),
    "two rows beside one": Graph(
        "do not fit together",
        [node("Concat", "q c", "z", axis=1)],
        {"c": numbers(2, 2, 4, 4)},
    ),
    "parts that do not fit": Graph(
        "do not fit together", [node("Concat", "q c", "z", axis=1)], {"c": numbers(1, 2, 4, 1)}
    ),
    "an average of channels alone": Graph(
        "nothing but channels", [node("GlobalAveragePool", "q", "z")], shape=ROW
    ),
    "more cut off than there is": Graph(
        "leaves a shape", [node("Pad", "q p", "z")], {"p": integers(0, 0, 0, -5, 0, 0, 0, 6)}
    ),
    "a size of zero that is meant": Graph(
        "sizes that are not read",
        [node("Reshape", "q s", "z", allowzero=1)],
        {"s": integers(1, 0, 16)},
    ),
    "an index that is no whole number": Graph(
        "type float32; only int32 and int64",
        [node("Gather", "q f", "z", axis=1)],
        {"f": np.array([1], np.float32)},
    ),
    "an index out of range": Graph("its indices leave", [node("Gather", "q i2", "z", axis=1)]),
    "a shape in 32 bits": Graph(
        "type int32; only int64", [node("Reshape", "q s", "z")], {"s": np.array([1, 32], np.int32)}
    ),
    "a slice of an axis twice": Graph(
        "name a dimension twice",
        [node("Slice", "q o o a", "z")],
        {"o": integers(1, 2), "a": integers(2, 2)},
    ),
    "a mean over a batch of one": Graph("", [node("ReduceMean", "q", "z")]),
    "a mask of what is dropped": Graph(
        "its mask is used",
        [node("Dropout", "q", "d m"), node("Cast", "m", "f", to=1), node("Add", "d f", "z")],
    ),
    "halves that are added": Graph(
        "type float16; only",
        [node("Add", "h h", "s"), node("Cast", "s", "f", to=1), node("Add", "q f", "z")],
        {"h": np.array([0.1], np.float16)},
    ),
    "an integer quotient below zero": Graph(
        "only those from 0 by those from 1",
        [node("Div", "a b", "i"), node("Cast", "i", "f", to=1), node("Add", "q f", "z")],
        {"a": integers(-7), "b": integers(2)},
    ),
    "an integer product beyond 64 bits": Graph(
        "not below 2^31",
        [node("Mul", "a a", "i"), node("Cast", "i", "f", to=1), node("Add", "q f", "z")],
        {"a": integers(2**40)},
    ),
    "a float that is no integer, cast to one": Graph(
        "does not hold exactly",
        [node("Cast", "a", "i", to=7), node("Cast", "i", "f", to=1), node("Add", "q f", "z")],
        {"a": np.array([-1.5], np.float32)},
    ),
    "an integer that float32 does not hold": Graph(
        "does not hold exactly",
        [node("Cast", "a", "f", to=1), node("Add", "q f", "z")],
        {"a": integers(2**24 + 1)},
    ),
    "a constant put together along a dimension that is not there": Graph(
        "axis 1 is not",
        [node("Concat", "c c", "d", axis=1), node("Reshape", "d s", "e"), node("Add", "q e", "z")],
        {"c": FOUR, "s": integers(1, 2, 4, 1)},
    ),
    "a constant squeezed without an axis": Graph(
        "",
        [node("Squeeze", "c", "d"), node("Add", "q d", "z")],
        {"c": FOUR.reshape(1, 4, 1)},
    ),
    "a constant sliced backwards to the greatest number": Graph(
        "its end is 2147483647 behind a step of -1",
        [node("Slice", "c i_1 e i0 i_1", "d"), node("Reshape", "d s", "z")],
        {"c": FOUR, "e": integers(2**31 - 1), "s": integers(1, -1)},
    ),
    "a maximum of partial windows": Graph(
        "", [node("MaxPool", "q", "z", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)]
    ),
    "an average that counts its padding": Graph(
        "", [node("AveragePool", "q", "z", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)]
    ),
}


def refused(proto: onnx.ModelProto) -> str:
    """The refusal, the comparison with onnxruntime left out; nothing if there is none."""
    with patch.object(reader, "compare"):
        try:
            data = proto.SerializeToString()
            reader.import_bytes(data, Path("m.onnx"), None, reader.Contract())
        except UnsupportedModelError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_refused_or_read_as_onnxruntime_reads_it(name: str) -> None:
    graph = GRAPHS[name]
    if graph.message:
        found = refused(graph.proto())
        assert graph.message in found
        assert "operator " in found
        assert "(node '" in found
        assert "(rule onnx-" in found
    else:
        for threshold in (9.0, -1.0):  # asleep, and awake
            assert require_alike(graph.proto(threshold)) == "alike"


def test_a_slice_of_constants_ends_where_onnxruntime_ends_it() -> None:
    for end in (LEAST, -(2**31), -5, -1, 0, 3, 9, MOST):
        constants = {"c": FOUR, "e": integers(end), "i0": integers(0), "s": integers(1, -1)}
        nodes = [
            node("Slice", "c i0 e", "d"),
            node("Identity", "x", "z"),
            node("Flatten", "z", "y"),
        ]
        assert require_exact(model(nodes, (1, 4), constants, 13), "d") == "alike"


# What tensors and attributes hold besides


def boolean(byte: int) -> TensorProto:
    return TensorProto(name="c", data_type=TensorProto.BOOL, dims=[1], raw_data=bytes([byte]))


def narrow(kind: int, number: int) -> TensorProto:
    return TensorProto(name="c", data_type=kind, dims=[1], int32_data=[number])


TENSORS = {
    "a truth value that is two": (boolean(2), boolean(1)),
    "a byte that is more": (narrow(TensorProto.UINT8, 256), narrow(TensorProto.UINT8, 255)),
    "a half of more bits": (
        narrow(TensorProto.FLOAT16, 2**16 + 1),
        narrow(TensorProto.FLOAT16, 15360),
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_holds_only_numbers_of_its_type(name: str) -> None:
    wrong, right = TENSORS[name]
    for tensor, message in ((wrong, "holds numbers that its type does not have"), (right, "")):
        proto = Graph("", [node("Cast", "c", "f", to=1), node("Add", "q f", "z")]).proto()
        proto.graph.initializer.append(tensor)
        found = refused(proto)
        assert message in found
        assert bool(message) == bool(found)


DECLARED: dict[str, tuple[list[str | int | None] | None, int, str]] = {
    "a batch of seven": ([7, 2, 4, 4], TensorProto.FLOAT, "is declared as [7, 2, 4, 4]"),
    "a batch of none": ([0, 2, 4, 4], TensorProto.FLOAT, "is declared as [0, 2, 4, 4]"),
    "another width": ([1, 2, 4, 5], TensorProto.FLOAT, "is declared as [1, 2, 4, 5]"),
    "another rank": ([1, 32], TensorProto.FLOAT, "is declared as [1, 32]"),
    "another type": ([1, 2, 4, 4], TensorProto.DOUBLE, "declared as another type"),
    "its own shape": ([1, 2, 4, 4], TensorProto.FLOAT, ""),
    "a free batch": (["n", 2, 4, 4], TensorProto.FLOAT, ""),
    "nothing": (None, TensorProto.FLOAT, ""),
}


@pytest.mark.parametrize("name", DECLARED)
def test_a_value_has_the_shape_that_the_file_declares_of_it(name: str) -> None:
    """With a free batch onnxruntime works out Shape from the declaration, and so a constant."""
    shape, kind, message = DECLARED[name]
    nodes = [
        node("Shape", "q", "s"),
        node("Gather", "s first", "n"),
        node("Cast", "n", "f", to=1),
        node("Mul", "q f", "z"),
    ]
    proto = Graph("", nodes, {"first": np.array(0)}, shape=("batch", *IMAGE[1:])).proto(-1.0)
    proto.graph.value_info.append(helper.make_tensor_value_info("q", kind, shape))
    found = refused(proto)
    assert message in found
    assert bool(message) == bool(found)
    proto = Graph("", [node("Add", "q c", "z")], {"c": numbers(1, 2, 4, 4)}).proto()
    proto.graph.value_info.append(helper.make_tensor_value_info("c", kind, shape))
    assert message in refused(proto)


def test_what_is_declared_of_a_value_that_nothing_reads_is_not_believed() -> None:
    """torch's exporter declares the sequence of an LSTM so, where its last state alone is read."""
    nodes = [node("Split", "q", "z r", axis=3, num_outputs=2)]
    proto = Graph("", nodes).proto()
    proto.graph.value_info.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 7]))
    assert refused(proto) == ""
    proto.graph.node.append(node("Neg", "r", "unread"))
    assert "is declared as [1, 7]" in refused(proto)


def test_an_attribute_has_one_value() -> None:
    """Which of them is read would be a matter of taste."""
    proto = Graph("", [node("LeakyRelu", "q", "z", alpha=0.5)]).proto()
    assert refused(proto) == ""
    proto.graph.node[2].attribute[0].floats.append(0.25)
    assert "with more values than one" in refused(proto)


def test_a_constant_has_one_value() -> None:
    both = helper.make_node("Constant", [], ["c"], value_float=1.0)
    both.attribute.append(
        helper.make_attribute("value", numpy_helper.from_array(np.array(2.0, np.float32)))
    )
    proto = Graph("", [both, node("Add", "q c", "z")]).proto()
    assert "not one" in refused(proto)
