"""Functions that jump, means, norms and selections of other exporters: as run, and bounded."""

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

from evaluators.numerics.errors import UnsupportedModelError
from tests.evaluators.test_operators import check
from tests.evaluators.test_operators_recurrent import bounded
from tests.fixtures.onnx_models import Array, integers, node, numbers

TRUE_AT = np.array([True, False, True, True])
FOUND: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "Shrink": ([node("Shrink", "x", "z")], {}),
    "Shrink, soft": ([node("Shrink", "x", "z", lambd=0.3, bias=0.3)], {}),
    "Shrink, biased": (
        [node("Sub", "x c", "s"), node("Shrink", "s", "z", lambd=0.1, bias=0.4)], {},
    ),
    "ThresholdedRelu": ([node("ThresholdedRelu", "x", "z", alpha=0.4)], {}),
    "ThresholdedRelu below zero": (
        [node("Sub", "x c", "s"), node("ThresholdedRelu", "s", "z", alpha=-0.25)], {},
    ),
    "Mean": ([node("Relu", "x", "r"), node("Mean", "x r c", "z")], {}),
    "ReduceLogSum": ([node("Exp", "x", "e"), node("ReduceLogSum", "e", "z", axes=[2])], {}),
    "LpNormalization 1": ([node("Add", "x c", "s"), node("LpNormalization", "s", "z", p=1)], {}),
    "LpNormalization 2": ([node("Add", "x c", "s"), node("LpNormalization", "s", "z", axis=1)], {}),
    "Xor": (
        [
            node("Greater", "x c", "t"), node("Less", "x d", "u"), node("Xor", "t u", "v"),
            node("Where", "v x c", "z"),
        ],
        {},
    ),
    "Size": ([node("Size", "x", "n"), node("Cast", "n", "f", to=1), node("Div", "x f", "z")], {}),
    "EyeLike": ([node("EyeLike", "m", "e", k=1), node("MatMul", "x e", "z")], {"m": numbers(4, 4)}),
    "Compress": ([node("Compress", "x t", "z", axis=2)], {"t": TRUE_AT}),
    "Compress of a shorter condition": (
        [node("Compress", "x t", "z", axis=-1)], {"t": TRUE_AT[:2]},
    ),
    "NonZero": (
        [
            node("NonZero", "t", "i"), node("Squeeze", "i zero", "j"),
            node("Gather", "x j", "z", axis=2),
        ],
        {"t": TRUE_AT, "zero": integers(0)},
    ),
    "Gemm that scales, with a computed bias": (
        [
            node("Flatten", "x", "f"), node("Neg", "f", "n"), node("Gemm", "f g n", "z", beta=0.25),
        ],
        {"g": numbers(12, 12, seed=4)},
    ),
    "Gemm that scales a computed weight": (
        [
            node("Neg", "x", "n"), node("Reshape", "n square", "w"), node("Reshape", "x row", "r"),
            node("Gemm", "r w d", "g", alpha=0.5, beta=-3.0), node("Reshape", "g flat", "z"),
        ],
        {"square": integers(3, 4), "row": integers(4, 3), "flat": integers(1, 16)},
    ),
    "Pow to several exponents": (
        [node("Pow", "x e", "z")], {"e": np.array([1, 2, 3, 2], np.float32)},
    ),
    "Pow of constants": ([node("Pow", "two x", "z")], {"two": np.array([2, 0.5, 1, 3], "f4")}),
    "Compress of constants": (
        [node("Compress", "c t", "k"), node("ReduceSum", "k", "s"), node("Add", "x s", "z")],
        {"t": TRUE_AT},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_it_is_read_as_it_is_run_and_bounded(name: str, tmp_path: Path) -> None:
    nodes, more = FOUND[name]
    known = {"c": np.full(4, 0.5, np.float32), "d": numbers(4, seed=2), **more}
    read = {one for each in nodes for one in each.input}
    used = {key: array for key, array in known.items() if key in read}
    network = check(tmp_path, (3, 4), nodes, used, batch=1 if "weight" in name else "batch")
    bounded(network)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (node("Shrink", "x", "z", lambd=-0.5), "only a number from 0 can be read"),
        (node("Compress", "x t", "z"), "works on the batch dimension"),
        (node("Compress", "x t", "z", axis=1), "its condition of 4 leaves a dimension of 3"),
        (node("Pow", "t x", "z"), "its base not from 2\\^-10 to 2\\^10"),
        (node("Pow", "x x", "z"), "its exponent is not a constant"),
        (node("NonZero", "x", "z"), "only supported between constants"),
    ],
)
def test_what_has_no_meaning_here_is_refused(
    wrong: NodeProto, message: str, tmp_path: Path
) -> None:
    known = {"t": TRUE_AT if wrong.op_type == "Compress" else np.zeros(4, np.float32)}
    known = known if "t" in wrong.input else {}
    with pytest.raises(UnsupportedModelError, match=message):
        check(tmp_path, (3, 4), [wrong], known)
