"""Models as their owners saved them: one ordinary file, or refused; nothing from elsewhere."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.adapter import InputAdapter
from evaluators.onnx.one_file import merged, settle
from evaluators.onnx.reader import Contract, import_bytes, import_onnx
from tests.fixtures.onnx_models import classifier, classifier_model, numbers, save

PIXELS = (2, 3, 4)
WEIGHT = numbers(24, 5)


def saved(
    dims: tuple[int | str, ...] = ("batch", *PIXELS), kind: int = TensorProto.FLOAT
) -> ModelProto:
    """Flatten and a matrix, of inputs of these sizes and this type."""
    weight = WEIGHT.astype(helper.tensor_dtype_to_np_dtype(kind))
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", kind, dims)],
        [helper.make_tensor_value_info("y", kind, ["batch", 5])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def logits(data: bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data)
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(found)


def read(model: ModelProto, layout: InputAdapter | None = None) -> bytes:
    made = settle(model.SerializeToString(), Path("m.onnx"), PIXELS, layout)
    network = import_bytes(made.data, Path("m.onnx"), None, Contract(PIXELS, 5))
    assert network.input_shape == PIXELS
    return made.data


def test_an_ordinary_file_stays_as_it_is() -> None:
    data = saved().SerializeToString()
    assert settle(data, Path("m.onnx"), PIXELS).notes == ()
    assert settle(data, Path("m.onnx"), PIXELS).data is data
    assert merged(data, Path("m.onnx")) is data


LAYOUTS: dict[str, tuple[tuple[int | str, ...], InputAdapter | None, Callable[..., np.ndarray]]] = {
    "all free": (tuple("NCHW"), None, lambda x: x),
    "some free": (("N", 2, "H", "W"), None, lambda x: x),
    "flat": (("N", 24), InputAdapter(shape=(24,)), lambda x: x.reshape(1, 24)),
    "a column": ((1, 24, 1), InputAdapter(shape=(24, 1)), lambda x: x.reshape(1, 24, 1)),
    "channels last": (
        ("N", 3, 4, 2),
        InputAdapter(channels_last=True),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    "channels last and free": (
        tuple("NHWC"),
        InputAdapter(channels_last=True),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_pixels_reach_the_place_where_the_file_wants_them(name: str) -> None:
    dims, layout, arranged = LAYOUTS[name]
    model, x = saved(dims), numbers(1, *PIXELS, seed=5)
    before = logits(model.SerializeToString(), np.ascontiguousarray(arranged(x)))
    np.testing.assert_allclose(logits(read(model, layout), x), before, rtol=1e-5)


def test_a_shape_of_other_size_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="24 numbers, not 23"):
        read(saved(("N", 23)), InputAdapter(shape=(23,)))


def test_float64_becomes_float32_and_says_how_far_weights_moved() -> None:
    model = saved(kind=TensorProto.DOUBLE)
    weight = numpy_helper.to_array(model.graph.initializer[0]) + 1e-9
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    made = settle(model.SerializeToString(), Path("m.onnx"), PIXELS)
    (note,) = made.notes
    furthest = np.abs(weight - weight.astype(np.float32)).max()
    assert 0 < furthest < 1e-6
    assert f"{furthest:.2g}" in note
    assert "float32" in note
    read(model)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_a_network_that_casts_to_another_type_computes_in_float32(kind: int) -> None:
    """As `module.half()` between two casts is exported; weights alone are only cast back."""
    model = saved()
    x, weight = numbers(1, *PIXELS, seed=5), numbers(24, 5)
    held = weight.astype(helper.tensor_dtype_to_np_dtype(kind))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(held, "w"))
    alone = onnx.ModelProto()
    alone.CopyFrom(model)
    alone.graph.node.insert(0, helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT))
    for node in alone.graph.node[1:]:
        node.input[:] = ["c" if name == "w" else name for name in node.input]
    assert settle(alone.SerializeToString(), Path("m.onnx"), PIXELS).notes == ()
    source, last = model.graph.input[0].name, model.graph.node[-1]
    output = last.output[0]
    last.output[0] = "half"
    model.graph.node.insert(0, helper.make_node("Cast", [source], ["begun"], to=kind))
    for node in model.graph.node[1:]:
        node.input[:] = ["begun" if name == source else name for name in node.input]
    model.graph.node.append(helper.make_node("Cast", ["half"], [output], to=TensorProto.FLOAT))
    (note,) = settle(model.SerializeToString(), Path("m.onnx"), PIXELS).notes
    assert "every result is about the same network in float32" in note
    wanted = x.reshape(1, 24) @ held.astype(np.float32)
    np.testing.assert_allclose(logits(read(model), x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.01, [0.01, 0.02, 0.03, 0.04, 0.05]])
def test_quantized_weights_become_what_they_stand_for(scale: float | list[float]) -> None:
    model = saved()
    whole = np.arange(120).reshape(24, 5).astype(np.int8)
    factor = np.array(scale, np.float32)
    del model.graph.initializer[:]
    for name, array in (("q", whole), ("s", factor), ("o", np.full(factor.shape, 3, np.int8))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["q", "s", "o"], ["w"]))
    x = numbers(1, *PIXELS, seed=5)
    wanted = x.reshape(1, 24) @ ((whole.astype(np.float32) - 3) * factor)
    np.testing.assert_allclose(logits(read(model), x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "domain"), [(np.int32, ""), (np.int8, "com.microsoft")])
def test_quantized_weights_that_runtimes_read_otherwise_are_refused(
    kind: type, domain: str
) -> None:
    """2^31 - 1 less -1 is 2^31, or -2^31 where whole numbers wrap around."""
    model = saved()
    whole: np.ndarray[Any, Any] = np.full((24, 5), np.iinfo(kind).max, kind)
    del model.graph.initializer[:]
    parts = {"q": whole, "s": np.array(1e-9, np.float32), "o": np.array(-1, kind)}
    for name, array in parts.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    inputs = [*parts]
    node = helper.make_node("DequantizeLinear", inputs, ["w"], domain=domain)
    model.graph.node.insert(0, node)
    with pytest.raises(UnsupportedModelError, match=r"is not in onnxruntime what|custom domain"):
        read(model)


@pytest.mark.parametrize(
    ("sizes", "scale", "count"),
    [((2**20,), (), 130), ((1, 2**20), (2**20,), 1), ((2**20, 1), (3,), 1)],
)
def test_quantized_weights_that_would_fill_the_memory_are_refused(
    sizes: tuple[int, ...], scale: tuple[int, ...], count: int
) -> None:
    """A file of a megabyte, of which gigabytes would become."""
    model = saved()
    for name, array in (("q", np.ones(sizes, np.int8)), ("s", np.ones(scale, np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for place in range(count):
        node = helper.make_node("DequantizeLinear", ["q", "s"], [f"v{place}"], axis=0)
        model.graph.node.insert(0, node)
    with pytest.raises(UnsupportedModelError, match=r"more than 500 MB|scales of another shape"):
        settle(model.SerializeToString(), Path("m.onnx"), PIXELS)


def beside(folder: Path, location: str = "m.data", **more: str) -> Path:
    """Write a model whose weight lies in another file."""
    model = saved()
    tensor = model.graph.initializer[0]
    (folder / "m.data").write_bytes(b"12345678" + tensor.raw_data + b"tail")
    given = {"location": location, "offset": "8", "length": str(len(tensor.raw_data)), **more}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in given.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_data_beside_the_model_are_taken_into_it(tmp_path: Path) -> None:
    path, x = beside(tmp_path), numbers(1, *PIXELS, seed=5)
    whole = settle(path.read_bytes(), path, PIXELS).data
    assert merged(path.read_bytes(), path) == whole
    assert not onnx.load_model_from_string(whole).graph.initializer[0].external_data
    np.testing.assert_array_equal(logits(whole, x), logits(saved().SerializeToString(), x))


ELSEWHERE: dict[str, tuple[dict[str, str], str]] = {
    "above": ({"location": "../m.data"}, "not in its own folder"),
    "above on another system": ({"location": "..\\m.data"}, "not in its own folder"),
    "around": ({"location": "sub/../../m.data"}, "not in its own folder"),
    "absolute": ({"location": "/etc/passwd"}, "not in its own folder"),
    "nowhere": ({"location": ""}, "not in its own folder"),
    "a link": ({"location": "link.data"}, "behind a link"),
    "behind a linked folder": ({"location": "linked/m.data"}, "behind a link"),
    "a folder": ({"location": "sub"}, "cannot be read|not where it says"),
    "a pipe": ({"location": "pipe"}, "not where it says"),
    "missing": ({"location": "none.data"}, "cannot be read"),
    "before its start": ({"offset": "-8"}, "not where it says"),
    "beyond its end": ({"offset": "32"}, "not where it says"),
    "of no length": ({"length": "-1"}, "not where it says"),
    "no number": ({"offset": "eight"}, "not where it says"),
    "strange": ({"basepath": "/"}, "a way that is not read"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_data_from_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    given, message = ELSEWHERE[name]
    folder = tmp_path / "own"
    (folder / "sub").mkdir(parents=True)
    path = beside(folder, **given)
    (tmp_path / "m.data").write_bytes((folder / "m.data").read_bytes())
    (folder / "link.data").symlink_to(tmp_path / "m.data")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    for reader in (
        lambda: merged(path.read_bytes(), path),
        lambda: settle(path.read_bytes(), path, PIXELS),
    ):
        with pytest.raises(UnsupportedModelError, match=message):
            reader()


@pytest.mark.parametrize("location", [TensorProto.EXTERNAL, TensorProto.DEFAULT])
@pytest.mark.parametrize("field", ["raw_data", "float_data"])
def test_data_that_are_in_two_places_are_refused(tmp_path: Path, location: int, field: str) -> None:
    """What is here onnxruntime reads unless told that it is elsewhere, and other readers never."""
    path = beside(tmp_path)
    model = onnx.load_model(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    array = 2 * numpy_helper.to_array(saved().graph.initializer[0])
    if field == "raw_data":
        tensor.raw_data = array.tobytes()
    else:
        tensor.float_data.extend(array.ravel().tolist())
    tensor.data_location = TensorProto.DataLocation.ValueType(location)
    data = model.SerializeToString()
    for reader in (lambda: merged(data, path), lambda: settle(data, path, PIXELS)):
        with pytest.raises(UnsupportedModelError, match="in this file and in another"):
            reader()


def test_a_free_batch_may_be_written_as_minus_one() -> None:
    model = saved((-1, *PIXELS))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert read(model) == model.SerializeToString()


def test_data_in_another_file_are_told_once_however_many_tensors_they_are(tmp_path: Path) -> None:
    proto = classifier_model()
    for tensor in proto.graph.initializer:
        tensor.external_data.add(key="location", value="weights.data")
    with pytest.raises(UnsupportedModelError) as caught:
        import_onnx(save(proto, tmp_path / "m.onnx"))
    message = str(caught.value)
    count = len(proto.graph.initializer)
    assert f"{count} initializers, such as '{proto.graph.initializer[0].name}', keep" in message
    assert message.count("certboard export") == 1


def test_functions_of_a_file_are_put_where_it_calls_them() -> None:
    model = saved()
    body = [
        helper.make_node("CastLike", ["two", "a"], ["like"]),
        helper.make_node("Mul", ["a", "like"], ["b"]),
    ]
    two = helper.make_node("Constant", [], ["two"], value_int=2)
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [two, *body], [helper.make_opsetid("", 17)]
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[-1].output[0] = "h"
    model.graph.node.append(helper.make_node("Twice", ["h"], ["y"], domain="own"))
    x = numbers(3, *PIXELS, seed=1)
    made = settle(model.SerializeToString(), Path("m.onnx"), PIXELS)
    assert made.notes == ("the functions that it defines (1) stand where it calls them",)
    np.testing.assert_allclose(logits(read(model), x), 2 * x.reshape(3, 24) @ WEIGHT, rtol=1e-5)
    whole = merged(model.SerializeToString(), Path("m.onnx"))
    assert not onnx.load_model_from_string(whole).functions
    np.testing.assert_allclose(logits(whole, x), 2 * x.reshape(3, 24) @ WEIGHT, rtol=1e-5)


def test_an_input_of_no_shape_has_that_of_images() -> None:
    model = saved()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    x = numbers(3, *PIXELS, seed=1)
    np.testing.assert_allclose(logits(read(model), x), x.reshape(3, 24) @ WEIGHT, rtol=1e-5)


@pytest.mark.parametrize("dims", [(24,), (24, 1), (6, 4)])
def test_an_input_without_a_batch_dimension_is_told_with_the_option_that_adds_it(
    dims: tuple[int, ...],
) -> None:
    option = f"; add --input-shape {','.join(map(str, dims))} to the command"
    with pytest.raises(UnsupportedModelError, match="without a batch dimension") as caught:
        settle(saved(dims).SerializeToString(), Path("m.onnx"), PIXELS)
    assert option in str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "option"), [((2, 3, 2), "--channels-last"), ((12, 1, 1), "--input-shape 3,2,2")]
)
def test_an_input_in_another_layout_is_told_with_the_option_that_changes_it(
    tmp_path: Path, pixels: tuple[int, ...], option: str
) -> None:
    path = classifier(tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError) as caught:
        import_onnx(path, shape=pixels)
    assert f"(`certboard export` with {option} changes that)" in str(caught.value)
