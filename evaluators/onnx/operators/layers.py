"""Matrices, and normalisation by stored statistics."""

from math import prod

import torch
from torch import Tensor

from evaluators.network.affine import Dense, Diagonal, Gather, NearbyConstants, Reshape
from evaluators.network.regrouping import SMALLEST
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    rearrange,
    require_size,
    tensor,
)
from evaluators.onnx.operators.contractions import contracted, factor_of, picked
from evaluators.onnx.operators.declaration import (
    MODEST,
    NOT_NEGATIVE,
    NUMBER,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
    weights,
)
from evaluators.onnx.operators.unbatched import settle
from evaluators.onnx.rules import ModelRule

LEAST_VARIANCE = 2.0**-100
"""Of a smaller one, with its floor, a subnormal number that is taken for zero may be a share."""


def gemm(builder: Builder, operator: Operator) -> int:
    if any(name in builder.values for name in operator.inputs[1:]):
        return _gemm_of_values(builder, operator)
    source, shape = builder.source(operator)
    if len(shape) != 1 + builder.is_bare(operator.inputs[0]):
        raise OperatorError(f"its input has shape {shape}; flatten it first")
    weight = tensor(builder.constant(operator, 1, "weight"))
    if not operator.attributes["transB"]:
        weight = weight.T
    if (factor := float(operator.attributes["alpha"])) != 1.0:
        weight = weight * factor
    outputs, inputs = weight.shape
    if inputs != shape[-1]:
        raise OperatorError(f"its weight takes {inputs} inputs, not {shape[-1]}")
    bias = builder.optional(operator, 2)
    shift = None
    if bias is not None:
        if bias.shape not in ((), (1,), (outputs,), (1, 1), (1, outputs)):
            raise OperatorError(f"its bias has shape {bias.shape}, not ({outputs},)")
        shift = tensor(bias).reshape(-1) * float(operator.attributes["beta"])
    # A runtime multiplies by it behind the products, and by another number the bias.
    most = max(1.0, abs(factor), abs(float(operator.attributes["beta"])))
    beside = NearbyConstants(
        after=_after(weight / factor, 1 / abs(factor)), low=min(1.0, abs(factor)), high=most
    )
    dense = Dense(shape, (*shape[:-1], outputs), shift, weight.contiguous(), neighbours=beside)
    return builder.affine(dense, source, operator.name)


def _after(weight: Tensor, least: float) -> float:
    """What `NearbyConstants` says of weights that are divided by no less than this.

    Subnormal ones, which a runtime may take for zero, may be no longer subnormal then.
    """
    sizes = weight.abs()
    small = bool(((sizes > 0) & (sizes < SMALLEST)).any())
    return min(1.0, least) if small else 1.0


def _gemm_of_values(builder: Builder, operator: Operator) -> int:
    """A Gemm whose weight or bias is computed: of the input, or of constants not worked out."""
    name, given = operator.name, operator.attributes
    alpha, beta = (float(given[number]) for number in ("alpha", "beta"))
    factors = [
        factor_of(builder, one, dimensions)
        for one, dimensions in zip(
            operator.inputs, ("bi", "oi" if given["transB"] else "io"), strict=False
        )
    ]
    position = _scaled(builder, contracted(builder, factors, "bo", name), alpha, name)
    shape = builder.nodes[position].shape
    if len(operator.inputs) > 2 and operator.inputs[2]:
        bias = operator.inputs[2]
        if bias in builder.constants:
            # A node of its own, so that its product with the factor is charged, too.
            known = tensor(builder.constants[bias]).expand(shape)
            nothing = torch.full((prod(shape),), -1)
            wide = builder.affine(Gather(shape, shape, known, nothing), position, name)
        else:
            places = flat_positions(builder.whole_shape(bias)).expand(shape)
            wide = picked(builder, builder.values[bias], places, name)
        position = builder.total([position, _scaled(builder, wide, beta, name)], name)
    return settle(builder, operator, position, shape)


def _scaled(builder: Builder, source: int, factor: float, name: str) -> int:
    """Append a value times the factor of a Gemm."""
    scale = torch.tensor(factor, dtype=torch.float64)
    return source if factor == 1.0 else builder.diagonal(source, name, scale=scale)


