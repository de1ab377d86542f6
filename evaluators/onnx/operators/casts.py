"""Casts, of constants as every runtime makes them, and of what the network computes."""

from dataclasses import replace
from typing import Any

import numpy as np

from evaluators.network.affine import Reshape
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError
from evaluators.onnx.operators.declaration import (
    EVERY_TYPE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
)
from evaluators.onnx.operators.unbatched import settle
from evaluators.onnx.rules import ModelRule

_CASTS: dict[int, Any] = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
"""Types that constants are cast to, by ONNX's numbers."""
_EXACT = {1: 2**24, 6: 2**31 - 1, 7: 2**53 - 1, 11: 2**53 - 1}
"""Up to here each holds all whole numbers, and float64, in which they are compared, too."""


def cast(builder: Builder, operator: Operator) -> int:
    """A value of the network is float32, and stays so; a truth stays one, or becomes such."""
    source, shape = builder.source(operator)
    to, truth = operator.attributes["to"], source in builder.truths
    if to == 9 and truth:
        return source
    if to != 1:
        raise OperatorError("it casts to a type other than float32")
    return builder.affine(Reshape(shape, shape, None), source, operator.name) if truth else source


def _fold_cast(builder: Builder, operator: Operator) -> Array:
    """A cast of constants that every runtime makes alike.

    A float may become a wider one, and float64 the nearest normal float32; whole numbers, and
    floats that are, become what holds them exactly. Narrower floats are no target: a float64 may be
    rounded once or twice on the way to float16.
    """
    array, to = builder.constants[operator.inputs[0]], int(operator.attributes["to"])
    kind = np.dtype(_CASTS[to])
    if array.dtype == kind:
        return array
    if kind == np.bool_:
        if not np.isin(array, (0, 1)).all():
            raise OperatorError("it casts other numbers than 0 and 1 to truths", ModelRule.TYPES)
        return np.asarray(array != 0)
    if array.dtype.kind not in "iub" and kind.kind == "f":
        with np.errstate(all="ignore"):
            result = array.astype(kind)
        small = np.abs(result) < np.finfo(np.float32).tiny
        if np.any(small & (array != result)):
            said = "it casts constants that are too small for float32"
            raise OperatorError(said, ModelRule.TYPES)
        return result
    wide = array.astype(np.float64)
    if np.any(wide != np.trunc(wide)) or np.any(np.abs(wide) > _EXACT[to]):
        said = f"it casts constants that {kind} does not hold exactly"
        raise OperatorError(said, ModelRule.TYPES)
    return array.astype(kind)


def _plain(builder: Builder, operator: Operator) -> Operator:
    """The Cast that a CastLike is: to the type of another value or constant."""
    name, like = operator.inputs
    known = builder.constants.get(like)
    truth = builder.values.get(like) in builder.truths
    kind = np.dtype(np.bool_ if truth else np.float32) if known is None else known.dtype
    to = [number for number, held in _CASTS.items() if np.dtype(held) == kind]
    if not to:
        raise OperatorError(f"it casts to {kind}", ModelRule.TYPES)
    return replace(operator, inputs=(name,), attributes={"to": to[0]})


def cast_like(builder: Builder, operator: Operator) -> int | Array:
    """A cast to the type of another value or constant."""
    plain = _plain(builder, operator)
    (name,) = plain.inputs
    if name in builder.constants:
        return _fold_cast(builder, plain)
    source = cast(builder, plain)
    if source == builder.values[name]:
        return source
    return settle(builder, operator, source, builder.whole_shape(name))


OPERATORS: dict[str, Declaration] = {
    "Cast": Declaration(
        versions=(6, 9, 13, 19, 21, 23, 24, 25),
        attributes={
            "to": Attribute(exactly(*_CASTS), rule=ModelRule.TYPES),
            "saturate": Attribute(exactly(1), default=1, since=19),
            "round_mode": Attribute(exactly("up"), default="up", since=24),
        },
        translate=cast,
        fold=_fold_cast,
        bare=True,
    ),
    "CastLike": Declaration(
        versions=(15, 19, 21, 23, 24, 25),
        inputs=tuple(
            Parameter(name, EVERY_TYPE, data=True, own=True) for name in ("value", "like")
        ),
        attributes={
            "saturate": Attribute(exactly(1), default=1, since=19),
            "round_mode": Attribute(exactly("up"), default="up", since=24),
        },
        translate=cast_like,
        fold=lambda builder, operator: _fold_cast(builder, _plain(builder, operator)),
        bare=True,
    ),
}
