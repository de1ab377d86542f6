"""Smooth functions of one value: what each of its numbers may be."""

from math import prod

import numpy as np

from evaluators.network.smooth import Smooth
from evaluators.network.smooth_functions import FUNCTIONS
from evaluators.network.steps import Rounding
from evaluators.network.waves import WAVES, Wave
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.arithmetic import require_normal
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError
from evaluators.onnx.operators.declaration import (
    FLOATS,
    MODEST,
    VALUE,
    Allowed,
    Attribute,
    Declaration,
    Parameter,
    exactly,
)

# A run subtracts numbers of this size where the result is near zero.
SMALL = Allowed("a number from -8 to 8", lambda value: abs(value) <= 8)
POSITIVE = Allowed("a number from 2^-10 to 8", lambda value: 2**-10 <= value <= 8)


def smooth(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    numbers = tuple(operator.attributes[name] for name in sorted(operator.attributes))
    return builder.add(Smooth(operator.kind, numbers), [source], shape, operator.name)


def wave(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    return builder.add(Wave(operator.kind), [source], shape, operator.name)


def power(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    given = builder.constant(operator, 1, "exponent")
    if given.size != 1 or given.ndim > len(shape) + 1:
        raise OperatorError(f"its exponent has shape {given.shape}; one number is needed")
    exponent = float(given.reshape(-1)[0])
    if not (2**-10 <= exponent <= 16 or -16 <= exponent < 0):
        raise OperatorError(
            f"its exponent is {exponent:g}; 2^-10 to 16 and -16 to below 0 are read"
        )
    if exponent == 1:
        return source
    return builder.add(Smooth("Pow", (exponent,)), [source], shape, operator.name)


def rounding(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    return builder.add(Rounding(operator.kind), [source], shape, operator.name)


def _fold_rounding(builder: Builder, operator: Operator) -> Array:
    functions = {"Floor": np.floor, "Ceil": np.ceil, "Round": np.rint}
    array = builder.constants[operator.inputs[0]]
    require_normal(array)
    return np.asarray(functions[operator.kind](array), array.dtype)


def _fold(builder: Builder, operator: Operator) -> Array:
    """A root, or a power that every runtime computes alike: compared bit for bit, as all are."""
    base, *exponent = (builder.constants[name] for name in operator.inputs)
    require_normal(base)
    with np.errstate(all="ignore"):  # what is not finite is refused
        if operator.kind == "Reciprocal":
            return np.asarray(1 / base, base.dtype)
        return np.asarray(np.power(base, exponent[0]) if exponent else np.sqrt(base), base.dtype)


_NUMBERS: dict[str, tuple[tuple[int, ...], dict[str, Attribute]]] = {
    "Celu": ((12,), {"alpha": Attribute(POSITIVE, default=1.0)}),
    "Elu": ((6, 22), {"alpha": Attribute(SMALL, default=1.0)}),
    "Gelu": ((20,), {"approximate": Attribute(exactly("none", "tanh"), default="none")}),
    "Selu": (
        (6, 22),
        {
            "alpha": Attribute(POSITIVE, default=float(np.float32(1.6732631921768188))),
            "gamma": Attribute(POSITIVE, default=float(np.float32(1.0507010221481323))),
        },
    ),
    "Swish": ((24,), {"alpha": Attribute(MODEST, default=1.0)}),
}

OPERATORS: dict[str, Declaration] = {
    **dict.fromkeys(FUNCTIONS, Declaration(versions=None, translate=smooth, bare=True)),
    **dict.fromkeys(WAVES, Declaration(versions=None, translate=wave, bare=True)),
    **dict.fromkeys(
        ("Reciprocal", "Sqrt"),
        Declaration(versions=None, translate=smooth, bare=True, fold=_fold, folds=FLOATS),
    ),
    **{
        kind: Declaration(versions=versions, attributes=numbers, translate=smooth, bare=True)
        for kind, (versions, numbers) in _NUMBERS.items()
    },
    **dict.fromkeys(
        ("Floor", "Ceil"),
        Declaration(
            versions=(6, 13), translate=rounding, bare=True, fold=_fold_rounding, folds=FLOATS
        ),
    ),
    "Round": Declaration(
        versions=(11, 22), translate=rounding, bare=True, fold=_fold_rounding, folds=FLOATS
    ),
    "Pow": Declaration(
        versions=(7, 12, 13, 15),
        inputs=(VALUE, Parameter("exponent", ("float32", "int32", "int64"))),
        translate=power,
        bare=True,
        fold=_fold,
        folds=("float32",),
        size=lambda builder, operator: prod(
            np.broadcast_shapes(*(builder.constants[name].shape for name in operator.inputs))
        ),
    ),
}
