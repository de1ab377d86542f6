"""Concretisation: the least value of a linear function over a region."""

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.numerics.rounding import UNIT, float_above, gamma, up
from evaluators.propagation.intervals import Interval
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Region

Rows = Float[Tensor, "groups rows *shape"]
Values = Float[Tensor, "groups rows"]

FEW = 16
"""Rows of a group below which a product of its own does not pay."""


def one_norm(rows: Rows) -> Values:
    """Sum of absolute coefficients of each row."""
    return rows.flatten(2).abs().sum(2)  # twice as fast as PyTorch's norm


def dot(rows: Rows, values: Float[Tensor, "groups *shape"]) -> Values:
    """Each row times its group's values."""
    flat, vectors = rows.flatten(2), values.flatten(1)
    if rows.shape[1] < FEW:
        products: Tensor = torch.linalg.vecdot(flat, vectors[:, None])
        return products
    # One product for each group: PyTorch's batched products with a vector are slow.
    return torch.stack([own @ vector for own, vector in zip(flat, vectors, strict=True)])


def least_over_box(rows: Rows, box: Interval) -> tuple[Values, Values]:
    """`(value, slack)`: value - slack bounds rows·z from below for all z of a box."""
    middle = (box.lower + box.upper) / 2
    radius = torch.maximum(up(box.upper - middle), up(middle - box.lower))
    absolute = rows.abs()
    value = dot(rows, middle) - dot(absolute, radius)
    size = (middle.abs() + radius).flatten(1).amax(1)
    error = 2 * gamma(rows[0, 0].numel() + 4)
    return value, absolute.flatten(2).sum(2) * size[:, None] * error


def least_over_ball(
    rows: Rows, x: Float[Tensor, "groups *shape"], region: Region, hull: Interval
) -> tuple[Values, Values]:
    """`(value, slack)`: value - slack bounds rows·z from below for all z in the region around x.

    The better of two bounds: over the region's bounding box, and by the dual norm. The dual norm
    is taken only of coefficients that could lower the value: where x is already at the end of the
    pixel range towards which a coefficient pulls, no perturbation can follow it.
    """
    value, slack = least_over_box(rows, hull)
    if not isinstance(region, Ball) or region.norm is Norm.LINF:
        return value, slack
    center = x[:, None]
    stuck = ((center <= region.low) & (rows > 0)) | ((center >= region.high) & (rows < 0))
    norm = dual_norm(rows.masked_fill(stuck, 0.0), region.norm)
    radius = float_above(region.radius)
    ball = dot(rows, x) - radius * norm
    size = x.flatten(1).abs().amax(1)[:, None] + radius
    error = 2 * gamma(rows[0, 0].numel() + 8)
    ball_slack = one_norm(rows) * size * error
    better = ball - ball_slack > value - slack
    return torch.where(better, ball, value), torch.where(better, ball_slack, slack)


def dual_norm(rows: Rows, norm: Norm) -> Values:
    """Norm of each row's coefficients that is dual to a region's."""
    flat = rows.flatten(2)
    largest: Tensor = torch.linalg.vector_norm(flat, torch.inf, dim=2)
    if norm is Norm.L1:
        return largest
    # Squares of small coefficients would underflow, and the norm come out too small.
    scale = largest.masked_fill(largest == 0, 1.0)
    scaled: Tensor = torch.linalg.vector_norm(flat / scale[..., None], norm.dual, dim=2)
    return scale * scaled


def settle(value: Float[Tensor, "*rows"], slack: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    """value - slack, rounded down.

    The slack is inflated for the roundings of its own sum; 1e-200 covers products that underflow.
    """
    padded = slack * (1 + 1e-6) + value.abs() * (4 * UNIT) + 1e-200
    return torch.nextafter(value - padded, value.new_tensor(-torch.inf))
