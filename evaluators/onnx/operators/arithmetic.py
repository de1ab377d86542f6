"""Sums, products by constants, and elementwise functions."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluators.network.elementwise import elementwise_functions
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    rearrange,
    require_size,
    tensor,
)
from evaluators.onnx.operators.declaration import (
    ANY,
    ARITHMETIC,
    INTEGERS,
    VALUE,
    VALUES,
    Attribute,
    Declaration,
    Parameter,
    Translation,
    exactly,
)
from evaluators.onnx.operators.masks import parted
from evaluators.onnx.rules import ModelRule


def add(builder: Builder, operator: Operator) -> int:
    """Add, Sub and Sum of constants and of branches."""
    sign = -1.0 if operator.kind == "Sub" else 1.0
    signed = [(name, 1.0 if i == 0 else sign) for i, name in enumerate(operator.inputs)]
    shape = common_shape(builder, operator)
    parts = [
        widened(
            builder,
            part if factor == 1.0 else negative(builder, part, operator),
            shape,
            operator.name,
        )
        for name, factor in signed
        if (part := builder.values.get(name)) is not None
    ]
    position, levels = builder.total(parts, operator.name), None
    for name, factor in signed:
        if name in builder.constants:
            shift = row_constant(builder.constants[name], shape) * factor
            if operator.kind == "Add" and len(signed) == 2:
                shift, levels = parted(shift)
            position = builder.diagonal(position, operator.name, shift)
    return builder.hide(position, levels, operator.name)


def mean(builder: Builder, operator: Operator) -> int:
    """Mean of constants and of branches."""
    share = torch.tensor(1.0 / len(operator.inputs), dtype=torch.float64)
    return builder.diagonal(add(builder, operator), operator.name, scale=share, roundings=1)


def negative(builder: Builder, source: int, operator: Operator) -> int:
    """Append the negative of each entry."""
    minus = torch.tensor(-1.0, dtype=torch.float64)
    return builder.diagonal(source, operator.name, scale=minus)


def common_shape(builder: Builder, operator: Operator) -> Shape:
    """Work out the shape that an operator's inputs are repeated to, without the batch dimension.

    All that the network computes has as many dimensions, so that no batch meets another dimension.
    """
    names = [name for name in operator.inputs if name in builder.values]
    shapes = {builder.shape(name) for name in names}
    rank = max(map(len, shapes))
    if len({(len(builder.shape(name)), builder.is_bare(name)) for name in names}) > 1:
        raise OperatorError(f"it broadcasts branches of shapes {sorted(shapes)}")
    constants = [builder.constants[name] for name in operator.inputs if name in builder.constants]
    rows = [_row_of(array.shape, rank) for array in constants]
    try:
        shape = np.broadcast_shapes(*shapes, *rows)
    except ValueError:
        shape = ()
    if len(shape) != rank:
        found = [array.shape for array in constants]
        raise OperatorError(f"constants of shapes {found} meet values of {sorted(shapes)}")
    return shape


def _row_of(shape: Shape, rank: int) -> Shape:
    """A constant's shape without the batch dimension, if it has one."""
    return shape[1:] if len(shape) == rank + 1 and shape[0] == 1 else shape


def widened(builder: Builder, source: int, shape: Shape, name: str) -> int:
    """Repeat a value to a wider shape."""
    own = builder.nodes[source].shape
    if own == shape:
        return source
    require_size(prod(shape))
    positions = builder.positions(own).expand(shape)
    return builder.affine(rearrange(own, positions), source, name)


