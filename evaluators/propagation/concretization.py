"""Concretisation: the least value of a linear function over a region."""

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.numerics.rounding import float_above
from evaluators.propagation import rounding_charge as charge
from evaluators.propagation.bounded import Bounded, Center
from evaluators.propagation.carrier import TensorRows
from evaluators.propagation.dense_rows import DenseRows
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Region


def least_over_box(
    carrier: TensorRows, rows: Tensor, position: int, box: Center
) -> tuple[Tensor, Tensor]:
    """`(value, slack)`: value - slack bounds rows·z from below for all z of a node's box.

    Args:
        carrier: the rows' algebra.
        rows: functions of the node's entries.
        position: the node.
        box: of all examples of the batch.
    """
    absolute = carrier.absolute(rows)
    value = carrier.dot(rows, box.middle, position) - carrier.dot(absolute, box.radius, position)
    share = charge.products(carrier.terms(rows))
    return value, carrier.total(absolute) * carrier.each(box.size) * share


def least_through_matrix(
    carrier: DenseRows, rows: Tensor, bounded: Bounded, position: int
) -> tuple[Tensor, Tensor]:
    """`(value, slack)`: value - slack bounds rows of a matrix's outputs over the box of its inputs.

    With the box's middle c and radius r, A·(Wz + b) >= A·(Wc + b) - ‖A W diag(r)‖₁ for all its z.

    Args:
        carrier: the rows' algebra.
        rows: A, functions of the entries of a `Dense` node.
        bounded: the network, whose bounds of the node and its input are final.
        position: the node.
    """
    node = bounded.network.nodes[position]
    operation, (parent,) = node.operation, node.parents
    assert isinstance(operation, Dense)
    absolute = carrier.absolute(rows)
    norm = carrier.total(absolute)
    value = carrier.dot(rows, bounded.image(position), position)
    value = value - carrier.spread(rows, absolute, operation.weight, bounded.center(parent).radius)
    size = carrier.each(bounded.size(position))
    slack = charge.matrix_over_box(norm, size, operation.fan_in, carrier.terms(rows))
    error = bounded.deviation(position)
    if error is not None:
        slack = slack + carrier.dot(absolute, error, position)
    return value, slack


def least_over_region(
    carrier: TensorRows, rows: Tensor, x: Tensor, region: Region, hull: Center
) -> tuple[Tensor, Tensor]:
    """`(value, slack)`: value - slack bounds rows·z from below for all z in the region around x.

    The better of two bounds: over the region's bounding box, and by the dual norm. The dual norm
    is taken only of coefficients that could lower the value: where x is already at the end of the
    pixel range towards which a coefficient pulls, no perturbation can follow it.

    Args:
        carrier: the rows' algebra.
        rows: functions of the input, without coefficients beyond its edge.
        x: the examples, `[batch, *shape]`.
        region: what may be perturbed.
        hull: the region's bounding box.
    """
    value, slack = least_over_box(carrier, rows, 0, hull)
    if not isinstance(region, Ball) or region.norm is Norm.LINF:
        return value, slack
    center = carrier.at(x, 0)
    stuck = ((center <= region.low) & (rows > 0)) | ((center >= region.high) & (rows < 0))
    norm = dual_norm(rows.masked_fill(stuck, 0.0).flatten(carrier.leading), region.norm)
    radius = float_above(region.radius)
    ball = carrier.dot(rows, x, 0) - radius * norm
    size = carrier.each(x.flatten(1).abs().amax(1)) + radius
    # The norm is a sum of as many terms, and takes a root, two quotients and a product.
    ball_slack = carrier.norm(rows) * size * charge.products(carrier.terms(rows) + 4)
    better = ball - ball_slack > value - slack
    return torch.where(better, ball, value), torch.where(better, ball_slack, slack)


def dual_norm(rows: Float[Tensor, "*rows entries"], norm: Norm) -> Float[Tensor, "*rows"]:
    """Norm of each row's coefficients that is dual to a region's."""
    largest: Tensor = torch.linalg.vector_norm(rows, torch.inf, dim=-1)
    if norm is Norm.L1:
        return largest
    # Squares of small coefficients would underflow, and the norm come out too small.
    scale = largest.masked_fill(largest == 0, 1.0)
    scaled: Tensor = torch.linalg.vector_norm(rows / scale[..., None], norm.dual, dim=-1)
    return scale * scaled
