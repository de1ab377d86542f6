"""Products of two branches, and what is made of them: gates, attention, normalisation.

A normalisation by a row's own statistics is its centred entries times the power -1/2 of their mean
square. What onnxruntime computes instead, a variance by subtraction, is within what is charged for
these nodes.
"""

import math
from math import prod

import numpy as np
import torch

from evaluators.network.affine import Reshape
from evaluators.network.deployment import gamma32
from evaluators.network.guards import CancelledSquares
from evaluators.network.known_range import KnownRange
from evaluators.network.network import Product
from evaluators.network.smooth import Smooth
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators import arithmetic, layers
from evaluators.onnx.operators.arithmetic import common_shape, row_constant, widened
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    require_size,
    row_axes,
    tensor,
)
from evaluators.onnx.operators.contractions import matrix_product, picked, sum_of_last
from evaluators.onnx.operators.declaration import (
    ABOVE_ZERO,
    ANY,
    VALUE,
    Attribute,
    Declaration,
    exactly,
    weights,
    whole,
)

CANCELLED = 2
"""How many times over what a variance by subtraction may lose is charged: it is then bounded only
where that is a small part of it."""


def _branches(builder: Builder, operator: Operator) -> list[tuple[int, Shape]]:
    """Positions and shapes of two factors, of which both have a batch dimension or none has."""
    first, second = operator.inputs
    if builder.is_bare(first) != builder.is_bare(second):
        raise OperatorError("it multiplies values with and without a batch dimension")
    found = [builder.source(operator, place) for place in (0, 1)]
    if len({len(shape) for _, shape in found}) > 1:
        raise OperatorError(f"it multiplies branches of shapes {[shape for _, shape in found]}")
    return found


def _times(builder: Builder, first: int, second: int, shape: Shape, name: str) -> int:
    """The product of two values, each repeated to a shape."""
    sources = []
    for source in (first, second):
        own = builder.nodes[source].shape
        require_size(prod(shape))
        wide = flat_positions(own).expand(shape)
        sources.append(source if own == shape else picked(builder, source, wide, name))
    return builder.add(Product(), sources, shape, name)


def multiply(builder: Builder, operator: Operator) -> int:
    """Mul, and Div by a value: a product with its reciprocal."""
    names, divides = operator.inputs, operator.kind == "Div"
    if names[1] in builder.constants or (names[0] in builder.constants and not divides):
        return arithmetic.multiply(builder, operator)
    if names[0] in builder.constants:
        shape, (source, _) = common_shape(builder, operator), builder.source(operator, 1)
        scale = row_constant(builder.constants[names[0]], shape)
        inverse = _of(builder, "Reciprocal", source, operator.name)
        inverse = widened(builder, inverse, shape, operator.name)
        return builder.diagonal(inverse, operator.name, scale=scale)
    (first, one), (second, other) = _branches(builder, operator)
    if divides:
        second = _of(builder, "Reciprocal", second, operator.name)
    return _times(builder, first, second, np.broadcast_shapes(one, other), operator.name)


def _of(builder: Builder, kind: str, source: int, name: str, *numbers: float) -> int:
    return builder.add(Smooth(kind, numbers), [source], builder.nodes[source].shape, name)


def matmul(builder: Builder, operator: Operator) -> int:
    known = [builder.constants[n] for n in operator.inputs if n in builder.constants]
    if known and known[0].ndim <= 2:
        return layers.matmul(builder, operator)
    if known:
        return matrix_product(builder, operator)
    (first, one), (second, other) = _branches(builder, operator)
    if len(one) < 2 or one[-1] != other[-2]:
        raise OperatorError(f"it multiplies matrices of shapes {one} and {other}")
    shape = (*np.broadcast_shapes(one[:-2], other[:-2]), one[-2], other[-1], one[-1])
    require_size(prod(shape))
    rows = flat_positions(one)[..., :, None, :].expand(shape)
    columns = flat_positions(other).transpose(-1, -2)[..., None, :, :].expand(shape)
    name = operator.name
    sides = picked(builder, first, rows, name), picked(builder, second, columns, name)
    return sum_of_last(builder, builder.add(Product(), sides, shape, name), name)


def _normalized(
    builder: Builder, source: int, operator: Operator, rows: Shape, centred: bool = True
) -> int:
    """Rows of entries over the root of their mean square, or of their variance."""
    name, own, size = operator.name, builder.nodes[source].shape, rows[-1]
    source = builder.affine(Reshape(own, rows, None), source, name)
    share = torch.tensor(1.0 / size, dtype=torch.float64)

    def mean(of: int) -> int:
        return builder.diagonal(sum_of_last(builder, of, name), name, scale=share, roundings=1)

    def repeated(of: int) -> int:
        wide = flat_positions(rows[:-1])[..., None].expand(rows)
        return picked(builder, of, wide, name)

    parts, runs = list[int](), gamma32(4 * size + 32)
    if centred:
        minus = torch.tensor(-1.0, dtype=torch.float64)
        middle = mean(source)
        noise = CancelledSquares(CANCELLED * gamma32(3 * size + 17))
        parts = [builder.add(noise, [middle], rows[:-1], name)]
        less = builder.diagonal(repeated(middle), name, scale=minus)
        source = builder.total([source, less], name)
    squares = mean(_of(builder, "Pow", source, name, 2.0))
    parts.append(builder.add(KnownRange(0.0, math.inf), [squares], rows[:-1], name))
    epsilon = tensor(np.asarray(operator.attributes["epsilon"]))
    variance = builder.diagonal(builder.total(parts, name), name, epsilon)
    factor = _of(builder, "Pow", variance, name, -0.5)
    factor = builder.diagonal(
        factor, name, scale=torch.ones((), dtype=torch.float64), roundings=4 * size + 32
    )
    result = builder.add(Product(), [source, repeated(factor)], rows, name)
    most = _largest_normalized(size, runs, centred)
    if math.isfinite(most):
        result = builder.add(KnownRange(-most, most), [result], rows, name)
    return builder.affine(Reshape(rows, own, None), result, name)