def row_constant(array: Array, shape: Shape) -> Tensor:
    """Read a constant that broadcasts to a row of this shape without changing it."""
    value = tensor(array).reshape(_row_of(array.shape, len(shape)))
    try:
        fits = np.broadcast_shapes(tuple(value.shape), shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise OperatorError(f"a constant of shape {array.shape} meets a value of {shape}")
    return value


def multiply(builder: Builder, operator: Operator) -> int:
    """Mul and Div by a constant, Neg."""
    if operator.kind == "Neg":
        return negative(builder, builder.source(operator)[0], operator)
    first_is_constant = operator.inputs[0] in builder.constants
    source, _ = builder.source(operator, int(first_is_constant))
    shape = common_shape(builder, operator)
    source = widened(builder, source, shape, operator.name)
    scale = row_constant(builder.constants[operator.inputs[1 - int(first_is_constant)]], shape)
    if operator.kind == "Div":
        return builder.diagonal(source, operator.name, scale=1.0 / scale, roundings=1)
    return builder.diagonal(source, operator.name, scale=scale)


MAX_WHOLE = 2**31
"""Whole numbers that are worked out stay below it, so that no product leaves int64."""

LEAST_SUM = 2.0**-100
"""Of sums from here up a subnormal number is less than what float32 rounds."""


def _worked_out(function: Callable[..., Any]) -> Callable[[Builder, Operator], Array]:
    """A function of one or two constants: floats rounded once, whole numbers exact."""

    def fold(builder: Builder, operator: Operator) -> Array:
        arrays = [builder.constants[name] for name in operator.inputs]
        kind = arrays[0].dtype
        if kind.kind == "f":
            with np.errstate(all="ignore"):  # what is not finite is refused
                result = np.asarray(function(*arrays), dtype=kind)
            if operator.kind != "Neg":
                sums = operator.kind in ("Add", "Sub")
                require_normal(*arrays, beside=result if sums else None)
            return result
        for array in arrays:
            _require_whole(array)
        divides = operator.kind in ("Div", "Mod")
        if divides and (np.any(arrays[0] < 0) or np.any(arrays[1] <= 0)):
            said = "it divides whole numbers; only those from 0 by those from 1 are divided"
            raise OperatorError(said)
        wide = [array.astype(np.int64) for array in arrays]
        result = np.asarray(wide[0] // wide[1] if operator.kind == "Div" else function(*wide))
        _require_whole(result)
        return result.astype(kind)

    return fold


def require_normal(*arrays: Array, beside: Array | None = None) -> None:
    """Refuse to work with constants that hardware may take for zero, but which are not.

    Of what they are added to, they are nothing `beside` a sum that is not as small.
    """
    for array in arrays:
        lost = (array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)
        if beside is not None:
            lost = lost & (np.abs(beside) < LEAST_SUM)
        if np.any(lost):
            said = "it works with constants that are too small for their type"
            raise OperatorError(said, ModelRule.TYPES)


def _require_whole(array: Array) -> None:
    if array.size and not -MAX_WHOLE < array.min() <= array.max() < MAX_WHOLE:
        raise OperatorError("it works out whole numbers that are not below 2^31")


def broadcast_size(builder: Builder, operator: Operator) -> int:
    """Count the entries of what constants are repeated to."""
    return prod(np.broadcast_shapes(*(builder.constants[n].shape for n in operator.inputs)))


def binary(translate: Translation, function: Any) -> Declaration:
    """Declare an operator of two values that is also worked out between constants."""
    return Declaration(
        versions=(7, 13, 14),
        inputs=(VALUE, VALUE),
        translate=translate,
        fold=_worked_out(function),
        folds=ARITHMETIC,
        size=broadcast_size,
        bare=True,
    )


def elementwise(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    function = elementwise_functions()[operator.kind]()
    return builder.add(function, [source], shape, operator.name)


def identity(builder: Builder, operator: Operator) -> int:
    return builder.source(operator)[0]


def dropout(builder: Builder, operator: Operator) -> int:
    training = builder.optional(operator, 2)
    if training is not None and training.any():
        raise OperatorError(
            "it is in training mode; export the network after eval()", ModelRule.TRAINING
        )
    return identity(builder, operator)


OPERATORS: dict[str, Declaration] = {
    "Add": binary(add, np.add),
    "Sub": binary(add, np.subtract),
    # Of whole numbers, as exporters divide the sizes of heads.
    "Mod": Declaration(
        versions=(10, 13),
        inputs=(VALUE, VALUE),
        attributes={"fmod": Attribute(exactly(0), default=0)},
        fold=_worked_out(np.remainder),
        folds=INTEGERS,
        size=broadcast_size,
    ),
    "Sum": Declaration(versions=(6, 8, 13), inputs=(VALUES,), translate=add, bare=True),
    "Mean": Declaration(versions=(6, 8, 13), inputs=(VALUES,), translate=mean, bare=True),
    "Neg": Declaration(
        versions=(6, 13),
        translate=multiply,
        fold=_worked_out(np.negative),
        folds=ARITHMETIC,
        bare=True,
    ),
    **dict.fromkeys(
        elementwise_functions(), Declaration(versions=None, translate=elementwise, bare=True)
    ),
    "Identity": Declaration(
        versions=(1, 13, 14, 16, 19, 21, 23, 24, 25),
        translate=identity,
        fold=lambda builder, operator: builder.constants[operator.inputs[0]],
        bare=True,
    ),
    "Dropout": Declaration(
        versions=(7, 10, 12, 13, 22),
        inputs=(
            VALUE,
            Parameter("ratio", ("float16", "float32", "float64"), (0,), since=12),
            Parameter("training mode", ("bool",), (0,), since=12),
        ),
        attributes={
            "ratio": Attribute(ANY, default=0.5, until=11),
            "seed": Attribute(ANY, since=12),
        },
        translate=dropout,
        bare=True,
        idle=1,
        more_outputs=("its mask is used, as in training", ModelRule.TRAINING),
    ),
}
