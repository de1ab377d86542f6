"""Every operator of onnxruntime's own stands for its formula, number by number, or is refused.

The formulas are written out, with the numbers of the formula, and with others that onnxruntime
takes for these. Random numbers, which would tell most of those, are not drawn here.
"""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx import compare
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.runtime import rewritten
from tests.fixtures.onnx_models import Array, model, node

Steps = Sequence[onnx.NodeProto]

NUMBERS: dict[str, float | Sequence[float]] = {
    "one": 1,
    "half": 0.5,
    "two": 2,
    "root": 2**0.5,
    "steep": 1.702,
    "epsilon": 1e-5,
    "scale": [1, 2, 3, 4],
    "bias": [4, 3, 2, 1],
    "weight": [0.5, -0.5, 1, 2],
}
"""What the formulas are made of, unless a test says otherwise."""


def classifier(steps: Steps, **other: float | Sequence[float]) -> bytes:
    """A network of two rows of four numbers, "x", whose "out" it reads as logits."""
    constants: dict[str, Array] = {
        name: np.asarray(value, np.float32) for name, value in {**NUMBERS, **other}.items()
    }
    constants["classes"] = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    nodes = [*steps, node("Flatten", "out", "flat"), node("MatMul", "flat classes", "y")]
    used = {name for each in nodes for name in each.input}
    given = {name: array for name, array in constants.items() if name in used}
    proto = model(nodes, ("batch", 2, 4), given, output=("batch", 3), opset=17)
    return bytes(proto.SerializeToString())


def gelu(of: str) -> Steps:
    return (
        node("Div", f"{of} root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "f"),
        node("Mul", f"{of} f", "g"),
        node("Mul", "g half", "out"),
    )


def over_deviation(of: str, ends: str) -> Steps:
    return (
        node("Pow", f"{of} two", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v epsilon", "w"),
        node("Sqrt", "w", "s"),
        node("Div", f"{of} s", "n"),
        node("Mul", "n scale", ends),
    )


def normalised(of: str) -> Steps:
    return (
        node("ReduceMean", of, "m", axes=[-1]),
        node("Sub", f"{of} m", "c"),
        *over_deviation("c", "g"),
        node("Add", "g bias", "out"),
    )


BIASED = node("Add", "x bias", "b")
TWO = (node("Mul", "x weight", "z"), node("Add", "x z", "b"))
FORMULAS: dict[str, Steps] = {
    "Gelu": gelu("x"),
    "BiasGelu": (BIASED, *gelu("b")),
    "QuickGelu": (
        node("Mul", "x steep", "u"),
        node("Sigmoid", "u", "i"),
        node("Mul", "x i", "out"),
    ),
    "LayerNormalization": normalised("x"),
    "SkipLayerNormalization": (*TWO, *normalised("b")),
    "SimplifiedLayerNormalization": over_deviation("x", "out"),
}
MISTAKEN: list[tuple[str, dict[str, float | Sequence[float]]]] = [
    ("Gelu", {"root": 1.41421}),
    ("Gelu", {"half": 0.500004}),
    ("Gelu", {"one": [1.000009]}),
    ("BiasGelu", {"root": 1.41421}),
    ("BiasGelu", {"one": 1.000009}),
    ("LayerNormalization", {"two": 3}),
    ("LayerNormalization", {"two": [2, 2, 2, 3]}),
    ("LayerNormalization", {"epsilon": [1e-3] * 4}),
    ("LayerNormalization", {"epsilon": [1e-5, 1e-5, 1e-5, 2.0**40]}),
    ("SkipLayerNormalization", {"two": 4}),
    ("SkipLayerNormalization", {"epsilon": [1e-3] * 4}),
]
"""Numbers that onnxruntime takes for those of the formula."""


def only_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare no numbers, which would tell the most of it."""
    monkeypatch.setattr(compare, "_logits", lambda *_: None)
    monkeypatch.setattr(compare, "_sections", lambda *_: None)


def kinds(data: bytes) -> set[str]:
    """The operators that onnxruntime runs."""
    return {one.op_type for one in onnx.load_from_string(rewritten(data)).graph.node}


@pytest.mark.parametrize(
    ("kind", "other"),
    [*((kind, {}) for kind in FORMULAS), ("LayerNormalization", {"epsilon": [1e-3]})],
    ids=str,
)
def test_an_operator_that_the_file_writes_out_is_read(
    kind: str, other: dict[str, float | Sequence[float]]
) -> None:
    data = classifier(FORMULAS[kind], **other)
    assert kind in kinds(data)  # or this is no test
    import_onnx(data)


@pytest.mark.parametrize(("kind", "other"), MISTAKEN, ids=str)
def test_one_with_other_numbers_is_refused(
    kind: str, other: dict[str, float | Sequence[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = classifier(FORMULAS[kind], **other)
    assert kind in kinds(data)  # or this is no test
    only_formulas(monkeypatch)
    with pytest.raises(UnsupportedModelError, match=f"is its own {kind}, and"):
        import_onnx(data)


def test_a_normalisation_the_other_way_around_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = list(normalised("x"))
    steps[1] = node("Sub", "m x", "c")
    data = classifier(steps)
    assert "LayerNormalization" in kinds(data)
    only_formulas(monkeypatch)
    with pytest.raises(UnsupportedModelError, match="is its own LayerNormalization, and"):
        import_onnx(data)