def matmul(builder: Builder, operator: Operator) -> int:
    """A value times a matrix, or a matrix times a value."""
    if operator.inputs[0] in builder.constants:
        return _matmul_left(builder, operator)
    source, shape = builder.source(operator)
    weight = tensor(builder.constant(operator, 1, "second factor"))
    vector = weight.ndim == 1 and len(shape) > builder.is_bare(operator.inputs[0])
    matrix = weight[:, None] if vector else weight
    if matrix.ndim != 2 or matrix.shape[0] != shape[-1]:
        raise OperatorError(f"its matrix has shape {tuple(weight.shape)}, its input {shape}")
    dense = Dense(shape, (*shape[:-1], matrix.shape[1]), None, matrix.T.contiguous())
    product = builder.affine(dense, source, operator.name)
    if not vector:
        return product
    return builder.affine(Reshape(dense.output_shape, shape[:-1], None), product, operator.name)


def _matmul_left(builder: Builder, operator: Operator) -> int:
    """Constant · column vectors: transpose, apply to the last dimension, transpose back."""
    source, shape = builder.source(operator, 1)
    weight = tensor(builder.constants[operator.inputs[0]])
    vector, given = weight.ndim == 1, tuple(weight.shape)
    weight = weight[None] if vector else weight
    if weight.ndim != 2 or len(shape) < 2 or weight.shape[1] != shape[-2]:
        raise OperatorError(f"its matrix has shape {given}, its input {shape}")
    require_size(prod(shape) // shape[-2] * weight.shape[0])
    columns = flat_positions(shape).transpose(-1, -2)
    source = builder.affine(rearrange(shape, columns), source, operator.name)
    middle = (*columns.shape[:-1], weight.shape[0])
    dense = Dense(tuple(columns.shape), middle, None, weight)
    source = builder.affine(dense, source, operator.name)
    turned = flat_positions(middle).transpose(-1, -2)
    back = rearrange(middle, turned.squeeze(-2) if vector else turned)
    return builder.affine(back, source, operator.name)


def batch_normalization(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    names = ("scale", "bias", "mean", "variance")
    arrays = [builder.constant(operator, i + 1, what) for i, what in enumerate(names)]
    for array, name in zip(arrays, names, strict=True):
        if array.shape != shape[:1]:
            raise OperatorError(f"its {name} has shape {array.shape}, not {shape[:1]}")
    each = (-1, *[1] * (len(shape) - 1))
    scale, bias, mean, variance = (tensor(array).reshape(each) for array in arrays)
    if bool((variance < 0).any()):
        raise OperatorError("its variance is negative", ModelRule.FINITE)
    variance = variance + float(operator.attributes["epsilon"])
    if bool((variance < LEAST_VARIANCE).any()):
        raise OperatorError("its variance is too small for float32", ModelRule.FINITE)
    deviation = torch.sqrt(variance)
    # Centred first: folding the mean into the bias would round twice where they cancel.
    centred = builder.diagonal(source, operator.name, -mean)
    after = _after(scale, float(deviation.min()))
    beside = NearbyConstants(after=after)
    scaled = Diagonal(shape, shape, bias, scale / deviation, 4, neighbours=beside)
    return builder.affine(scaled, centred, operator.name)


OPERATORS: dict[str, Declaration] = {
    "Gemm": Declaration(
        versions=(7, 9, 11, 13),
        inputs=(
            VALUE,
            Parameter("weight", ranks=(2,), data=True),
            Parameter("bias", ranks=(0, 1, 2), data=True),
        ),
        attributes={
            "alpha": Attribute(MODEST, default=1.0),
            "beta": Attribute(MODEST, default=1.0),
            "transA": Attribute(exactly(0), default=0),
            "transB": Attribute(exactly(0, 1), default=0),
        },
        translate=gemm,
        bare=True,
    ),
    "BatchNormalization": Declaration(
        versions=(7, 9, 14, 15),
        inputs=(VALUE, *(weights(name, 1) for name in ("scale", "bias", "mean", "variance"))),
        attributes={
            "epsilon": Attribute(NOT_NEGATIVE, default=9.999999747378752e-06),
            # How fast statistics move, in training only.
            "momentum": Attribute(NUMBER, default=0.8999999761581421),
            "spatial": Attribute(exactly(1), default=1, until=8),
            "training_mode": Attribute(exactly(0), default=0, since=14, rule=ModelRule.TRAINING),
        },
        translate=batch_normalization,
        more_outputs=(
            "it is in training mode; export the network after eval()",
            ModelRule.TRAINING,
        ),
    ),
}