def _largest_normalized(size: int, runs: float, centred: bool) -> float:
    """What no entry of a normalised row is beyond, in real arithmetic and in runs, where bounded.

    Of n entries with the mean m and the variance V, the square of a centred one is at most
    (n - 1)·V. A run that subtracts is off by at most a·V + N, with N = gamma(3n + 17)·m² and
    a = gamma(2n + 12); CANCELLED·N was taken from V + epsilon, and something was left. So it
    divides by the root of no less than (V + epsilon)·(1 - 1 / CANCELLED - a). Its own centred entry
    is off by gamma(n + 4)·(|m| + √V), of that root less than 0.02 and than √n·gamma(4n + 32).
    """
    if runs > 2.0**-4:
        return math.inf
    entries = (size - 1) * CANCELLED / (CANCELLED - 1) if centred else size
    return math.sqrt(entries) * (1 + runs) + 0.02


def _affinely(
    builder: Builder, source: int, operator: Operator, scale: Array, bias: Array | None
) -> int:
    shape = builder.nodes[source].shape
    source = builder.diagonal(source, operator.name, scale=row_constant(scale, shape))
    if bias is None:
        return source
    return builder.diagonal(source, operator.name, row_constant(bias, shape))


def layer_normalization(builder: Builder, operator: Operator) -> int:
    """LayerNormalization and RMSNormalization, over all dimensions from an axis on."""
    source, shape = builder.source(operator)
    (axis,) = row_axes([int(operator.attributes["axis"])], len(shape))
    # At least one dimension of rows, so that no statistic is without any.
    rows = (*(shape[:axis] or (1,)), prod(shape[axis:]))
    centred = operator.kind == "LayerNormalization"
    if not operator.inputs[-1]:  # at which onnxruntime crashes
        raise OperatorError("its bias is left out, and yet named by nothing")
    result = _normalized(builder, source, operator, rows, centred)
    scale, bias = builder.constant(operator, 1, "scale"), builder.optional(operator, 2)
    return _affinely(builder, result, operator, scale, bias)


def group_normalization(builder: Builder, operator: Operator) -> int:
    """GroupNormalization, and InstanceNormalization, whose groups are single channels."""
    source, whole = builder.source(operator)
    if operator.kind == "GroupNormalization" and operator.opset < 21:
        raise OperatorError("ONNX has withdrawn it before opset 21")
    count = whole[0] if builder.is_bare(operator.inputs[0]) else 1
    shape = whole[1:] if builder.is_bare(operator.inputs[0]) else whole
    scale, bias = (builder.constant(operator, place, "scale or bias") for place in (1, 2))
    groups = int(operator.attributes.get("num_groups") or scale.size)
    least = 2 if operator.kind == "InstanceNormalization" else 1
    if len(shape) < least or shape[0] % groups:
        raise OperatorError(f"its input of shape {shape} does not divide into {groups} groups")
    if scale.shape != shape[:1] or bias.shape != shape[:1]:
        raise OperatorError(f"its scale has shape {scale.shape}, not {shape[:1]}")
    result = _normalized(builder, source, operator, (count * groups, prod(shape) // groups))
    each = (-1, *[1] * (len(shape) - 1))
    return _affinely(builder, result, operator, scale.reshape(each), bias.reshape(each))


_EPSILON = Attribute(ABOVE_ZERO, default=9.999999747378752e-06)
_STASH = Attribute(exactly(1), default=1)


OPERATORS: dict[str, Declaration] = {
    "Mul": arithmetic.binary(multiply, np.multiply),
    "Div": arithmetic.binary(multiply, np.divide),
    "MatMul": Declaration(versions=(1, 9, 13), inputs=(VALUE, VALUE), translate=matmul, bare=True),
    "LayerNormalization": Declaration(
        versions=(17,),
        inputs=(VALUE, weights("scale", 1, 2, 3, 4), weights("bias", 1, 2, 3, 4)),
        attributes={
            "axis": Attribute(ANY, default=-1), "epsilon": _EPSILON, "stash_type": _STASH,
        },
        translate=layer_normalization,
    ),
    "RMSNormalization": Declaration(
        versions=(23,),
        inputs=(VALUE, weights("scale", 1, 2, 3, 4)),
        attributes={
            "axis": Attribute(ANY, default=-1), "epsilon": _EPSILON, "stash_type": _STASH,
        },
        translate=layer_normalization,
    ),
    "InstanceNormalization": Declaration(
        versions=(6, 22),
        inputs=(VALUE, weights("scale", 1), weights("bias", 1)),
        attributes={"epsilon": _EPSILON},
        translate=group_normalization,
        bare=True,
    ),
    "GroupNormalization": Declaration(
        versions=(18, 21),
        inputs=(VALUE, weights("scale", 1), weights("bias", 1)),
        attributes={
            "epsilon": _EPSILON,
            "num_groups": Attribute(whole(1)),
            "stash_type": Attribute(exactly(1), default=1, since=21),
        },
        translate=group_normalization,
        bare=True,
    ),
}  # fmt: skip
