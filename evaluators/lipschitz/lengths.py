"""Norms of a batch's values, rounded up."""

import torch
from torch import Tensor

from evaluators.numerics.rounding import gamma
from evaluators.question.norm import Norm

PAD = 1 + 1e-12
"""Covers the roundings of sums and products of a few non-negative numbers."""

SMALLEST = 1e-150
"""Covers squares that underflow."""


def length(value: Tensor, norm: Norm) -> Tensor:
    """Norms of `[batch, *shape]`, `[batch]`, rounded up."""
    order = {Norm.LINF: torch.inf, Norm.L2: 2.0, Norm.L1: 1.0}[norm]
    sizes: Tensor = torch.linalg.vector_norm(value.flatten(1), order, dim=1)
    return sizes * (1 + 2 * gamma(value[0].numel() + 8)) + SMALLEST
