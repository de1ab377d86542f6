"""The checker's reader of files: what it reads is what onnxruntime computes; the rest is refused.

Thousands of random graphs instead of some dozens are tried by

    CERTBOARD_GRAPHS=3000 pytest -n0 tests/evaluators/test_recheck_reader.py
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from evaluators.learning.architectures import small_cnn
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.runtime import Runtime
from evaluators.onnx.writer import export_onnx
from evaluators.recheck import graph
from evaluators.recheck.operators import IDLE, OPERATORS
from evaluators.recheck.reader import CheckedModel, read_model
from tests.fixtures import effort
from tests.fixtures.cases import cases
from tests.fixtures.checked import logits
from tests.fixtures.corpus import bombs, contract, graphs
from tests.fixtures.corpus import numbers as corpus_numbers
from tests.fixtures.drawn_graphs import drawn
from tests.fixtures.odd_graphs import READ, REFUSED, STATES, built
from tests.fixtures.onnx_models import classifier_model, node, numbers

GRAPHS = int(os.environ.get("CERTBOARD_GRAPHS", "60"))
Array = NDArray[Any]
Edit = Callable[[onnx.ModelProto], Any]


def read(proto: onnx.ModelProto) -> CheckedModel:
    return read_model(proto.SerializeToString())


def refusal(proto: onnx.ModelProto) -> str:
    """Why a file is not read: one sentence."""
    with pytest.raises(UnsupportedModelError) as caught:
        read(proto)
    (sentence,) = caught.value.problems
    assert sentence.startswith("it has ")
    assert sentence.endswith("which the checker does not read.")
    assert sentence.isascii()
    assert sentence.isprintable()
    return sentence


def same_as_deployed(proto: onnx.ModelProto) -> CheckedModel:
    """The file as it is read, after comparing it with onnxruntime."""
    data = proto.SerializeToString()
    read, runtime = read_model(data), Runtime(data)
    x = np.random.default_rng(0).normal(size=(4, *read.input_shape)).astype(np.float32)
    deployed = np.concatenate([runtime(row[None]) for row in x])
    found = logits(read, x)
    assert np.abs(found - deployed).max() <= 1e-4 * max(1.0, float(np.abs(found).max()))
    return read


@settings(max_examples=GRAPHS, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs_mean_what_onnxruntime_computes(seed: int) -> None:
    proto = drawn(seed)
    try:
        read(proto)
    except UnsupportedModelError:
        refusal(proto)
        return
    same_as_deployed(proto)


@cache
def all_read() -> list[onnx.ModelProto]:
    """Random graphs that are read."""
    found = []
    for seed in range(240):
        proto = drawn(seed, length=8)
        with suppress(UnsupportedModelError):
            read(proto)
            found.append(proto)
    return found


def test_random_graphs_have_every_operator_and_are_mostly_read() -> None:
    assert len(all_read()) > 60
    kinds = {each.op_type for proto in all_read() for each in proto.graph.node}
    assert kinds >= OPERATORS.keys() - {"Constant", "ConstantOfShape"}


@pytest.mark.parametrize("name", READ)
def test_what_importers_get_wrong_is_read_as_it_is_computed(name: str) -> None:
    same_as_deployed(READ[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_certain_is_refused(name: str) -> None:
    proto, reason = REFUSED[name]
    assert reason in refusal(proto)


def undeclared(each: NodeProto) -> None:
    each.attribute.append(helper.make_attribute("undeclared", 1))


def of_another_type(each: NodeProto) -> None:
    each.attribute.append(helper.make_attribute("axis", "1"))


def superfluous(each: NodeProto) -> None:
    each.input.append("x")


def another_output(each: NodeProto) -> None:
    each.output.append("more")


TWICE = [helper.make_attribute("axis", 1)] * 2
INT = onnx.AttributeProto.INT
ADDED: dict[str, Callable[[NodeProto], None]] = {
    "an attribute that it does not have": undeclared,
    "an attribute of another type": of_another_type,
    "an attribute twice": lambda each: each.attribute.extend(TWICE),
    "an input too many": superfluous,
    "an output too many": another_output,
    "a subgraph": lambda each: each.attribute.append(
        helper.make_attribute("then_branch", onnx.GraphProto())
    ),
    "a reference": lambda each: each.attribute.append(
        onnx.AttributeProto(name="axis", type=INT, ref_attr_name="k")
    ),
    "another domain": lambda each: setattr(each, "domain", "com.microsoft"),
    "an overload": lambda each: setattr(each, "overload", "fast"),
    "a device": lambda each: each.device_configurations.add(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ADDED)
def test_whatever_is_added_to_any_operator_is_refused(name: str) -> None:
    """Never ignored: of each operator, in graphs that are read without it."""
    kinds: set[str] = set()
    for proto in all_read():
        for place, each in enumerate(proto.graph.node):
            if each.op_type in kinds or (superfluous is ADDED[name] and each.op_type in VARIADIC):
                continue
            if each.op_type in ("Split", *IDLE) and another_output is ADDED[name]:
                continue  # in other parts, or refused: as onnxruntime does; or unread
            kinds.add(each.op_type)
            changed = onnx.ModelProto()
            changed.CopyFrom(proto)
            ADDED[name](changed.graph.node[place])
            refusal(changed)
    assert len(kinds) >= len(OPERATORS) - 8


VARIADIC = ("Concat", "Max", "Min", "Sum")


def declared(name: str, *dims: int | str, kind: int = TensorProto.FLOAT) -> Edit:
    value = helper.make_tensor_value_info(name, kind, dims)
    return lambda proto: proto.graph.value_info.append(value)


def axis(**more: Any) -> Edit:
    """The axis that a Flatten has anyway, and more."""
    value = onnx.AttributeProto(name="axis", type=INT, i=1, **more)
    return lambda proto: proto.graph.node[0].attribute.append(value)


FIELDS: dict[str, tuple[Edit, str]] = {
    "an attribute of two values": (axis(f=2.0), "attribute 'axis' of several values"),
    "an attribute that refers to another": (axis(ref_attr_name="k"), "of several values"),
    "functions": (lambda p: p.functions.add(), "field functions"),
    "training": (lambda p: p.training_info.add(), "field training_info"),
    "a sparse weight": (lambda p: p.graph.sparse_initializer.add(), "field sparse_initializer"),
    "a quantization": (lambda p: p.graph.quantization_annotation.add(), "quantization_annotation"),
    "data elsewhere": (lambda p: p.graph.initializer[0].external_data.add(), "external_data"),
    "a segment": (lambda p: p.graph.initializer[0].segment.SetInParent(), "segment"),
    "data twice": (lambda p: p.graph.initializer[0].float_data.append(1.0), "float_data"),
    "two opsets": (lambda p: p.opset_import.append(helper.make_opsetid("", 9)), "opset"),
    "a tensor's wrong shape": (declared("hidden", 1, 7), "'hidden' that is not of the type"),
    "a tensor's wrong rank": (declared("bent", 5), "'bent' that is not of the type"),
    "a tensor's wrong type": (declared("bent", 1, 5, kind=TensorProto.INT64), "'bent' that is not"),
    "a weight's wrong shape": (declared("w1", 5, 12), "'w1' that is not of the type and shape"),
    "an input of several examples": (
        lambda p: setattr(p.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2),
        "an input of shape [2, 3, 2, 2]",
    ),
    "an input in double precision": (
        lambda p: setattr(p.graph.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE),
        "an input of shape",
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_and_declarations_that_are_not_so_are_refused(name: str) -> None:
    edit, reason = FIELDS[name]
    proto = classifier_model()
    edit(proto)
    assert reason in refusal(proto)


def test_a_field_that_onnx_does_not_have_is_refused() -> None:
    """Field 300, of one byte, in the model and in one of its nodes."""
    places: list[Callable[[Any], Any]] = [lambda p: p, lambda p: p.graph.node[0]]
    for place in places:
        proto = classifier_model()
        place(proto).MergeFromString(b"\xe2\x12\x01x")
        assert "a field that ONNX does not define" in refusal(proto)


def test_names_descriptions_and_true_declarations_change_nothing() -> None:
    proto = classifier_model()
    before = read(proto)
    axis()(proto)
    declared("hidden", "batch", 5)(proto)
    declared("w1", 12, 5)(proto)
    proto.doc_string = proto.graph.node[0].doc_string = "A network."
    proto.graph.node[0].name = "first"
    proto.metadata_props.add(key="author", value="me")
    after = read(proto)
    assert after.sha256 != before.sha256
    for one, other in zip(after.steps, before.steps, strict=True):
        assert (one.parents, one.leak) == (other.parents, other.leak)
        assert one.weights is None or (one.weights != other.weights).nnz == 0


def test_weights_that_the_reader_computes_carry_their_roundings() -> None:
    constants = {**dict(zip("sbmv", STATES, strict=True)), "c": numbers(1)}
    nodes = [
        node("BatchNormalization", "x s b m v", "n"),
        node("Div", "n c", "d"),
        node("AveragePool", "d", "p", kernel_shape=[2, 2]),
        node("ReduceMean", "p", "m1", axes=[3]),
        node("Mul", "m1 c", "z"),
    ]
    found = [step.roundings for step in read(built(nodes, constants, opset=13)).steps]
    # Input; minus the mean, scaled, plus the bias; the quotient; two means; the product.
    assert found == [0, 0, 4, 0, 1, 1, 1, 0]


def hostile(module: ModuleType) -> dict[str, Callable[[], bytes]]:
    """Every file of a part of the corpus of hostile submissions."""
    return {
        f"{table}: {name}": found[0]
        for table, files in vars(module).items()
        if table.isupper() and isinstance(files, dict)
        for name, found in files.items()
        if isinstance(found, tuple) and callable(found[0])
    }


@pytest.mark.slow
@pytest.mark.parametrize("module", [bombs, contract, graphs, corpus_numbers])
def test_hostile_files_are_read_or_refused_in_a_sentence(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "MAX_ENTRIES", 2**20)
    files = hostile(module)
    assert len(files) > 10
    with cases() as case:
        for name, make in files.items():
            with case(name):
                _read_or_refused(make())


def _read_or_refused(data: bytes) -> None:
    try:
        model = read_model(data)
    except UnsupportedModelError as error:
        (sentence,) = error.problems
        assert sentence.endswith("which the checker does not read.")
        assert sentence.isprintable()
        assert len(sentence) < 600
    else:
        held = [
            step.size + (0 if step.weights is None else step.weights.nnz) for step in model.steps
        ]
        assert sum(held) <= 2**20


def test_memory_is_counted_before_it_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a random graph makes, its matrices stay below the limit."""
    protos = [drawn(seed) for seed in range(40)]
    for limit in (200, 2_000, 20_000):
        monkeypatch.setattr(graph, "MAX_ENTRIES", limit)
        for proto in protos:
            try:
                model = read(proto)
            except UnsupportedModelError:
                continue
            sizes = (step.weights.nnz for step in model.steps if step.weights is not None)
            assert sum(sizes) <= limit


