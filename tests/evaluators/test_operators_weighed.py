"""Convolutions whose weight is computed, of constants or of the input, are read and bounded."""

from pathlib import Path

import pytest
from onnx import NodeProto

from evaluators.numerics.errors import UnsupportedModelError
from tests.evaluators.test_operators import check
from tests.evaluators.test_operators_recurrent import bounded
from tests.fixtures.onnx_models import Array, integers, node, numbers

MEAN = [node("ReduceMean", "w", "m"), node("Sub", "w m", "v")]
CASES: dict[str, tuple[tuple[int, ...], list[NodeProto], dict[str, Array]]] = {
    "a weight that is centred": (
        (2, 5, 4), [*MEAN, node("Conv", "x v b", "z", pads=[1, 0, 2, 1], strides=[2, 1])],
        {"w": numbers(3, 2, 3, 2), "b": numbers(3)},
    ),
    "groups and dilations": (
        (4, 6), [*MEAN, node("Conv", "x v", "z", group=2, dilations=[2])], {"w": numbers(6, 2, 2)},
    ),
    "a volume": (
        (1, 3, 3, 4), [*MEAN, node("Conv", "x v", "z", auto_pad="SAME_UPPER")],
        {"w": numbers(2, 1, 2, 2, 3)},
    ),
    "a bias that is computed": (
        (2, 4), [*MEAN, node("Mul", "b b", "c"), node("Exp", "c", "e"),
                 node("Conv", "x v e", "z")],
        {"w": numbers(3, 2, 2), "b": numbers(3)},
    ),
    "a weight of the input": (
        (2, 4), [node("Slice", "x s e a", "t"), node("Reshape", "t shape", "v"),
                 node("Conv", "x v", "z")],
        {"s": integers(0), "e": integers(2), "a": integers(2), "shape": integers(2, 2, 1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_weight_that_is_computed_is_read_as_it_is_run(tmp_path: Path, name: str) -> None:
    shape, nodes, constants = CASES[name]
    bounded(check(tmp_path, shape, nodes, constants, batch=1))


def test_weights_that_do_not_fit_are_told(tmp_path: Path) -> None:
    nodes = [*MEAN, node("Conv", "x v", "z")]
    with pytest.raises(UnsupportedModelError):
        check(tmp_path, (3, 4), nodes, {"w": numbers(3, 2, 2)}, batch=1)
