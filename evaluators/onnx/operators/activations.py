"""Smooth functions of one value: what each of its numbers may be."""

from math import prod

import numpy as np
import torch

from evaluators.network.smooth import Smooth
from evaluators.network.smooth_functions import FUNCTIONS
from evaluators.network.steps import Rounding
from evaluators.network.waves import WAVES, Wave
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.arithmetic import (
    common_shape,
    require_normal,
    row_constant,
    widened,
)
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    rearrange,
)
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
MANY = 16
"""Different exponents of one Pow, at most."""
POSITIVE = Allowed("a number from 2^-10 to 8", lambda value: 2**-10 <= value <= 8)


def smooth(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    numbers = tuple(operator.attributes[name] for name in sorted(operator.attributes))
    return builder.add(Smooth(operator.kind, numbers), [source], shape, operator.name)


def wave(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    return builder.add(Wave(operator.kind), [source], shape, operator.name)


def power(builder: Builder, operator: Operator) -> int:
    """A value to a constant power, one for all entries or for each; or a constant to a value's."""
    value, known = operator.inputs
    if value in builder.constants:
        value, known = known, value
    if value in builder.values and known in builder.constants:
        rank, sizes = len(builder.whole_shape(value)), builder.constants[known].shape
        if len(sizes) > rank:
            raise OperatorError(f"it meets a constant of shape {sizes}, of {rank} dimensions")
    if value != operator.inputs[0]:
        return _exponential(builder, operator)
    (source, _), shape = builder.source(operator), common_shape(builder, operator)
    given = row_constant(builder.constant(operator, 1, "exponent"), shape).expand(shape)
    exponents = np.unique(given.numpy()).tolist()
    if len(exponents) == 1:
        source = widened(builder, source, shape, operator.name)
        return _to_the(builder, source, exponents[0], operator.name)
    if len(exponents) > MANY:
        raise OperatorError(f"it has {len(exponents)} exponents; at most {MANY} are read")
    wide, parts = widened(builder, source, shape, operator.name), list[int]()
    for exponent in exponents:
        chosen = given == exponent
        places = flat_positions(shape)[chosen]
        base = builder.affine(rearrange(shape, places), wide, operator.name)
        raised = _to_the(builder, base, exponent, operator.name)
        back = torch.full(shape, -1).masked_scatter(chosen, torch.arange(len(places)))
        parts.append(builder.affine(rearrange(tuple(places.shape), back), raised, operator.name))
    return builder.total(parts, operator.name)


def _to_the(builder: Builder, source: int, exponent: float, name: str) -> int:
    if not (2**-10 <= exponent <= 16 or -16 <= exponent < 0):
        raise OperatorError(
            f"its exponent is {exponent:g}; 2^-10 to 16 and -16 to below 0 are read"
        )
    shape = builder.nodes[source].shape
    power = Smooth("Pow", (exponent,))
    return source if exponent == 1 else builder.add(power, [source], shape, name)


def _exponential(builder: Builder, operator: Operator) -> int:
    """A constant above zero to the power of a value: exp of the value times its logarithm."""
    (source, _), shape = builder.source(operator, 1), common_shape(builder, operator)
    base = row_constant(builder.constants[operator.inputs[0]], shape)
    if float(base.min()) < 2**-10 or float(base.max()) > 2**10:
        raise OperatorError("its exponent is computed, and its base not from 2^-10 to 2^10")
    wide = widened(builder, source, shape, operator.name)
    scaled = builder.diagonal(wide, operator.name, scale=base.log(), roundings=1)
    return builder.add(Smooth("Exp", ()), [scaled], shape, operator.name)


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
        inputs=(VALUE, Parameter("exponent", ("float32", "int32", "int64"), data=True, own=True)),
        translate=power,
        bare=True,
        fold=_fold,
        folds=("float32",),
        size=lambda builder, operator: prod(
            np.broadcast_shapes(*(builder.constants[name].shape for name in operator.inputs))
        ),
    ),
}