def published(shared: Path) -> list[Path]:
    """Files of the board and of the literature: all every night, else one of each graph."""
    submissions = Path(__file__).resolve().parents[2] / "submissions"
    folders = (submissions, shared / "models", shared / "soundness" / "onnx")
    found = sorted(path for folder in folders for path in folder.rglob("*.onnx"))
    assert len(found) > 90
    if effort.share == 1:
        return found
    smallest_last = sorted(found, key=lambda path: -path.stat().st_size)
    return sorted({_kinds(path): path for path in smallest_last}.values())


def _kinds(path: Path) -> tuple[str, ...]:
    """The operators of a file in their order."""
    return tuple(each.op_type for each in onnx.load(path).graph.node)


@pytest.mark.slow
def test_published_networks_mean_what_onnxruntime_computes(shared: Path) -> None:
    for path in published(shared):
        if "SIGMOID" in path.name:
            assert "operator Sigmoid" in refusal(onnx.load(path))
        else:
            same_as_deployed(onnx.load(path))


def test_weights_of_half_precision_are_read_and_cast_to_float32_alone(tmp_path: Path) -> None:
    network = small_cnn((1, 8, 8), 4, 0).learned()
    export_onnx(network, tmp_path / "half.onnx", half=True)
    proto = onnx.load(tmp_path / "half.onnx")
    same_as_deployed(proto)
    (cast, *_) = (one for one in proto.graph.node if one.op_type == "Cast")
    cast.attribute[0].i = TensorProto.FLOAT16
    assert "a cast to type 10" in refusal(proto)
    (product,) = [one for one in proto.graph.node if cast.output[0] in one.input]
    proto.graph.node.remove(cast)
    product.input[1] = cast.input[0]
    assert "no constant of type float32" in refusal(proto)


def test_half_precision_in_bits_among_whole_numbers_is_not_read(tmp_path: Path) -> None:
    export_onnx(small_cnn((1, 8, 8), 4, 0).learned(), tmp_path / "half.onnx", half=True)
    proto = onnx.load(tmp_path / "half.onnx")
    held = next(one for one in proto.graph.initializer if one.data_type == TensorProto.FLOAT16)
    bits = np.frombuffer(held.raw_data, "<u2")
    held.ClearField("raw_data")
    held.int32_data.extend(bits.tolist())
    assert "int32_data" in refusal(proto)
