"""Functions with kinks, written with ReLUs, so that every method that takes ReLUs takes them.

max(x, c) = c + relu(x - c), min(x, c) = c - relu(c - x), and with a slope s below zero
s·x + (1 - s)·relu(x); or x + (1 - s)·relu(-x), which for s > 1 is a sum of increasing functions, so
that intervals lose nothing. A runtime rounds less than what is charged for these sums. Of a limit c
that is far away a sum with it loses all else: max(x, c) = x + relu(c - x) and min(x, c) = x -
relu(x - c) there, whose ReLUs sleep.
"""

import numpy as np
import torch
from torch import Tensor

from evaluators.network.elementwise import LeakyReLU
from evaluators.onnx.operators.arithmetic import row_constant
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, tensor
from evaluators.onnx.operators.declaration import (
    NUMBER,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    weights,
)

FAR = 2.0**20
"""Limits of this size are far away: of a sum with them four digits are left in float32."""
UNBOUNDED = float(np.finfo(np.float32).max)
"""A bound of this size bounds nothing."""


def _relu(builder: Builder, source: int, name: str, leak: float = 0.0) -> int:
    return builder.add(LeakyReLU(leak), [source], builder.nodes[source].shape, name)


def at_least(builder: Builder, source: int, low: Tensor, name: str) -> int:
    """The larger of each entry and a constant."""
    if not bool(low.any()):
        return _relu(builder, source, name)
    if float(low.abs().min()) >= FAR:
        return _towards(builder, source, low, name, -1.0)
    excess = _relu(builder, builder.diagonal(source, name, -low), name)
    return builder.diagonal(excess, name, low)


def at_most(builder: Builder, source: int, high: Tensor, name: str) -> int:
    """The smaller of each entry and a constant."""
    if float(high.abs().min()) >= FAR:
        return _towards(builder, source, high, name, 1.0)
    minus = torch.tensor(-1.0, dtype=torch.float64)
    missing = _relu(builder, builder.diagonal(source, name, high, minus), name)
    return builder.diagonal(missing, name, high, minus)


def _towards(builder: Builder, source: int, limit: Tensor, name: str, sign: float) -> int:
    """Each entry, less what it is beyond a limit: above it, or with the sign -1 below it."""
    side = torch.tensor(sign, dtype=torch.float64)
    beyond = _relu(builder, builder.diagonal(source, name, -limit * side, side), name)
    return builder.total([source, builder.diagonal(beyond, name, scale=-side)], name)


def clip(builder: Builder, operator: Operator) -> int:
    source, name = builder.source(operator)[0], operator.name
    low, high = (_end(builder, operator, at, what) for at, what in ((1, "min"), (2, "max")))
    if low is not None and high is not None and bool(low > high):
        raise OperatorError(f"its min {float(low):g} is above its max {float(high):g}")
    if low is not None:
        source = at_least(builder, source, low, name)
    return source if high is None else at_most(builder, source, high, name)


def _end(builder: Builder, operator: Operator, place: int, what: str) -> Tensor | None:
    given = operator.attributes.get(what)
    array = builder.optional(operator, place)
    value = given if array is None else float(array)
    return None if value is None or abs(value) >= UNBOUNDED else tensor(np.asarray(value))


def sloped(builder: Builder, source: int, slope: Tensor, name: str) -> int:
    """Each entry, times its slope where it is negative."""
    first = float(slope.reshape(-1)[0])
    if 0 <= first < 1 and bool((slope == first).all()):
        return _relu(builder, source, name, first)
    steep, one = slope > 1, torch.ones_like(slope)
    side = torch.where(steep, -one, one)
    bent = builder.diagonal(source, name, scale=side) if bool(steep.any()) else source
    # 1 - s is rounded where s is far smaller than 1.
    bent = builder.diagonal(_relu(builder, bent, name), name, scale=1 - slope, roundings=1)
    line = torch.where(steep, one, slope)
    return builder.total([builder.diagonal(source, name, scale=line), bent], name)


def leaky(builder: Builder, operator: Operator) -> int:
    """LeakyRelu, PRelu and Abs."""
    source, shape = builder.source(operator)
    if operator.kind == "PRelu":
        slope = row_constant(builder.constant(operator, 1, "slope"), shape)
    else:
        slope = tensor(np.asarray(operator.attributes.get("alpha", -1.0)))
    return sloped(builder, source, slope, operator.name)


def hard_sigmoid(builder: Builder, operator: Operator) -> int:
    source, name = builder.source(operator)[0], operator.name
    scale, shift, one = (
        tensor(np.asarray(value))
        for value in (operator.attributes["alpha"], operator.attributes["beta"], 1.0)
    )
    line = builder.diagonal(source, name, shift, scale)
    return at_most(builder, at_least(builder, line, torch.zeros_like(one), name), one, name)


def _bound(value: float) -> Attribute:
    return Attribute(NUMBER, default=value, until=10)


OPERATORS: dict[str, Declaration] = {
    "Clip": Declaration(
        versions=(6, 11, 12, 13),
        inputs=(VALUE, weights("min", 0, since=11), weights("max", 0, since=11)),
        attributes={"min": _bound(-UNBOUNDED), "max": _bound(UNBOUNDED)},
        translate=clip,
        bare=True,
    ),
    "Abs": Declaration(versions=(6, 13), translate=leaky, bare=True),
    "LeakyRelu": Declaration(
        versions=(6, 16),
        attributes={"alpha": Attribute(NUMBER, default=float(np.float32(0.01)))},
        translate=leaky,
        bare=True,
    ),
    "PRelu": Declaration(versions=(7, 9, 16), inputs=(VALUE, Parameter("slope")), translate=leaky),
    "HardSigmoid": Declaration(
        versions=(6, 22),
        attributes={
            "alpha": Attribute(NUMBER, default=float(np.float32(0.2))),
            "beta": Attribute(NUMBER, default=0.5),
        },
        translate=hard_sigmoid,
        bare=True,
    ),
}
