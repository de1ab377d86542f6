"""Comparisons, what is made of them, and choices between two values.

A truth is 0 or 1 in the canonical graph, a step of what is compared; a choice is the second value
and the truth times what the first has more. So nothing need be continuous, and where a float32 run
compares otherwise than real arithmetic would, both values are within what is bounded.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from evaluators.network.deployment import LARGEST
from evaluators.network.guards import Within
from evaluators.network.known_range import KnownRange
from evaluators.network.network import Product
from evaluators.network.steps import Step
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators import arithmetic
from evaluators.onnx.operators.arithmetic import add, common_shape, negative, row_constant, widened
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, rearrange
from evaluators.onnx.operators.declaration import (
    ARITHMETIC,
    FLOATS,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    Translation,
    exactly,
)
from evaluators.onnx.operators.masks import is_weight, parted

CONDITION = Parameter("condition", ("bool",), data=True, own=True)


def comparison(builder: Builder, operator: Operator) -> int:
    """Greater, Less, and what is not the other way round."""
    first, second = operator.inputs
    turned, reverse = operator.kind in ("Less", "GreaterOrEqual"), operator.kind.endswith("Equal")
    names = (second, first) if turned else (first, second)
    source = add(builder, replace(operator, kind="Sub", inputs=names))
    position = _step(builder, source, operator.name)
    return _truth(builder, _other(builder, position, operator) if reverse else position)


def equality(builder: Builder, operator: Operator) -> int:
    """Neither above nor below; near equality both answers are bounded."""
    name, source = operator.name, add(builder, replace(operator, kind="Sub"))
    sides = [_step(builder, at, name) for at in (source, negative(builder, source, operator))]
    same = _other(builder, builder.total(sides, name), operator)
    shape = builder.nodes[same].shape
    return _truth(builder, builder.add(KnownRange(0.0, 1.0), [same], shape, name))


def sign(builder: Builder, operator: Operator) -> int:
    source, name = builder.source(operator)[0], operator.name
    above = _step(builder, source, name)
    below = _step(builder, negative(builder, source, operator), name)
    return builder.total([above, negative(builder, below, operator)], name)


def not_finite(builder: Builder, operator: Operator) -> int:
    """IsNaN and IsInf: never, of what is bounded; of all else nothing is proved."""
    (source, shape), never = builder.source(operator), Within(-LARGEST, LARGEST, real=True)
    position = builder.add(never, [source], shape, operator.name)
    builder.never.add(position)
    return _truth(builder, position)


def _step(builder: Builder, source: int, name: str) -> int:
    return builder.add(Step(), [source], builder.nodes[source].shape, name)


def _other(builder: Builder, source: int, operator: Operator) -> int:
    one = torch.ones((), dtype=torch.float64)
    return builder.diagonal(source, operator.name, one, -one)


def _truth(builder: Builder, position: int) -> int:
    builder.truths.add(position)
    return position


def combination(builder: Builder, operator: Operator) -> int:
    """Not, And, Or and Xor of truths."""
    if any(name in builder.constants for name in operator.inputs):
        raise OperatorError("it combines a truth with a constant")
    if operator.kind == "Not":
        return _truth(builder, _other(builder, builder.source(operator)[0], operator))
    shape, either = common_shape(builder, operator), operator.kind == "Or"
    given = [builder.values[name] for name in operator.inputs]
    parts = [widened(builder, part, shape, operator.name) for part in given]
    if operator.kind == "Xor":
        return _truth(builder, _unlike(builder, parts, operator))
    parts = [_other(builder, part, operator) for part in parts] if either else parts
    position = builder.add(Product(), parts, shape, operator.name)
    if not either and not builder.never.isdisjoint(given):
        builder.never.add(position)
    return _truth(builder, _other(builder, position, operator) if either else position)


def _unlike(builder: Builder, truths: list[int], operator: Operator) -> int:
    """One truth without the other, or the other without it."""
    shape, name, only = builder.nodes[truths[0]].shape, operator.name, list[int]()
    for one, other in (truths, truths[::-1]):
        rest = _other(builder, other, operator)
        only.append(builder.add(Product(), [one, rest], shape, name))
    either = builder.total(only, name)
    return builder.add(KnownRange(0.0, 1.0), [either], shape, name)


READERS = frozenset(("And", "Cast", "CastLike", "Not", "Or", "Where", "Xor"))
"""Operators that read truths."""


def where(builder: Builder, operator: Operator) -> int:
    """One of two, entry by entry."""
    shape = common_shape(builder, operator)
    if operator.inputs[0] in builder.constants:
        return _masked(builder, operator, shape)
    name, known = operator.name, [builder.constants.get(given) for given in operator.inputs]
    if not all(array is None or is_weight(array, masks=False) for array in known):
        raise OperatorError("it masks where the network decides")
    truth = widened(builder, builder.values[operator.inputs[0]], shape, name)
    condition, _, second = operator.inputs
    if builder.values[condition] in builder.never and second in builder.values:
        # Of anything that is bounded the condition is zero, and what it would choose is not.
        return builder.total([widened(builder, builder.values[second], shape, name), truth], name)
    shift, parts = torch.zeros(shape, dtype=torch.float64), list[int]()
    for given, factor in zip(operator.inputs[1:], (1.0, -1.0), strict=True):
        if given in builder.constants:
            shift = shift + factor * row_constant(builder.constants[given], shape)
        else:
            part = widened(builder, builder.values[given], shape, name)
            parts.append(part if factor == 1.0 else negative(builder, part, operator))
    if parts:
        more = builder.diagonal(builder.total(parts, name), name, shift)
        more = builder.add(Product(), [truth, more], shape, name)
    else:
        more = builder.diagonal(truth, name, scale=shift, roundings=1)
    other = operator.inputs[2]
    if other in builder.constants:
        return builder.diagonal(more, name, row_constant(builder.constants[other], shape))
    return builder.total([widened(builder, builder.values[other], shape, name), more], name)


def _masked(builder: Builder, operator: Operator, shape: Shape) -> int:
    """A choice that a constant makes: nothing but parts put together."""
    name = operator.name
    mask = row_constant(builder.constant(operator, 0, "condition"), shape).expand(shape) > 0
    parts, known = list[int](), torch.zeros(shape, dtype=torch.float64)
    levels: torch.Tensor | None = None
    for place, side in ((1, mask), (2, ~mask)):
        given = operator.inputs[place]
        if given in builder.constants:
            known = torch.where(side, row_constant(builder.constants[given], shape), known)
            known, levels = parted(known)
        else:
            source, own = builder.source(operator, place)
            positions = builder.positions(own).expand(shape)
            kept = torch.where(side, positions, -torch.ones_like(positions))
            parts.append(builder.affine(rearrange(own, kept), source, name))
    position = builder.total(parts, name)
    position = builder.diagonal(position, name, known) if bool(known.any()) else position
    return builder.hide(position, levels, name)


def _compared(
    versions: tuple[int, ...], function: Any, translate: Translation = comparison
) -> Declaration:
    return Declaration(
        versions,
        inputs=(VALUE, VALUE),
        translate=translate,
        fold=lambda builder, operator: np.asarray(
            function(*(builder.constants[name] for name in operator.inputs))
        ),
        folds=ARITHMETIC,
        size=arithmetic.broadcast_size,
        bare=True,
    )


def _combined(versions: tuple[int, ...], function: Any, count: int) -> Declaration:
    def fold(builder: Builder, operator: Operator) -> Array:
        return np.asarray(function(*(builder.constants[name] for name in operator.inputs)))

    return Declaration(
        versions,
        inputs=(CONDITION,) * count,
        translate=combination,
        fold=fold,
        folds=("bool",),
        size=arithmetic.broadcast_size,
        bare=True,
    )


def _tested(versions: tuple[int, ...], function: Any, *attributes: str) -> Declaration:
    return Declaration(
        versions,
        attributes={name: Attribute(exactly(1), default=1) for name in attributes},
        translate=not_finite,
        fold=lambda builder, operator: np.asarray(function(builder.constants[operator.inputs[0]])),
        folds=FLOATS,
        bare=True,
    )


OPERATORS: dict[str, Declaration] = {
    "IsNaN": _tested((9, 13, 20), np.isnan),
    "IsInf": _tested((10, 20), np.isinf, "detect_negative", "detect_positive"),
    "Equal": _compared((7, 11, 13, 19), np.equal, equality),
    "Greater": _compared((7, 9, 13), np.greater),
    "GreaterOrEqual": _compared((12, 16), np.greater_equal),
    "Less": _compared((7, 9, 13), np.less),
    "LessOrEqual": _compared((12, 16), np.less_equal),
    "Sign": Declaration(versions=(9, 13), translate=sign, bare=True),
    "Not": _combined((1,), np.logical_not, 1),
    "And": _combined((7,), np.logical_and, 2),
    "Or": _combined((7,), np.logical_or, 2),
    "Xor": _combined((7,), np.logical_xor, 2),
    "Where": Declaration(
        versions=(9, 16),
        inputs=(CONDITION, VALUE, VALUE),
        translate=where,
        fold=lambda builder, operator: np.where(
            *(builder.constants[name] for name in operator.inputs)
        ),
        size=arithmetic.broadcast_size,
        bare=True,
    ),
}
