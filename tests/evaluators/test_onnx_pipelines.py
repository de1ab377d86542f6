"""Files of scikit-learn, as skl2onnx writes them: the same classes as onnxruntime's labels."""

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.adapter import InputAdapter
from evaluators.onnx.one_file import settle
from evaluators.onnx.reader import Contract, import_bytes, import_onnx
from tests.fixtures.onnx_models import numbers

SIZE, CLASSES = 4, 3
SCALER = {"offset": [0.5, 0.25, 0.0, 1.0], "scale": [2.0, 1.0, 0.5, 3.0]}
LABELS = list(range(CLASSES))


def classifier(last: str, labels: list[int], norm: str = "L1") -> onnx.ModelProto:
    """A scaler, a linear classifier, a normaliser and a map of probabilities."""
    weight, shift = numbers(CLASSES, SIZE, seed=1), numbers(CLASSES, seed=2)
    made = [
        ("Scaler", ["x"], ["s"], SCALER),
        (
            "LinearClassifier", ["s"], ["label", "scores"],
            {
                "classlabels_ints": labels, "coefficients": weight.flatten().tolist(),
                "intercepts": shift.tolist(), "multi_class": 1, "post_transform": last,
            },
        ),
        ("Normalizer", ["scores"], ["p"], {"norm": norm}),
        ("ZipMap", ["p"], ["z"], {"classlabels_int64s": labels}),
    ]  # fmt: skip
    kind = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    graph = helper.make_graph(
        [helper.make_node(*each[:3], domain="ai.onnx.ml", **each[3]) for each in made],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, SIZE])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_value_info("z", helper.make_sequence_type_proto(kind)),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def read(model: onnx.ModelProto) -> bytes:
    layout = InputAdapter(shape=(SIZE,))
    return settle(model.SerializeToString(), Path("m.onnx"), (1, 2, 2), layout).data


@pytest.mark.parametrize("last", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_its_class_is_the_label_that_the_file_gives(last: str) -> None:
    model = classifier(last, LABELS)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    network = import_bytes(read(model), Path("m.onnx"), None, Contract((1, 2, 2), CLASSES))
    x = numbers(40, SIZE, seed=5)
    labels = session.run(["label"], {"x": x})[0]
    ours = network(torch.from_numpy(x).double().reshape(40, 1, 2, 2)).argmax(1)
    assert ours.tolist() == labels.tolist()
    assert len(set(labels.tolist())) == CLASSES
    assert any("LpNormalization" in note for note in network.notes)


@pytest.mark.parametrize(
    "model",
    [
        classifier("PROBIT", LABELS),
        classifier("SOFTMAX", [1, 2, 3]),
        classifier("SOFTMAX", LABELS, norm="MAX"),
    ],
)
def test_what_would_mean_another_class_or_is_not_understood_is_refused(
    model: onnx.ModelProto,
) -> None:
    with pytest.raises(UnsupportedModelError, match=r"custom domain 'ai\.onnx\.ml'"):
        import_onnx(read(model))


def test_the_notes_say_what_was_translated() -> None:
    layout, data = InputAdapter(shape=(SIZE,)), classifier("SOFTMAX", LABELS).SerializeToString()
    notes = settle(data, Path("m.onnx"), (1, 2, 2), layout).notes
    assert "LinearClassifier, Normalizer, Scaler, ZipMap" in notes[0]
