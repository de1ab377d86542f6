"""Reductions of all dimensions: read where a batch is one input, refused where inputs would mix."""

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

from evaluators.numerics.errors import UnsupportedModelError
from tests.evaluators.test_operators import check
from tests.evaluators.test_operators_recurrent import bounded
from tests.fixtures.effort import first_alone
from tests.fixtures.onnx_models import Array, integers, node, numbers

REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Sum", "SumSquare")
ONE = {"one": np.array(3, "f4")}
SCALARS: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "standardised": (
        [
            node("ReduceMean", "x", "m", keepdims=0), node("Sub", "x m", "d"),
            node("ReduceSumSquare", "d", "v", keepdims=0), node("Add", "v one", "w"),
            node("Sqrt", "w", "s"), node("Div", "d s", "z"),
        ],
        ONE,
    ),
    "of a constant and a number": (
        [
            node("ReduceMean", "x", "m", keepdims=0), node("Mul", "m one", "n"),
            node("Sub", "n m", "k"), node("Add", "k x", "z"),
        ],
        ONE,
    ),
    "given a shape": (
        [
            node("ReduceMax", "x", "m", keepdims=0), node("Unsqueeze", "m axes", "u"),
            node("Mul", "u x", "z"),
        ],
        {"axes": integers(0, 1)},
    ),
    "reshaped and expanded": (
        [
            node("ReduceMin", "x", "m", keepdims=0), node("Reshape", "m shape", "r"),
            node("Expand", "r wide", "e"), node("Add", "e x", "z"),
        ],
        {"shape": integers(1, 1, 1), "wide": integers(1, 3, 4)},
    ),
    "kept through functions": (
        [
            node("ReduceMean", "x", "m", keepdims=0), node("Sigmoid", "m", "s"),
            node("Neg", "s", "n"), node("Clip", "n - one", "c"), node("Mul", "c s", "p"),
            node("Sum", "p x", "z"),
        ],
        ONE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("keep", [0, 1])
def test_all_dimensions_are_reduced_where_the_batch_is_one(
    tmp_path: Path, kind: str, keep: int
) -> None:
    nodes = [node(f"Reduce{kind}", "x", "r", keepdims=keep), node("Mul", "r x", "z")]
    bounded(check(tmp_path, (3, 4), nodes, batch=1))


@pytest.mark.parametrize("name", SCALARS)
def test_a_number_without_dimensions_is_told_from_a_row_of_one(tmp_path: Path, name: str) -> None:
    nodes, constants = SCALARS[name]
    bounded(check(tmp_path, (3, 4), nodes, constants, batch=1))


def test_a_number_is_no_row_of_one_to_what_counts_dimensions(tmp_path: Path) -> None:
    nodes = [node("ReduceSum", "x", "m", keepdims=0), node("Softmax", "m", "s", axis=-1)]
    with pytest.raises(UnsupportedModelError, match="one number without dimensions"):
        check(tmp_path, (3, 4), [*nodes, node("Add", "x s", "z")], batch=1)


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_the_inputs_of_a_batch_are_not_mixed(tmp_path: Path, kind: str) -> None:
    nodes = [node(f"Reduce{kind}", "x", "r"), node("Mul", "r x", "z")]
    with pytest.raises(UnsupportedModelError, match=r"mixes the inputs.*fixed batch of 1"):
        check(tmp_path, (3, 4), nodes, batch="batch")


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", first_alone([[0, 2], [0], [-3, 1, 2]]))
def test_the_first_dimension_may_be_named_where_it_is_no_batchs(
    tmp_path: Path, axes: list[int], keep: int
) -> None:
    """Of one input alone, and of weights that a file standardises in a run."""
    reduced = node("ReduceMean", "x", "r", axes=axes, keepdims=keep)
    back = [node("Reshape", "r shape", "s"), node("Mul", "s x", "z")]
    nodes = [reduced, node("Mul", "r x", "z")] if keep else [reduced, *back]
    sizes = [1 if axis in axes or axis - 3 in axes else size for axis, size in enumerate((1, 3, 4))]
    shape = {} if keep else {"shape": integers(*sizes)}
    bounded(check(tmp_path, (3, 4), nodes, shape, batch=1))
    nodes[0].input[0] = "c"
    bounded(check(tmp_path, (3, 4), nodes, {"c": numbers(1, 3, 4), **shape}))
    nodes[0].input[0] = "x"
    with pytest.raises(UnsupportedModelError, match="works on the batch dimension"):
        check(tmp_path, (3, 4), nodes, shape)


def test_constants_that_are_reduced_are_values(tmp_path: Path) -> None:
    """As a weight that is standardised in the file: a sum of floats is no run's alone."""
    nodes = [
        node("ReduceMean", "c", "m"), node("Sub", "c m", "d"), node("Mul", "d x", "z"),
    ]  # fmt: skip
    bounded(check(tmp_path, (3, 4), nodes, {"c": numbers(3, 4)}))


@pytest.mark.parametrize("kind", ["Exp", "Sigmoid", "Reciprocal", "Sqrt", "Log", "Softplus"])
@pytest.mark.parametrize("dims", first_alone([(1,), (), (1, 1)]))
def test_a_function_of_a_constant_number_is_a_factor(
    tmp_path: Path, kind: str, dims: tuple[int, ...]
) -> None:
    """As the temperature of a classifier by cosines, which is kept as its logarithm."""
    nodes = [node(kind, "t", "k"), node("Mul", "x k", "m"), node("Add", "k m", "z")]
    for batch in (1, "batch"):
        bounded(check(tmp_path, (3, 4), nodes, {"t": np.full(dims, 0.7, "f4")}, batch=batch))
