"""Reductions that are no sums: of magnitudes, of squares, of exponentials."""

import torch

from evaluators.network.smooth import Smooth
from evaluators.onnx.operators.builder import Builder, Operator, rearrange
from evaluators.onnx.operators.clamps import sloped
from evaluators.onnx.operators.declaration import Declaration
from evaluators.onnx.operators.parts import dropped, named_axes, reduction, summed


def norm(builder: Builder, operator: Operator) -> int:
    """ReduceL1, ReduceL2 and ReduceSumSquare over named dimensions."""
    source, name, axes = builder.source(operator)[0], operator.name, named_axes(builder, operator)
    if operator.kind == "ReduceL1":
        sizes = sloped(builder, source, torch.tensor(-1.0, dtype=torch.float64), name)
    else:
        sizes = _smooth(builder, "Pow", source, name, 2.0)
    total = summed(builder, sizes, axes, name, keep=True)
    total = _smooth(builder, "Sqrt", total, name) if operator.kind == "ReduceL2" else total
    return total if operator.attributes["keepdims"] else dropped(builder, total, axes, name)


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


def _smooth(builder: Builder, kind: str, source: int, name: str, *numbers: float) -> int:
    return builder.add(Smooth(kind, numbers), [source], builder.nodes[source].shape, name)


OPERATORS: dict[str, Declaration] = {
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceSumSquare"), reduction((1, 11, 13, 18), 18, norm)
    ),
    "ReduceLogSumExp": reduction((1, 11, 13, 18), 18, log_sum_exp),
}
