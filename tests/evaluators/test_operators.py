"""Every ONNX operator that is read: import compares the logits with onnxruntime's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import NodeProto

from evaluators.network.affine import Adjoint, AffineMap, Convolution, Dense, Diagonal
from evaluators.network.elementwise import LeakyReLU, Sigmoid, Tanh
from evaluators.network.network import Input, MaxPool, Network, Sum
from evaluators.network.smooth import Smooth
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.operators import OPERATORS
from evaluators.onnx.reader import import_onnx
from tests.fixtures.onnx_models import Array, Dims, integers, model, node, numbers, save

KERNEL = numbers(4, 3, 3, 2)
Row = tuple[int, ...]


def check(
    path: Path,
    shape: Row,
    nodes: Sequence[NodeProto],
    constants: dict[str, Array] | None = None,
    opset: int = 17,
    batch: int | str = "batch",
) -> Network:
    """Import nodes from "x" to "z", flattened to logits "y", and compare on more inputs."""
    dims: Dims = (batch, *shape)
    proto = model([*nodes, node("Flatten", "z", "y")], dims, constants, opset)
    network = import_onnx(save(proto, path / "model.onnx"))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for x in numbers(3, 1, *shape, seed=7):
        (theirs,) = session.run(None, {"x": x})
        ours = network(torch.from_numpy(x).double()).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert isinstance(network.nodes[0].operation, Input)
    return network


def kinds(network: Network) -> list[type]:
    return [type(n.operation) for n in network.nodes[1:-1]]


CONV: dict[str, dict[str, Any]] = {
    "plain": {},
    "pads": {"pads": [1, 2, 1, 2]},
    "asymmetric pads": {"pads": [0, 1, 2, 0]},
    "strides": {"strides": [2, 3]},
    "dilations": {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
    "same upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "same lower": {"auto_pad": "SAME_LOWER"},
    "valid": {"auto_pad": "VALID"},
    "all": {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]},
}


@pytest.mark.parametrize("variant", CONV)
@pytest.mark.parametrize("bias", [False, True])
def test_conv(tmp_path: Path, variant: str, bias: bool) -> None:
    constants = {"w": KERNEL, "b": numbers(4, seed=1)} if bias else {"w": KERNEL}
    conv = node("Conv", "x w b" if bias else "x w", "z", **CONV[variant])
    network = check(tmp_path, (3, 7, 6), [conv], constants)
    assert kinds(network)[-1] is Convolution


def test_grouped_conv(tmp_path: Path) -> None:
    constants = {"w": numbers(6, 1, 3, 3)}
    check(tmp_path, (3, 5, 5), [node("Conv", "x w", "z", group=3)], constants)


def test_conv_1d(tmp_path: Path) -> None:
    constants = {"w": numbers(4, 3, 3), "b": numbers(4)}
    conv = node("Conv", "x w b", "z", pads=[1, 1], strides=[2])
    check(tmp_path, (3, 9), [conv], constants)


TRANSPOSED: dict[str, dict[str, Any]] = {
    "plain": {},
    "strides": {"strides": [2, 3]},
    "output padding": {"strides": [2, 2], "pads": [1, 0, 1, 0], "output_padding": [1, 0]},
    "dilations": {"dilations": [2, 2], "pads": [1, 1, 1, 1]},
}


@pytest.mark.parametrize("variant", TRANSPOSED)
@pytest.mark.parametrize("group", [1, 2])
def test_conv_transpose(tmp_path: Path, variant: str, group: int) -> None:
    constants = {"w": numbers(4, 3, 3, 2), "b": numbers(3 * group)}
    conv = node("ConvTranspose", "x w b", "z", group=group, **TRANSPOSED[variant])
    network = check(tmp_path, (4, 3, 4), [conv], constants)
    assert kinds(network) == [Adjoint]


POOLS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_shape": [2, 3]},
    "strides": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "pads": {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "strides": [2, 1]},
}


@pytest.mark.parametrize("variant", POOLS)
@pytest.mark.parametrize("counted", [0, 1])
def test_average_pool(tmp_path: Path, variant: str, counted: int) -> None:
    pool = node("AveragePool", "x", "z", count_include_pad=counted, **POOLS[variant])
    network = check(tmp_path, (2, 6, 5), [pool])
    assert issubclass(kinds(network)[0], Convolution)


def test_average_pool_with_counted_asymmetric_pads(tmp_path: Path) -> None:
    pool = node(
        "AveragePool", "x", "z", count_include_pad=1, kernel_shape=[2, 2], pads=[0, 1, 1, 0]
    )
    check(tmp_path, (2, 5, 5), [pool])


@pytest.mark.parametrize("variant", POOLS)
@pytest.mark.parametrize("ceil", [0, 1])
def test_max_pool(tmp_path: Path, variant: str, ceil: int) -> None:
    pool = node("MaxPool", "x", "z", ceil_mode=ceil, **POOLS[variant])
    assert kinds(check(tmp_path, (2, 6, 5), [pool])) == [MaxPool]


def test_global_average_pool(tmp_path: Path) -> None:
    assert kinds(check(tmp_path, (2, 4, 3), [node("GlobalAveragePool", "x", "z")]))[:2] == [
        Adjoint,
        Diagonal,
    ]


@pytest.mark.parametrize("opset", [9, 13, 17])
def test_batch_normalization(tmp_path: Path, opset: int) -> None:
    constants = {
        "scale": numbers(3, seed=1),
        "bias": numbers(3, seed=2),
        "mean": numbers(3, seed=3),
        "variance": np.abs(numbers(3, seed=4)) + 0.1,
    }
    norm = node("BatchNormalization", "x scale bias mean variance", "z", epsilon=1e-3)
    network = check(tmp_path, (3, 4, 2), [norm], constants, opset)
    assert kinds(network) == [Diagonal, Diagonal]


GEMM: dict[str, tuple[dict[str, Any], Row]] = {
    "plain": ({}, (6, 4)),
    "transB": ({"transB": 1}, (4, 6)),
    "alpha and beta": ({"alpha": 0.5, "beta": -2.0}, (6, 4)),
}


@pytest.mark.parametrize("variant", GEMM)
@pytest.mark.parametrize("bias", [(), (4,), (1, 4), (1,)])
def test_gemm(tmp_path: Path, variant: str, bias: Row) -> None:
    attributes, shape = GEMM[variant]
    constants = {"w": numbers(*shape), "b": numbers(*bias, seed=1)}
    if bias == ():
        del constants["b"]
    gemm = node("Gemm", "x w b" if bias else "x w", "z", **attributes)
    assert kinds(check(tmp_path, (6,), [gemm], constants)) == [Dense]


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_matmul_by_a_matrix_on_the_right(tmp_path: Path, shape: Row) -> None:
    assert kinds(check(tmp_path, shape, [node("MatMul", "x w", "z")], {"w": numbers(5, 4)})) == [
        Dense
    ]


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (2, 3, 5, 1)])
def test_matmul_by_a_matrix_on_the_left(tmp_path: Path, shape: Row) -> None:
    network = check(tmp_path, shape, [node("MatMul", "w x", "z")], {"w": numbers(4, 5)})
    assert Dense in kinds(network)


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("order", ["x c", "c x"])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 1), (3, 2), (1, 3, 2)])
def test_arithmetic_with_constants(tmp_path: Path, kind: str, order: str, shape: Row) -> None:
    nodes = [node(kind, order, "z")]
    constants = {"c": numbers(*shape) + np.float32(3)}
    found = set(kinds(check(tmp_path, (3, 2), nodes, constants)))
    assert found == ({Smooth, Diagonal} if (kind, order) == ("Div", "c x") else {Diagonal})


@pytest.mark.parametrize("kind", ["Add", "Sub", "Sum"])
def test_branches_meet(tmp_path: Path, kind: str) -> None:
    nodes = [node("Relu", "x", "a"), node("Tanh", "x", "b"), node(kind, "a b", "z")]
    assert Sum in kinds(check(tmp_path, (3, 2), nodes))


def test_sums_of_many_and_of_the_same(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a"), node("Sum", "a x a c", "b"), node("Sum", "b", "z")]
    check(tmp_path, (3,), nodes, {"c": numbers(3)})


@pytest.mark.parametrize(
    ("kind", "attributes", "function"),
    [
        ("Relu", {}, LeakyReLU()),
        ("LeakyRelu", {}, LeakyReLU(float(np.float32(0.01)))),
        ("LeakyRelu", {"alpha": 0.25}, LeakyReLU(0.25)),
        ("Sigmoid", {}, Sigmoid()),
        ("Tanh", {}, Tanh()),
    ],
)
def test_elementwise(
    tmp_path: Path, kind: str, attributes: dict[str, float], function: object
) -> None:
    network = check(tmp_path, (3, 2), [node(kind, "x", "z", **attributes)])
    assert network.nodes[1].operation == function


def test_neg_and_identities(tmp_path: Path) -> None:
    nodes = [
        node("Neg", "x", "a"),
        node("Identity", "a", "b"),
        node("Dropout", "b", "c"),
        node("Cast", "c", "z", to=1),
    ]
    assert kinds(check(tmp_path, (3,), nodes)) == [Diagonal]


def test_a_residual_network(tmp_path: Path) -> None:
    constants = {
        "w1": numbers(3, 3, 3, 3),
        "w2": numbers(3, 3, 3, 3, seed=1),
        "c": numbers(3, 1, 1),
    }
    nodes = [
        node("Sub", "x c", "centred"),
        node("Conv", "centred w1", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("Conv", "b w2", "d", pads=[1, 1, 1, 1]),
        node("Add", "d centred", "e"),
        node("Relu", "e", "f"),
        node("GlobalAveragePool", "f", "z"),
    ]
    network = check(tmp_path, (3, 4, 4), nodes, constants)
    assert kinds(network).count(Sum) == 1


def test_constants_are_folded(tmp_path: Path) -> None:
    """Weights that the graph works out: transposed, cut, multiplied, cast."""
    value = onnx.numpy_helper.from_array(numbers(4, 6), "value")
    nodes = [
        node("Constant", "", "stored", value=value),
        node("Transpose", "stored", "turned", perm=[1, 0]),
        node("Cast", "half", "scale", to=1),
        node("Mul", "turned scale", "weight"),
        node("MatMul", "x weight", "a"),
        node("ConstantOfShape", "four", "zeros"),
        node("Add", "a zeros", "z"),
    ]
    check(tmp_path, (6,), nodes, {"half": np.array(0.5), "four": integers(4)})


def test_casts_to_the_type_of_another(tmp_path: Path) -> None:
    """Of a constant, of a value, and of truths without a batch dimension."""
    nodes = [
        node("CastLike", "two x", "factor"), node("Mul", "x factor", "a"),
        node("CastLike", "a half", "b"), node("Reshape", "b rows", "c"),
        node("Greater", "c half", "truth"), node("CastLike", "truth c", "steps"),
        node("Mul", "c steps", "d"), node("Reshape", "d row", "z"),
    ]  # fmt: skip
    constants = {
        "two": np.array(2), "half": np.array(0.5, np.float32),
        "rows": integers(2, 3), "row": integers(1, 6),
    }  # fmt: skip
    check(tmp_path, (6,), nodes, constants, batch=1)
    with pytest.raises(UnsupportedModelError, match="it casts to a type other than float32"):
        check(tmp_path, (6,), [node("CastLike", "x two", "z")], {"two": np.array(2)})


def test_every_operator_of_the_table_is_tested() -> None:
    files = Path(__file__).parent.glob("test_operators*.py")
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    missing = [kind for kind in OPERATORS if f'"{kind}"' not in text]
    assert missing == []


UNSUPPORTED = {
    "Conv": (node("Conv", "x half", "z"), "weight"),
    "Softmax": (node("Softmax", "x", "z", axis=0), "works on the batch dimension"),
    "Transpose": (node("Transpose", "x", "z", perm=[1, 0, 2]), "is no order of 4 dimensions"),
    "Slice": (node("Slice", "x zero one zero", "z"), "works on the batch dimension"),
    "Reshape": (node("Reshape", "x ambiguous", "z"), "ambiguous"),
    "Pad": (node("Pad", "x pads", "z", mode="wrap"), "opset 19"),
    "Cast": (node("Cast", "x", "z", to=7), "casts to a type other than float"),
    "Dropout": (node("Dropout", "x half yes", "z"), "training mode"),
    "AveragePool": (
        node("AveragePool", "x", "z", kernel_shape=[2, 2], pads=[2, 0, 0, 0]),
        "padding is as large as its kernel",
    ),
    "MaxPool": (node("MaxPool", "x", "z", kernel_shape=[9, 2]), "larger than its input"),
    "TopK": (node("TopK", "x zero", "z i"), "it sorts 0 of 4"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_an_operator_cannot_do_is_told_with_its_node(tmp_path: Path, name: str) -> None:
    operator, message = UNSUPPORTED[name]
    constants = {
        "zero": integers(0),
        "one": integers(1),
        "ambiguous": integers(-1, -1),
        "pads": integers(0, 0, 1, 1, 0, 0, 1, 1),
        "half": np.array(0.5, dtype=np.float32),
        "yes": np.array(True),
    }
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        check(tmp_path, (3, 4, 4), [operator], constants)
    assert "(node 'z')" in str(caught.value)


def test_affine_maps_stay_affine(tmp_path: Path) -> None:
    """No operator but the four kinds reaches the graph."""
    network = check(tmp_path, (3, 7, 6), [node("Conv", "x w", "z")], {"w": KERNEL})
    assert all(isinstance(n.operation, AffineMap) for n in network.nodes[1:])
