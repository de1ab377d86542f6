"""Products, sums, normalisation and elementwise functions."""

import numpy as np
import torch
from torch import Tensor

from evaluators._operators.builder import (
    Array,
    Builder,
    Operator,
    OperatorProblemError,
    places_of,
    rearrange,
    set_output,
    tensor,
)
from evaluators.affine import Dense, Diagonal, Shape
from evaluators.elementwise import LeakyReLU, elementwise_functions
from evaluators.network import Operation, Sum
from evaluators.onnx_rules import Rule


def gemm(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    if len(shape) != 1 or operator.attributes.get("transA", 0):
        raise OperatorProblemError(f"its input has shape {shape}; flatten it first")
    weight = tensor(builder.constant(operator, 1, "weight"))
    if not operator.attributes.get("transB", 0):
        weight = weight.T
    if (factor := float(operator.attributes.get("alpha", 1.0))) != 1.0:
        weight = weight * factor
    bias = builder.optional(operator, 2)
    shift = None
    if bias is not None:
        shift = tensor(bias).reshape(-1) * float(operator.attributes.get("beta", 1.0))
    if weight.shape[1] != shape[0]:
        raise OperatorProblemError(f"its weight takes {weight.shape[1]} inputs, not {shape[0]}")
    dense = Dense(shape, (weight.shape[0],), shift, weight.contiguous())
    set_output(builder, operator, builder.affine(dense, source, operator.name))


def matmul(builder: Builder, operator: Operator) -> None:
    if operator.inputs[0] in builder.constants:
        _matmul_left(builder, operator)
        return
    source, shape = builder.source(operator)
    weight = tensor(builder.constant(operator, 1, "second factor"))
    if weight.ndim != 2 or weight.shape[0] != shape[-1]:
        raise OperatorProblemError(f"its matrix has shape {tuple(weight.shape)}, its input {shape}")
    dense = Dense(shape, (*shape[:-1], weight.shape[1]), None, weight.T.contiguous())
    set_output(builder, operator, builder.affine(dense, source, operator.name))


def _matmul_left(builder: Builder, operator: Operator) -> None:
    """Constant · column vectors: transpose, apply to the last dimension, transpose back."""
    source, shape = builder.source(operator, 1)
    weight = tensor(builder.constants[operator.inputs[0]])
    if weight.ndim != 2 or len(shape) != 2 or weight.shape[1] != shape[0]:
        raise OperatorProblemError(f"its matrix has shape {tuple(weight.shape)}, its input {shape}")
    source = builder.affine(rearrange(shape, places_of(shape).T), source, operator.name)
    middle = (shape[1], weight.shape[0])
    source = builder.affine(
        Dense((shape[1], shape[0]), middle, None, weight), source, operator.name
    )
    back = rearrange(middle, places_of(middle).T)
    set_output(builder, operator, builder.affine(back, source, operator.name))


def add(builder: Builder, operator: Operator) -> None:
    """Add, Sub and Sum of constants and of branches."""
    sign = -1.0 if operator.kind == "Sub" else 1.0
    branches = [
        (name, 1.0 if i == 0 else sign)
        for i, name in enumerate(operator.inputs)
        if name not in builder.constants
    ]
    parts = [
        _scaled(builder, builder.values[name], factor, operator.name) for name, factor in branches
    ]
    shapes = {builder.nodes[part].shape for part in parts}
    if len(shapes) > 1:
        raise OperatorProblemError(f"it broadcasts branches of shapes {sorted(shapes)}")
    shape = shapes.pop()
    position = builder.add(Sum(), parts, shape, operator.name) if len(parts) > 1 else parts[0]
    for i, name in enumerate(operator.inputs):
        if name in builder.constants:
            shift = row_constant(builder.constants[name], shape) * (1.0 if i == 0 else sign)
            shifted = Diagonal(shape, shape, shift, None)
            position = builder.affine(shifted, position, operator.name)
    set_output(builder, operator, position)


def _scaled(builder: Builder, source: int, factor: float, name: str) -> int:
    if factor == 1.0:
        return source
    shape = builder.nodes[source].shape
    scale = torch.tensor(factor, dtype=torch.float64)
    return builder.affine(Diagonal(shape, shape, None, scale), source, name)


def row_constant(array: Array, shape: Shape) -> Tensor:
    """A constant that broadcasts to a row of this shape without changing it."""
    value = tensor(array)
    if value.ndim == len(shape) + 1 and value.shape[0] == 1:
        value = value[0]
    try:
        fits = np.broadcast_shapes(tuple(value.shape), shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise OperatorProblemError(f"a constant of shape {array.shape} meets a value of {shape}")
    return value


def multiply(builder: Builder, operator: Operator) -> None:
    """Mul and Div by a constant, Neg."""
    if operator.kind == "Neg":
        source, _ = builder.source(operator)
        set_output(builder, operator, _scaled(builder, source, -1.0, operator.name))
        return
    first_is_constant = operator.inputs[0] in builder.constants
    if not first_is_constant and operator.inputs[1] not in builder.constants:
        raise OperatorProblemError("both factors depend on the input")
    if operator.kind == "Div" and first_is_constant:
        raise OperatorProblemError("it divides by a value that depends on the input")
    source, shape = builder.source(operator, int(first_is_constant))
    scale = row_constant(builder.constants[operator.inputs[1 - int(first_is_constant)]], shape)
    roundings = 0
    if operator.kind == "Div":
        scale, roundings = 1.0 / scale, 1
    diagonal = Diagonal(shape, shape, None, scale, roundings)
    set_output(builder, operator, builder.affine(diagonal, source, operator.name))


def batch_normalization(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    if operator.attributes.get("training_mode", 0) or len(operator.outputs) > 1:
        raise OperatorProblemError("it is in training mode", Rule.TRAINING)
    names = ("scale", "bias", "mean", "variance")
    arrays = [tensor(builder.constant(operator, i + 1, what)) for i, what in enumerate(names)]
    scale, bias, mean, variance = (a.reshape(-1, *[1] * (len(shape) - 1)) for a in arrays)
    deviation = torch.sqrt(variance + float(operator.attributes.get("epsilon", 1e-5)))
    # Centred first: folding the mean into the bias would round twice where they cancel.
    position = builder.affine(Diagonal(shape, shape, -mean, None), source, operator.name)
    normal = Diagonal(shape, shape, bias, scale / deviation, 4)
    set_output(builder, operator, builder.affine(normal, position, operator.name))


def elementwise(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    if operator.kind == "LeakyRelu":
        leak = float(operator.attributes.get("alpha", np.float32(0.01)))
        if not 0 <= leak < 1:
            raise OperatorProblemError(f"its slope {leak:g} is not in [0, 1)")
        function: Operation = LeakyReLU(leak)
    else:
        function = elementwise_functions()[operator.kind]()
    set_output(builder, operator, builder.add(function, [source], shape, operator.name))


def identity(builder: Builder, operator: Operator) -> None:
    if operator.kind == "Cast" and operator.attributes.get("to") not in (1, 11):
        raise OperatorProblemError("it casts to a type other than float")
    if operator.kind == "Dropout":
        training = builder.optional(operator, 2)
        if len(operator.outputs) > 1 or (training is not None and training.any()):
            raise OperatorProblemError("it is in training mode, or its mask is used", Rule.TRAINING)
    set_output(builder, operator, builder.source(operator)[0])
