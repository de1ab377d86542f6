"""Operators between constants alone: worked out as onnxruntime does, bit for bit, or refused."""

from pathlib import Path

import numpy as np
import pytest

from evaluators.numerics.errors import UnsupportedModelError
from tests.evaluators.test_operators import check
from tests.fixtures.onnx_models import Array, integers, node, numbers


@pytest.mark.parametrize("kind", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_comparison_of_constants_chooses(tmp_path: Path, kind: str, whole: bool) -> None:
    first = integers(1, 2, 3, 2) if whole else np.array([1, 2, 3, 2], np.float32)
    second = integers(2) if whole else np.array([2], np.float32)
    nodes = [node(kind, "a b", "c"), node("Where", "c x d", "z")]
    check(tmp_path, (4,), nodes, {"a": first, "b": second, "d": numbers(4)})


@pytest.mark.parametrize("kind", ["Max", "Min"])
def test_the_largest_of_sizes_is_one(tmp_path: Path, kind: str) -> None:
    nodes = [node("Shape", "x", "s"), node(kind, "a s b", "c"), node("Reshape", "x c", "z")]
    wanted = integers(-1, 4) if kind == "Max" else integers(9, 5)
    check(tmp_path, (4,), nodes, {"a": wanted, "b": integers(1) if kind == "Max" else integers(7)})


def test_quantized_weights_are_refused_since_onnxruntime_rounds_inputs_beside_them(
    tmp_path: Path,
) -> None:
    nodes = [node("DequantizeLinear", "w s", "v"), node("MatMul", "x v", "z")]
    constants: dict[str, Array] = {"w": np.ones((4, 3), np.int8), "s": np.array(0.1, np.float32)}
    with pytest.raises(UnsupportedModelError, match=r"DequantizeLinear .* is not supported"):
        check(tmp_path, (4,), nodes, constants)


@pytest.mark.parametrize("opset", [9, 11, 12])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_an_old_softmax_goes_over_all_dimensions_from_its_axis_on(
    tmp_path: Path, kind: str, opset: int
) -> None:
    check(tmp_path, (3,), [node(kind, "x", "z")], opset=opset)
    check(tmp_path, (2, 3), [node(kind, "x", "z", axis=2)], opset=opset)
    check(tmp_path, (2, 3), [node(kind, "x", "z")], opset=opset)
