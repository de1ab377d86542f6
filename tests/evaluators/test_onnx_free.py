"""Networks made to be verified: any shapes, entries in row-major order, one row of outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto

from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import Contract, import_bytes, import_onnx
from evaluators.onnx.runtime import Runtime
from tests.fixtures.onnx_models import Array, Dims, integers, model, node, numbers, save

WEIGHTS = {"w": numbers(4, 6, seed=1), "v": numbers(6, 4, seed=2), "b": numbers(4, seed=3)}

CASES: dict[str, tuple[Dims, list[NodeProto]]] = {
    "a vector times a matrix": ([6], [node("MatMul", "x v", "z"), node("Add", "z b", "y")]),
    "a matrix times a vector": ([6], [node("MatMul", "w x", "z"), node("Relu", "z", "y")]),
    "one number": ([1], [node("Mul", "x s", "z"), node("Relu", "z", "y")]),
    "a column": (
        [6, 1],
        [node("MatMul", "w x", "z"), node("Add", "z column", "a"), node("Relu", "a", "y")],
    ),
    "a matrix on rows": ([3, 6], [node("MatMul", "x v", "z"), node("Sigmoid", "z", "y")]),
    "a constant adds the batch": (
        [6],
        [node("Sub", "x row", "z"), node("Flatten", "z", "f"), node("Gemm", "f v b", "y")],
    ),
    "reshaped to a batch": (
        [6],
        [node("Reshape", "x onerow", "z"), node("Gemm", "z v b", "a"), node("Relu", "a", "y")],
    ),
    "a batch lost": (
        [1, 6],
        [node("Reshape", "x flat", "z"), node("MatMul", "z v", "a"), node("Tanh", "a", "y")],
    ),
    "turned to a column and back": (
        [1, 6],
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("MatMul", "w t", "z"),
            node("Transpose", "z", "u", perm=[1, 0]),
            node("Gemm", "u square b", "y"),
        ],
    ),
    "branches without a batch": (
        [6],
        [node("Relu", "x", "r"), node("Neg", "x", "n"), node("Add", "r n", "y")],
    ),
    "a branch with a batch and one without": (
        [6],
        [node("Reshape", "x onerow", "z"), node("Sub", "x z", "a"), node("Max", "z a", "y")],
    ),
    "rows without a batch beside one with": (
        [1, 6],
        [node("Squeeze", "x zero", "z"), node("MatMul", "z turned", "a"), node("Mul", "a x", "y")],
    ),
    "a row times a product of constants": (
        [1, 4],
        [node("MatMul", "w v", "m"), node("MatMul", "x m", "z"), node("Relu", "z", "y")],
    ),
    "less a network of constants": (
        [1, 4],
        [
            node("MatMul", "w v", "m"),
            node("MatMul", "b m", "c"),
            node("Relu", "c", "d"),
            node("Sub", "x d", "y"),
        ],
    ),
    "a matrix times a constant vector": ([3, 4], [node("MatMul", "x b", "y")]),
    "a batch of a matrix times a constant vector": ([1, 3, 4], [node("MatMul", "x b", "y")]),
    "a constant vector times a matrix": ([4, 3], [node("MatMul", "b x", "y")]),
    "a constant vector times a batch of a matrix": ([1, 4, 3], [node("MatMul", "b x", "y")]),
    "a row times a constant vector": (
        [1, 4],
        [node("MatMul", "x b", "z"), node("Mul", "z s", "y")],
    ),
    "a squeezed batch": ([1, 6], [node("Squeeze", "x zero", "z"), node("MatMul", "w z", "y")]),
    "an image in four dimensions": (
        ["n", 2, 3, 1],
        [node("Transpose", "x", "t", perm=[0, 2, 1, 3]), node("Relu", "t", "y")],
    ),
}

CONSTANTS: dict[str, Array] = {
    **WEIGHTS,
    "s": numbers(1, seed=4),
    "column": numbers(4, 1, seed=5),
    "row": numbers(1, 6, seed=6),
    "square": numbers(4, 4, seed=7),
    "turned": numbers(6, 6, seed=8),
    "onerow": integers(1, 6),
    "flat": integers(-1),
    "zero": integers(0),
}


def import_free(data: bytes, path: Path, samples: NDArray[np.float32]) -> Network:
    return import_bytes(data, path, samples, Contract(free=True))


def entries(shape: Dims) -> int:
    return int(np.prod([size if isinstance(size, int) else 1 for size in shape]))


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_is_what_the_runtime_runs(name: str, tmp_path: Path) -> None:
    shape, nodes = CASES[name]
    text = str(nodes)
    used = {key: value for key, value in CONSTANTS.items() if f'"{key}"' in text}
    path = save(model(nodes, shape, used, output=[]), tmp_path / "m.onnx")
    data, x = path.read_bytes(), numbers(5, entries(shape), seed=9)
    network = import_free(data, path, x)
    assert isinstance(network, Network)
    runtime = Runtime(data)
    for row in x:
        given = torch.from_numpy(row).double().reshape(1, *network.input_shape)
        assert np.allclose(network(given)[0].numpy(), runtime(row).reshape(-1), atol=1e-5)


@pytest.mark.parametrize("shape", [[6], [6, 1], [3, 6]])
def test_submissions_keep_their_contract(shape: list[int], tmp_path: Path) -> None:
    path = save(model([node("Relu", "x", "y")], shape, output=[]), tmp_path / "m.onnx")
    import_free(path.read_bytes(), path, numbers(2, entries(shape)))
    with pytest.raises(UnsupportedModelError, match="batch dimension"):
        import_onnx(path)


def test_outputs_of_any_shape_are_one_row_only_here(tmp_path: Path) -> None:
    path = save(model([node("Relu", "x", "y")], [1, 1, 5]), tmp_path / "m.onnx")
    assert import_free(path.read_bytes(), path, numbers(2, 5)).classes == 5
    with pytest.raises(UnsupportedModelError, match="one logit per class"):
        import_onnx(path)


@pytest.mark.parametrize(
    ("shape", "nodes", "problem"),
    [
        ([6, "n"], [node("Relu", "x", "y")], "fixed sizes are needed"),
        ([6], [node("Hardmax", "x", "y")], "Hardmax"),
        ([6, 2], [node("GlobalMaxPool", "x", "y")], "only supported behind a batch dimension of 1"),
        (
            [6],
            [node("Reshape", "x onerow", "z"), node("MatMul", "z x", "y")],
            "with and without a batch dimension",
        ),
    ],
)
def test_what_is_not_read_is_refused(
    shape: Dims, nodes: list[NodeProto], problem: str, tmp_path: Path
) -> None:
    used = {"onerow": integers(1, 6)} if "onerow" in str(nodes) else {}
    path = save(model(nodes, shape, used, output=[]), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError, match=problem):
        import_free(path.read_bytes(), path, numbers(2, 6))


def test_samples_decide_whether_it_is_the_same(tmp_path: Path) -> None:
    """Where the logits leave the numbers, the network is refused."""
    big = {"s": np.full(1, 1e12, dtype=np.float32)}
    path = save(model([node("Mul", "x s", "y")], [1, 2], big), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError, match="not finite on inputs of the region"):
        import_free(path.read_bytes(), path, np.full((1, 2), 1e30, dtype=np.float32))
