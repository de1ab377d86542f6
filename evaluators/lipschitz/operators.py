"""Proved Lipschitz constants of a network's operations, in one norm before and after."""

import math
from weakref import WeakKeyDictionary

import torch

from evaluators.lipschitz.spectral import convolution_bound, matrix_bound
from evaluators.network.affine import (
    Adjoint,
    AffineMap,
    Convolution,
    Dense,
    Diagonal,
    Gather,
    Reshape,
    absolute_of,
)
from evaluators.network.elementwise import Elementwise, LeakyReLU, SShaped
from evaluators.network.network import MaxPool, Operation
from evaluators.numerics.rounding import gamma
from evaluators.question.norm import Norm

LARGEST_SIDE = 4096
"""Smaller side of the largest matrix whose spectral norm is bounded by Gram iteration."""

_KNOWN: WeakKeyDictionary[AffineMap, dict[Norm, float]] = WeakKeyDictionary()


def constant_of(operation: Operation, norm: Norm) -> float:
    """Bound an operation's Lipschitz constant in a norm; infinite where none is known.

    Args:
        operation: of one input, its weights in float64.
        norm: of both its input and its output.
    """
    if isinstance(operation, AffineMap):
        known = _KNOWN.setdefault(operation, {})
        if norm not in known:
            known[norm] = affine_bound(operation, norm)
        return known[norm]
    if isinstance(operation, Elementwise):
        return steepest(operation)
    if isinstance(operation, MaxPool):
        # A maximum moves by no more than the entry that moves most, which windows share.
        shared = math.prod(map(_shared, operation.kernel, operation.stride))
        return {Norm.LINF: 1.0, Norm.L2: math.sqrt(shared) * (1 + 1e-15), Norm.L1: shared}[norm]
    return math.inf


def _shared(kernel: int, stride: int) -> float:
    return float(-(-kernel // stride))


def steepest(function: Elementwise) -> float:
    """Bound a function's derivative; infinite where none is known."""
    if isinstance(function, LeakyReLU):
        return 1.0
    if isinstance(function, SShaped):
        return float(function.derivative(torch.zeros(1, dtype=torch.float64))) * (1 + 1e-12)
    return math.inf


def affine_bound(operation: AffineMap, norm: Norm) -> float:
    """Bound the norm of an affine map's linear part, in float64 and rounded up."""
    if norm is Norm.LINF:
        return _row_sums(operation)
    if norm is Norm.L1:
        return _column_sums(operation)
    if isinstance(operation, Reshape):
        return 1.0
    between = math.sqrt(_row_sums(operation)) * math.sqrt(_column_sums(operation)) * (1 + 1e-15)
    if isinstance(operation, Diagonal | Gather):
        return between
    if isinstance(operation, Adjoint):
        return min(between, affine_bound(operation.inner, norm))
    if isinstance(operation, Dense) and min(operation.weight.shape) <= LARGEST_SIDE:
        return min(between, matrix_bound(operation.weight.double()))
    if isinstance(operation, Convolution):
        # Weights that were rounded (1/9 of an average) differ from the true ones by one unit.
        rounded = between * 1e-15 if operation.rounded else 0.0
        return min(between, convolution_bound(operation) + rounded)
    return between


def _row_sums(operation: AffineMap) -> float:
    """The largest sum of a row's absolute entries: the norm for l∞."""
    ones = torch.ones(1, *operation.input_shape, dtype=torch.float64)
    sums = operation.absolute(ones)
    return float(sums.max()) * (1 + 2 * gamma(operation.fan_in + 8)) if sums.numel() else 0.0


def _column_sums(operation: AffineMap) -> float:
    """The largest sum of a column's absolute entries: the norm for l1."""
    ones = torch.ones(1, *operation.output_shape, dtype=torch.float64)
    sums = absolute_of(operation).adjoint(ones)
    return float(sums.max()) * (1 + 2 * gamma(operation.fan_out + 8)) if sums.numel() else 0.0
