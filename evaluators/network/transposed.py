"""Transposed convolutions, fast in float64 too."""

from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from evaluators.numerics.arrays import Shape

FOLDED_BYTES = 2**20
"""Size of the products that are added up at once: past the caches, larger is slower."""


def transposed_convolution(
    y: Float[Tensor, "rows out *_"],
    weight: Float[Tensor, "out in *kernel"],
    size: Shape,
    layout: tuple[Shape, Shape, Shape],
    groups: int,
) -> Float[Tensor, "rows channels *_"]:
    """Apply the adjoint of a convolution; it is zero where no window reaches.

    Its inputs have this `size` without rows and channels; `layout` is its stride, padding and
    dilation, for each dimension.
    """
    if y.dtype is torch.float64 and y.is_cpu and y.dim() == 4 and groups == 1:
        return _by_products(y, weight, size, layout)
    stride, padding, dilation = layout
    spans = zip(y.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True)
    reached = [(out - 1) * s - 2 * pad + d * (kernel - 1) + 1 for out, s, pad, d, kernel in spans]
    extra = [there - here for there, here in zip(size, reached, strict=True)]
    transpose = F.conv_transpose1d if y.dim() == 3 else F.conv_transpose2d
    return transpose(y, weight, None, stride, padding, extra, groups, dilation)


def _by_products(
    y: Tensor, weight: Tensor, size: Shape, layout: tuple[Shape, Shape, Shape]
) -> Tensor:
    """Batched matrix products, each folded into place while it is in the cache.

    PyTorch's own way in float64 is to multiply and fold one row after another.
    """
    stride, padding, dilation = layout
    taps = weight.flatten(1).T.contiguous()
    step = max(1, FOLDED_BYTES // (8 * len(taps) * max(1, prod(y.shape[2:]))))
    result = y.new_empty(len(y), weight.shape[1], *size)
    for first in range(0, len(y), step):
        products = taps @ y[first : first + step].flatten(2)
        result[first : first + step] = F.fold(
            products, size, weight.shape[2:], dilation, padding, stride
        )
    return result
