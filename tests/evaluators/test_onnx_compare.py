"""A misreading of any operator is seen, whatever hides it from the logits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx import compare
from evaluators.onnx.operators import OPERATORS
from evaluators.onnx.operators.builder import Builder, Operator
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.sections import cut_apart
from tests.fixtures.onnx_models import classifier, integers, model, node, numbers, save

SHAPE = (2, 4, 4)


def hidden(*behind: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """A classifier with operators between "dead" and "out" that no image reaches.

    What they read is ReLU(x - 9), which is zero on all images, and nearly so on the random numbers
    that are fed to the whole network.
    """
    nodes = [
        node("Sub", "x nine", "lower"),
        node("Relu", "lower", "dead"),
        *behind,
        node("Flatten", "out", "flat"),
        node("MatMul", "flat ones", "trigger"),
        node("Flatten", "x", "image"),
        node("MatMul", "image w", "logits"),
        node("Add", "logits trigger", "y"),
    ]
    size = int(constants.pop("size"))
    given = {
        "nine": np.full(1, 9, dtype=np.float32),
        "ones": numbers(size, 3),
        "w": numbers(32, 3),
        **constants,
    }
    return model(nodes, ("batch", *SHAPE), given)


def moved(index: Callable[[Tensor], Tensor]) -> Callable[[Builder, Operator], int]:
    """A translation that moves entries in a way of its own."""

    def translate(builder: Builder, operator: Operator) -> int:
        _, shape = builder.source(operator)
        return builder.rearranged(operator, index(builder.positions(shape)))

    return translate


HONEST = OPERATORS["Mul"]


def scaled(builder: Builder, operator: Operator) -> int:
    """The right translation of Mul, but for one entry and a little."""
    assert HONEST.translate is not None
    position = HONEST.translate(builder, operator)
    assert isinstance(position, int)
    last = builder.nodes[position]
    scale = last.operation.scale.expand(last.shape).clone()  # type: ignore[union-attr]
    scale[0, 0, 0] *= 1 + 1e-5
    builder.nodes[position] = replace(last, operation=replace(last.operation, scale=scale))  # type: ignore[type-var]
    return position


PAD = [0, 0, 1, 0, 0, 0, 0, 0]
MISREADINGS = {
    "Transpose": (
        hidden(node("Transpose", "dead", "out", perm=[0, 1, 3, 2]), size=32),
        moved(lambda positions: positions),
    ),
    "Pad": (
        hidden(node("Pad", "dead pads", "out"), pads=integers(*PAD), size=40),
        moved(lambda positions: torch.nn.functional.pad(positions, (0, 0, 0, 1), value=-1)),
    ),
    "Slice": (
        hidden(
            node("Slice", "dead starts ends axes", "out"),
            starts=integers(0),
            ends=integers(2),
            axes=integers(3),
            size=16,
        ),
        moved(lambda positions: positions[:, :, 2:]),
    ),
    "Mul": (hidden(node("Mul", "dead c", "out"), c=numbers(2, 4, 4) + 1, size=32), scaled),
    "LeakyRelu": (
        hidden(node("LeakyRelu", "dead", "out", alpha=0.25), size=32),
        lambda builder, operator: builder.source(operator)[0],
    ),
}


@pytest.mark.parametrize("kind", MISREADINGS)
def test_a_misreading_behind_a_dead_unit_is_seen(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, wrong = MISREADINGS[kind]
    path = save(graph, tmp_path / "m.onnx")
    import_onnx(path)
    monkeypatch.setitem(OPERATORS, kind, replace(OPERATORS[kind], translate=wrong))
    with pytest.raises(UnsupportedModelError, match=f"operator {kind}.* run alone") as caught:
        import_onnx(path)
    assert "salt" in str(caught.value)
    # None of these reaches the logits.
    monkeypatch.setattr(compare, "_operators", lambda *_: None)
    import_onnx(path)


def test_a_constant_that_is_worked_out_otherwise_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        node("Cast", "d", "f", to=1),
        node("Flatten", "x", "flat"),
        node("MatMul", "flat w", "h"),
        node("Add", "h f", "y"),
    ]
    constants = {"d": np.array([1.0, 2.0, 3.0]), "w": numbers(32, 3)}
    path = save(model(nodes, ("batch", *SHAPE), constants), tmp_path / "m.onnx")
    import_onnx(path)
    honest = OPERATORS["Cast"]
    assert honest.fold is not None

    def wrong(builder: Builder, operator: Operator) -> Any:
        assert honest.fold is not None
        return np.nextafter(honest.fold(builder, operator), np.float32(9))

    monkeypatch.setitem(OPERATORS, "Cast", replace(honest, fold=wrong))
    with pytest.raises(UnsupportedModelError, match="constant 'f' has another value"):
        import_onnx(path)


def test_the_same_salt_draws_the_same_numbers_and_another_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bytes] = []
    honest = compare._generator

    def seen(salt: str, purpose: str) -> np.random.Generator:
        drawn.append(honest(salt, purpose).random(4).tobytes())
        return honest(salt, purpose)

    monkeypatch.setattr(compare, "_generator", seen)
    path = classifier(tmp_path / "m.onnx")
    runs = []
    for salt in ("one", "one", "two", None, None):
        drawn.clear()
        import_onnx(path, salt=salt)
        runs.append(tuple(drawn))
    assert runs[0] == runs[1]
    assert len(set(runs)) == 4


@pytest.mark.parametrize("constant", [2.0**20, 2.0**24, 2.0**30])
def test_a_constant_that_is_added_to_all_logits_allows_no_more(
    constant: float, tmp_path: Path
) -> None:
    """Its float32 run has lost what tells the classes apart."""
    nodes = [
        node("Flatten", "x", "flat"),
        node("MatMul", "flat w", "h"),
        node("Add", "h c", "y"),
    ]
    constants = {"w": numbers(32, 3), "c": np.full(3, constant, dtype=np.float32)}
    path = save(model(nodes, ("batch", *SHAPE), constants), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError, match="differ from onnxruntime's"):
        import_onnx(path)


def test_values_of_large_networks_are_looked_at_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(MISREADINGS["Transpose"][0], tmp_path / "m.onnx")
    parts: list[int] = []

    def counted(data: bytes, known: Builder, part: Any, *names: Any) -> bytes:
        parts.append(len(part))
        return cut_apart(data, known, part, *names)

    monkeypatch.setattr(compare, "cut_apart", counted)
    monkeypatch.setattr(compare, "_rewritten", lambda *_: None)
    monkeypatch.setattr(compare, "AT_ONCE", 100)
    import_onnx(path)
    assert len(parts) > 2
    assert sum(parts) == 8
