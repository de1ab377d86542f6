"""Reductions that are no sums, of magnitudes, squares, exponentials; and values over their norm."""

import torch

from evaluators.network.network import Product
from evaluators.network.smooth import Smooth
from evaluators.onnx.operators.arithmetic import widened
from evaluators.onnx.operators.builder import Builder, Operator, rearrange, row_axes
from evaluators.onnx.operators.clamps import sloped
from evaluators.onnx.operators.declaration import ANY, Attribute, Declaration, exactly
from evaluators.onnx.operators.parts import dropped, named_axes, reduction, summed


def norm(builder: Builder, operator: Operator) -> int:
    """ReduceL1, ReduceL2 and ReduceSumSquare over named dimensions."""
    source, name, axes = builder.source(operator)[0], operator.name, named_axes(builder, operator)
    if operator.kind == "ReduceSumSquare":
        squares = _smooth(builder, "Pow", source, name, 2.0)
        total = summed(builder, squares, axes, name, keep=True)
    else:
        total = lengths(builder, source, axes, name, 1 if operator.kind == "ReduceL1" else 2)
    return total if operator.attributes["keepdims"] else dropped(builder, total, axes, name)


def log_sum(builder: Builder, operator: Operator) -> int:
    """ReduceLogSum: the logarithm of a sum."""
    source, name, axes = builder.source(operator)[0], operator.name, named_axes(builder, operator)
    total = summed(builder, source, axes, name, keep=bool(operator.attributes["keepdims"]))
    return _smooth(builder, "Log", total, name)


def log_sum_exp(builder: Builder, operator: Operator) -> int:
    """The first entry, plus the logarithm of the sum of exp(x_j - x_1): no term is lost there."""
    source, shape = builder.source(operator)
    name, axes = operator.name, named_axes(builder, operator)
    places = builder.positions(shape)
    first = places
    for axis in axes:
        first = first.narrow(axis, 0, 1)
    same = first.expand(shape) == places  # an entry less itself is zero, whatever it is
    parts = [
        builder.affine(rearrange(shape, which.masked_fill(same, -1)), source, name)
        for which in (places, first.expand(shape))
    ]
    minus = torch.tensor(-1.0, dtype=torch.float64)
    parts[1] = builder.diagonal(parts[1], name, scale=minus)
    apart = _smooth(builder, "Exp", builder.total(parts, name), name)
    more = _smooth(builder, "Log", summed(builder, apart, axes, name, keep=True), name)
    total = builder.total([builder.affine(rearrange(shape, first), source, name), more], name)
    return total if operator.attributes["keepdims"] else dropped(builder, total, axes, name)


def normalization(builder: Builder, operator: Operator) -> int:
    """LpNormalization: a value over its norm along a dimension; where that may be zero, unbounded.

    onnxruntime gives zeros there.
    """
    (source, shape), name = builder.source(operator), operator.name
    axes = row_axes([int(operator.attributes["axis"])], len(shape))
    size = lengths(builder, source, axes, name, int(operator.attributes["p"]))
    inverse = widened(builder, _smooth(builder, "Reciprocal", size, name), shape, name)
    return builder.add(Product(), [source, inverse], shape, name)


def lengths(builder: Builder, source: int, axes: list[int], name: str, power: int) -> int:
    """The first or second norm over dimensions, which are kept."""
    if power == 1:
        sizes = sloped(builder, source, torch.tensor(-1.0, dtype=torch.float64), name)
        return summed(builder, sizes, axes, name, keep=True)
    squares = _smooth(builder, "Pow", source, name, 2.0)
    return _smooth(builder, "Sqrt", summed(builder, squares, axes, name, keep=True), name)


def _smooth(builder: Builder, kind: str, source: int, name: str, *numbers: float) -> int:
    return builder.add(Smooth(kind, numbers), [source], builder.nodes[source].shape, name)


OPERATORS: dict[str, Declaration] = {
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceSumSquare"), reduction((1, 11, 13, 18), 18, norm)
    ),
    "ReduceLogSum": reduction((1, 11, 13, 18), 18, log_sum),
    "ReduceLogSumExp": reduction((1, 11, 13, 18), 18, log_sum_exp),
    "LpNormalization": Declaration(
        versions=(1, 22),
        attributes={
            "axis": Attribute(ANY, default=-1),
            "p": Attribute(exactly(1, 2), default=2),
        },
        translate=normalization,
    ),
}
