"""Files from strangers: read, or refused in a clear sentence, in little memory."""

import pickle
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from tests.fixtures.onnx_models import (
    classifier,
    classifier_model,
    integers,
    model,
    node,
    numbers,
    save,
)

MEGABYTES = 700


@pytest.fixture(autouse=True)
def modest() -> Iterator[None]:
    """Not greedy, whatever the file asks for."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES


def refused(path: Path) -> str:
    """The sentences with which a file is refused."""
    with pytest.raises(UnsupportedModelError) as caught:
        import_onnx(path)
    for sentence in caught.value.problems:
        assert sentence.endswith("."), sentence
        assert path.name in sentence
        assert "\n" not in sentence
        assert len(sentence) < 600
    return str(caught.value)


def test_a_model_is_read_into_float64_nodes(tmp_path: Path) -> None:
    network = import_onnx(classifier(tmp_path / "m.onnx"))
    assert network.input_shape == (3, 2, 2)
    assert network.classes == 3
    assert network(torch.zeros(2, 3, 2, 2, dtype=torch.float64)).shape == (2, 3)


# Not a model


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x" * 1000)


WRONG_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"w": [1.0] * 99})), "Python pickle"),
    "zip": (zipped, "zip archive"),
    "html": (lambda p: p.write_text("\n <!DOCTYPE html><html>404</html>"), "HTML"),
    "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "lfs": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "text": (lambda p: p.write_text("hello, I am a network"), "damaged"),
    "zeros": (lambda p: p.write_bytes(bytes(10_000)), "damaged"),
    "folder": (lambda p: p.mkdir(), "cannot be read"),
    "missing": (lambda p: None, "cannot be read"),
    "tensor": (
        lambda p: p.write_bytes(numpy_helper.from_array(numbers(50)).SerializeToString()),
        "damaged",
    ),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_file_that_is_no_model_is_told(tmp_path: Path, kind: str) -> None:
    make, message = WRONG_FILES[kind]
    make(tmp_path / "m.onnx")
    assert message in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_told(tmp_path: Path, part: float) -> None:
    data = classifier_model().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: int(part * len(data))])
    assert "damaged" in refused(path)


def test_flipped_bytes_never_end_in_another_exception(tmp_path: Path) -> None:
    data = classifier_model().SerializeToString()
    path, random = tmp_path / "m.onnx", np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for place in random.integers(0, len(data), size=int(random.integers(1, 4))):
            broken[place] = int(random.integers(256))
        path.write_bytes(bytes(broken))
        try:
            network = import_onnx(path)
        except UnsupportedModelError:
            continue
        assert bool(torch.isfinite(network(torch.zeros(1, *network.input_shape).double())).all())


# A model outside what is read


def test_all_unsupported_operators_are_told_at_once(tmp_path: Path) -> None:
    nodes = [
        node("Det", "x", "first"),
        node("Flatten", "first", "flat"),
        node("Hardmax", "flat", "second"),
        node("DFT", "second", "y"),
    ]
    message = refused(save(model(nodes, ("batch", 3, 2)), tmp_path / "m.onnx"))
    assert "operator Det (node 'first') is not supported" in message
    assert "operator Hardmax (node 'second') is not supported" in message
    assert "operator DFT (node 'y') is not supported. Write it as two products with" in message
    assert len(message.splitlines()) == 3


def edited(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    proto = classifier_model()
    change(proto)
    return proto


def external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def two_fields(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.float_data.extend(numpy_helper.to_array(tensor).ravel().tolist())
    tensor.raw_data = b""


def external_constant(proto: onnx.ModelProto) -> None:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    proto.graph.node.insert(0, node("Constant", "", "stolen", value=tensor))


def function(proto: onnx.ModelProto) -> None:
    body = [node("Relu", "a", "b")]
    proto.functions.append(
        helper.make_function("own", "Mine", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    )


def control_flow(proto: onnx.ModelProto) -> None:
    branch = helper.make_graph(
        [node("Identity", "bent", "inner")],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    kind = helper.make_node(
        "If", ["yes"], ["chosen"], name="branching", then_branch=branch, else_branch=branch
    )
    proto.graph.node.insert(3, kind)


def custom(proto: onnx.ModelProto) -> None:
    proto.graph.node[2].domain = "com.example"


def two_inputs(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3]))


def weight(value: float) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        array = numpy_helper.to_array(proto.graph.initializer[0]).copy()
        array[0, 0] = value
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "w1"))

    return change


def input_type(kind: int) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.elem_type = kind

    return change


def input_dim(axis: int, size: int | str) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        dim = proto.graph.input[0].type.tensor_type.shape.dim[axis]
        dim.Clear()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size

    return change


def dims(*sizes: int) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[:] = sizes

    return change


def unsorted(proto: onnx.ModelProto) -> None:
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))


def cyclic(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].input[2] = "bent"


def detached(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].name = "w2"


def without_names(proto: onnx.ModelProto) -> None:
    for each in proto.graph.node:
        each.ClearField("name")
        each.ClearField("output")


def twice(proto: onnx.ModelProto) -> None:
    proto.graph.node[2].output[0] = "hidden"


def strings(proto: onnx.ModelProto) -> None:
    text = TensorProto(name="w1", data_type=TensorProto.STRING, dims=[1], string_data=[b"text"])
    proto.graph.initializer[0].CopyFrom(text)


def many_nodes(proto: onnx.ModelProto) -> None:
    proto.graph.node.extend(node("Relu", "x", f"r{i}") for i in range(20_001))


MODELS: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "external data": (external, "keeps its data in another file"),
    "an external constant": (external_constant, "keeps its data in another file"),
    "functions": (function, "functions are not supported"),
    "control flow": (control_flow, "contains a subgraph"),
    "a custom domain": (custom, "custom domain 'com.example'"),
    "two inputs": (two_inputs, "2 inputs and 1 outputs"),
    "a NaN weight": (weight(np.nan), "weights that are not finite"),
    "an infinite weight": (weight(np.inf), "weights that are not finite"),
    "a weight of minus infinity": (weight(-np.inf), "minus infinity, which only masks"),
    "a string input": (input_type(TensorProto.STRING), "not float32"),
    "an integer input": (input_type(TensorProto.INT64), "not float32"),
    "a double input": (input_type(TensorProto.DOUBLE), "float64, not float32"),
    "a free width": (input_dim(3, "width"), "fixed sizes"),
    "an empty width": (input_dim(3, 0), "fixed sizes"),
    "a negative width": (input_dim(3, -2), "fixed sizes"),
    "a batch of two": (input_dim(0, 2), "batch dimension"),
    "an input too large": (input_dim(3, 2**40), "entries"),
    "another input size": (input_dim(3, 5), "weight takes 12 inputs, not 30"),
    "dims beyond the data": (dims(12, 6), "does not hold what its shape says"),
    "dims without end": (dims(2**40, 2**40), "does not hold what its shape says"),
    "negative dims": (dims(-12, -5), "does not hold what its shape says"),
    "data that are empty, and others": (two_fields, "does not hold what its shape says"),
    "another rank": (dims(60), "2 dimensions are needed"),
    "an unsorted graph": (unsorted, "which nothing computes before it"),
    "a cyclic graph": (cyclic, "which nothing computes before it"),
    "a constant output": (detached, "does not depend on its input"),
    "nodes without names": (without_names, "without a name"),
    "a value computed twice": (twice, "is made more than once"),
    "strings": (strings, "holds strings"),
    "too many nodes": (many_nodes, "too many"),
    "an old opset": (lambda p: p.opset_import[0].__setattr__("version", 5), "opset 5"),
    "a future opset": (lambda p: p.opset_import[0].__setattr__("version", 99), "opset 99"),
    "no opset": (lambda p: p.ClearField("opset_import"), "opset"),
    "no nodes": (lambda p: p.graph.ClearField("node"), "damaged or of another kind"),
    "no input": (lambda p: p.graph.ClearField("input"), "0 inputs"),
}


@pytest.mark.parametrize("fault", MODELS)
def test_a_model_that_is_not_read_is_told(tmp_path: Path, fault: str) -> None:
    change, message = MODELS[fault]
    assert message in refused(save(edited(change), tmp_path / "m.onnx"))


def test_one_logit_per_class_is_needed(tmp_path: Path) -> None:
    proto = model([node("Relu", "x", "y")], ("batch", 3, 4), output=("batch", 3, 4))
    assert "one logit per class" in refused(save(proto, tmp_path / "m.onnx"))


# Bombs

HUGE = 2**20

BOMBS: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "constant": (
        [node("ConstantOfShape", "s", "c"), node("Add", "x c", "z")],
        {"s": integers(HUGE, HUGE)},
    ),
    "constant beyond int64": (
        [node("ConstantOfShape", "s", "c"), node("Add", "x c", "z")],
        {"s": integers(2**62, 2**62, 2**62)},
    ),
    "negative constant": (
        [node("ConstantOfShape", "s", "c"), node("Add", "x c", "z")],
        {"s": integers(-HUGE, -HUGE)},
    ),
    "broadcast of constants": (
        [node("Add", "a b", "c"), node("Add", "x c", "z")],
        {"a": numbers(HUGE, 1), "b": numbers(1, HUGE)},
    ),
    "constants that double": (
        [node("Concat", f"c{i} c{i}", f"c{i + 1}", axis=0) for i in range(60)]
        + [node("Add", "x c60", "z")],
        {"c0": numbers(1000)},
    ),
    "gathered constants": (
        [node("Gather", "a i", "c"), node("Add", "x c", "z")],
        {"a": numbers(1, HUGE), "i": np.zeros(HUGE, dtype=np.int64)},
    ),
    "gathered values": (
        [node("Gather", "x i", "z", axis=1)],
        {"i": np.zeros((HUGE, 4), dtype=np.int64)},
    ),
    "pads": ([node("Pad", "x p", "z")], {"p": integers(0, 0, 0, 0, 0, 0, HUGE, HUGE)}),
    "pads of a convolution": (
        [node("Conv", "x w", "z", pads=[HUGE] * 4)],
        {"w": numbers(1, 2, 1, 1)},
    ),
    "asymmetric pads of a convolution": (
        [node("Conv", "x w", "z", pads=[0, 0, HUGE, HUGE])],
        {"w": numbers(1, 2, 1, 1)},
    ),
    "pads of a pool": (
        [node("MaxPool", "x", "z", kernel_shape=[2**30, 2**30], pads=[2**29] * 4)],
        {},
    ),
    "strides of a transposed convolution": (
        [node("ConvTranspose", "x w", "z", strides=[HUGE, HUGE])],
        {"w": numbers(2, 1, 2, 2)},
    ),
    "layers that double": (
        [
            node("Concat", f"{'x' if i == 0 else f'd{i}'} " * 2, f"d{i + 1}", axis=1)
            for i in range(40)
        ]
        + [node("Identity", "d40", "z")],
        {},
    ),
    "an absurd reshape": ([node("Reshape", "x s", "z")], {"s": integers(1, 2**40, 2**40)}),
    "a negative reshape": ([node("Reshape", "x s", "z")], {"s": integers(1, -4, -8)}),
    "a stride of zero": ([node("Conv", "x w", "z", strides=[0, 0])], {"w": numbers(1, 2, 1, 1)}),
    "a slice of no step": (
        [node("Slice", "x a b c d", "z")],
        {"a": integers(0), "b": integers(1), "c": integers(1), "d": integers(0)},
    ),
    "a group of zero": ([node("Conv", "x w", "z", group=0)], {"w": numbers(1, 2, 1, 1)}),
    "groups that do not divide": (
        [node("Conv", "x w", "z", group=2)],
        {"w": numbers(3, 1, 1, 1)},
    ),
    "a kernel beyond its input": ([node("Conv", "x w", "z")], {"w": numbers(1, 2, 9, 9)}),
    "many slices of much": (
        [node("Pad", "x p", "wide")]
        + [node("Slice", "wide a b c", f"s{i}") for i in range(2000)]
        + [node("Identity", "s1999", "z")],
        {
            "p": integers(0, 0, 0, 0, 0, 0, 2000, 2000),
            "a": integers(0),
            "b": integers(1),
            "c": integers(1),
        },
    ),
    "a wall of products": (
        [node("Pad", "x p", "wide"), node("Conv", "wide w1", "c0", pads=[1, 1, 1, 1])]
        + [node("Conv", f"c{i} w2", f"c{i + 1}", pads=[1, 1, 1, 1]) for i in range(6)]
        + [node("GlobalAveragePool", "c6", "z")],
        {
            "p": integers(0, 0, 0, 0, 0, 0, 200, 200),
            "w1": numbers(200, 2, 3, 3),
            "w2": numbers(200, 200, 3, 3),
        },
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_defused(tmp_path: Path, bomb: str) -> None:
    nodes, constants = BOMBS[bomb]
    proto = model([*nodes, node("Flatten", "z", "y")], ("batch", 2, 4, 4), constants)
    refused(save(proto, tmp_path / "m.onnx"))


# The comparison with onnxruntime


def test_a_network_that_is_not_the_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong translation: Relu read as Tanh."""
    from evaluators.network.elementwise import Tanh
    from evaluators.onnx.operators import arithmetic

    monkeypatch.setattr(arithmetic, "elementwise_functions", lambda: {"Relu": Tanh})
    assert "differ from onnxruntime's by" in refused(classifier(tmp_path / "m.onnx"))


