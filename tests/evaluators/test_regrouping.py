"""What is proved holds in a runtime that multiplies a file's constants in another order."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from evaluators.ask import certify
from evaluators.network.affine import ALONE, AffineMap
from evaluators.network.network import Product
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.runtime import Session
from evaluators.propagation.intervals import interval_bounds
from evaluators.question.verdict import Status
from tests.fixtures.onnx_models import model, node, save

Steps = Sequence[tuple[str, object]]


def floats(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


STAR = np.tile(floats([0, 1]), 8)
"""The example at which a unit is active that random numbers leave at zero, as an attacker hides it
from a comparison with onnxruntime."""


def hidden(steps: Steps, width: int = 2) -> onnx.ModelProto:
    """1.5 at the example, taken through operators with a constant each, by their names."""
    nodes = [
        node("MatMul", "x first", "t0"),
        node("Add", "t0 shift", "t1"),
        node("Relu", "t1", "v"),
    ]
    constants = {
        "first": np.tile((2 * STAR - 1)[:, None], (1, width)),
        "shift": np.full(width, -6.5, np.float32),
    }
    for place, (kind, value) in enumerate(steps):
        before, name = nodes[-1].output[0], f"v{place}"
        names = before
        if value is not None:
            array = np.asarray(value)
            constants[f"c{place}"] = array if array.dtype.kind == "i" else floats(array)
            names = f"{before} c{place}"
        nodes.append(node(kind, names, name if place < len(steps) - 1 else "y"))
    return model(nodes, ("batch", 16), constants, output=("batch", 2))


def numbers(*exponents: int) -> list[tuple[str, object]]:
    """Products with powers of two, which a ReLU keeps apart."""
    return [step for e in exponents for step in (("Mul", np.float32(2.0**e)), ("Relu", None))]


BACK = [*numbers(40, 40), ("Mul", floats([2.0**27, 2.0**21]))]

MATRIX_FIRST = hidden(
    [
        *numbers(-40, -40, -21),
        ("Mul", np.float32(2.0**40)),
        ("MatMul", floats([[1.53 * 2.0**-46, 0], [0, 1.53 * 0.99 * 2.0**-40]])),
        *BACK,
    ]
)
"""A number before a matrix, by which onnxruntime multiplies behind it."""

SCALE_FIRST = hidden(
    [
        ("Mul", floats([2.0**40, 1])),
        ("Reshape", np.array([-1, 2, 1, 1])),
        ("Conv", floats([[1.47 * 2.0**-100, 0], [0, 1]]).reshape(2, 2, 1, 1)),
        ("Mul", floats([2.0**-47, 1]).reshape(1, 2, 1, 1)),
        ("Reshape", np.array([-1, 2])),
        ("Mul", floats([2.0**40, 1])),
        ("Mul", floats([2.0**40, 1])),
        ("Mul", floats([2.0**27, 1.48])),
    ]
)
"""A scale behind a convolution, by which onnxruntime multiplies its weights."""

OVERFLOW = hidden(
    [
        *numbers(40, 40, 2),
        ("Mul", np.float32(2.0**-40)),
        ("Mul", np.float32(2.0**-20)),
        ("MatMul", floats([[2.0**40, 2.0**39]] * 64)),
        *numbers(-30, -38),
    ],
    width=64,
)
"""Numbers before a matrix, without which its sums are too large for float32."""

FILES = {"matrix": MATRIX_FIRST, "scale": SCALE_FIRST, "overflow": OVERFLOW}


@pytest.mark.parametrize("name", FILES)
def test_bounds_hold_where_onnxruntime_multiplies_constants_first(
    name: str, tmp_path: Path
) -> None:
    data, x = FILES[name].SerializeToString(), STAR[None]
    (plain,), (deployed,) = (Session(data, plain=p)({"x": x}).values() for p in (True, False))
    assert np.abs(plain - deployed).max() > 0.01  # or this is no test
    network = import_onnx(save(FILES[name], tmp_path / "model.onnx"), shape=(16,))
    point = torch.from_numpy(x).double()
    bounds = interval_bounds(network, point, point, deployed=True)[-1]
    for logits in map(torch.from_numpy, (plain, deployed)):
        # Of what may overflow the ends may be no numbers, which prove nothing.
        assert not bool(((logits < bounds.lower) | (logits > bounds.upper)).any())


@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown", "lipschitz-margin"])
def test_no_class_is_certified_that_onnxruntime_does_not_give(method: str, tmp_path: Path) -> None:
    for name, proto in FILES.items():
        network = import_onnx(save(proto, tmp_path / f"{name}.onnx"), shape=(16,))
        x = torch.from_numpy(STAR)[None]
        for label in (0, 1):
            (verdict,) = certify(network, x, [label], Fraction(1, 10**6), "linf", method)
            assert verdict.status is not Status.CERTIFIED, name


def test_usual_constants_beside_each_other_change_nothing(tmp_path: Path) -> None:
    steps = [("Mul", np.float32(2.0)), ("Mul", floats([0.5, 1e-9])), ("MatMul", np.eye(2))]
    network = import_onnx(save(hidden(steps), tmp_path / "usual.onnx"), shape=(16,))
    for step in network.nodes[1:]:
        assert not isinstance(step.operation, AffineMap | Product) or step.operation.neighbours == (
            ALONE
        )


def shrunk(*behind: onnx.NodeProto, **given: NDArray[np.float32]) -> onnx.ModelProto:
    """Logits x and 0, from 2^79·x, nodes that take it from "b" to "c", and 2^39 times two."""
    nodes = [
        *(node("MatMul", "x k40", "a"), node("MatMul", "a k39", "b")),
        *behind,
        *(node("MatMul", "c k39", "d"), node("MatMul", "d last", "y")),
    ]
    given |= {"k40": floats([[2.0**40]]), "k39": floats([[2.0**39]]), "last": floats([[1, 0]])}
    return model(nodes, (1, 1), given, output=(1, 2))


ONE = np.ones(1, np.float32)
SMALL = {
    "alpha": shrunk(node("Gemm", "b s", "c", alpha=2.0**20), s=floats([[2.0**-127]])),
    "beta": shrunk(
        *(node("MatMul", "b none", "e"), node("Gemm", "e one s", "f", beta=2.0**20)),
        *(node("MatMul", "f k39", "g"), node("MatMul", "g k39", "c")),
        **{"none": floats([[0]]), "one": floats([[1]]), "s": floats([[2.0**-127]])},
    ),
    "a small deviation": shrunk(
        *(
            node("Unsqueeze", "b axis", "e"),
            node("BatchNormalization", "e s o o v", "f", epsilon=1e-30),
        ),
        node("Squeeze", "f axis", "c"),
        **{"axis": np.array([2]), "s": ONE * np.float32(2.0**-130), "o": 0 * ONE},
        v=ONE * np.float32(2.0**-60),
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_subnormal_weights_that_a_runtime_multiplies_may_be_lost(name: str) -> None:
    """Of weights that hardware takes for zero nothing is left, whatever they are multiplied by."""
    network = import_onnx(SMALL[name])
    x = torch.tensor([[0.5]]).double()
    real = interval_bounds(network, x, x)[-1]
    assert float(real.lower[0, 0]) > 0, "the test is about what is lost alone"
    last = interval_bounds(network, x, x, deployed=True)[-1]
    assert not float(last.lower[0, 0]) > 0


def test_constants_are_not_worked_out_of_what_hardware_takes_for_zero() -> None:
    given = {"s": floats([2.0**-127]), "t": floats([2.0**20]), "e": floats([1e-3])}
    small = shrunk(node("Mul", "s t", "w"), node("Mul", "b w", "c"), **given)
    with pytest.raises(UnsupportedModelError, match="too small for their type"):
        import_onnx(small)
    import_onnx(shrunk(node("Add", "s e", "w"), node("Mul", "b w", "c"), **given))


def test_a_variance_that_hardware_may_take_for_zero_is_refused() -> None:
    nodes = [node("BatchNormalization", "x o o o v", "z", epsilon=0.0), node("Flatten", "z", "y")]
    file = model(nodes, (1, 1, 2), {"o": ONE, "v": ONE * np.float32(2.0**-110)}, output=(1, 2))
    with pytest.raises(UnsupportedModelError, match="variance is too small"):
        import_onnx(file)
