"""Places where a constant is true, and what a value has there: as boolean indexing is exported."""

import numpy as np
import torch

from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, axes_of, row_axes
from evaluators.onnx.operators.declaration import ANY, VALUE, Attribute, Declaration, Parameter


def _fold_places(builder: Builder, operator: Operator) -> Array:
    """NonZero: the places of all entries that are not zero, one row for each dimension."""
    array = builder.constants[operator.inputs[0]]
    if not array.ndim:
        raise OperatorError("its input has no dimension")
    return np.array(np.nonzero(array), dtype=np.int64)


def _chosen(builder: Builder, operator: Operator, size: int) -> Array:
    """Places that a Compress keeps of a dimension; a condition that is shorter keeps no others."""
    condition = builder.constant(operator, 1, "condition")
    if len(condition) > size:
        raise OperatorError(f"its condition of {len(condition)} leaves a dimension of {size}")
    return np.flatnonzero(condition)


def compress(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    if operator.attributes["axis"] is None:
        raise OperatorError("it names no axis, and works on the batch dimension then")
    (axis,) = row_axes([int(operator.attributes["axis"])], len(shape))
    kept = torch.from_numpy(_chosen(builder, operator, shape[axis]))
    return builder.rearranged(operator, builder.positions(shape).index_select(axis, kept))


def _fold_compress(builder: Builder, operator: Operator) -> Array:
    array, given = builder.constants[operator.inputs[0]], operator.attributes["axis"]
    if given is None:
        return array.reshape(-1)[_chosen(builder, operator, array.size)]
    (axis,) = axes_of([int(given)], array.ndim)
    return array.take(_chosen(builder, operator, array.shape[axis]), axis=axis)


OPERATORS: dict[str, Declaration] = {
    "NonZero": Declaration(
        versions=(9, 13),
        fold=_fold_places,
        size=lambda builder, operator: (
            builder.constants[operator.inputs[0]].size * builder.constants[operator.inputs[0]].ndim
        ),
    ),
    "Compress": Declaration(
        versions=(9, 11),
        inputs=(VALUE, Parameter("condition", ("bool",), (1,))),
        attributes={"axis": Attribute(ANY)},
        translate=compress,
        fold=_fold_compress,
    ),
}