def test_real_inputs_are_compared_too(tmp_path: Path) -> None:
    """Far outside [0, 1] this one overflows."""
    nodes = [node("Flatten", "x", "flat"), node("Gemm", "flat w b", "h"), node("Relu", "h", "y")]
    constants = {
        "w": np.full((2, 2), 1e10, dtype=np.float32),
        "b": np.full(2, -3e10, dtype=np.float32),
    }
    path = save(model(nodes, ("batch", 2), constants), tmp_path / "m.onnx")
    import_onnx(path)
    with pytest.raises(UnsupportedModelError, match="not finite"):
        import_onnx(path, np.full((1, 2), 1e30, dtype=np.float32))


@pytest.mark.slow
def test_the_shared_models_are_read(shared: Path) -> None:
    for path in [*shared.glob("models/*.onnx"), *shared.glob("soundness/onnx/*.onnx")]:
        network = import_onnx(path)
        assert network.classes >= 2


def test_weights_that_leave_a_runtime_no_room_are_refused(tmp_path: Path) -> None:
    """It may multiply first what the file adds first, and overflow where real numbers do not."""
    for size, fits in ((2.0**40, True), (2.0**41, False)):
        nodes = [node("Flatten", "x", "flat"), node("MatMul", "flat w", "y")]
        weight = numbers(12, 3) * 0 + np.eye(12, 3, dtype=np.float32) * np.float32(size)
        path = save(model(nodes, ("batch", 3, 2, 2), {"w": weight}), tmp_path / "m.onnx")
        if fits:
            import_onnx(path)
        else:
            assert "larger than 1.1e+12 (rule onnx-finite)" in refused(path)
