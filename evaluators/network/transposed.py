"""Transposed convolutions, fast in float64 too."""

from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from evaluators.numerics.arrays import Shape

CACHED_BYTES = 2**20
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
    stride, padding, dilation = layout
    if y.dtype is torch.float64 and y.is_cpu and y.dim() == 4 and groups == 1:
        sides = list(zip(weight.shape[2:], stride, strict=True))
        whole = set(dilation) == {1} and all(kernel % step == 0 for kernel, step in sides)
        overlapping = any(kernel > step for kernel, step in sides)
        way = _by_shifts if whole and overlapping else _by_products
        return way(y, weight, size, layout)
    spans = zip(y.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True)
    reached = [(out - 1) * s - 2 * pad + d * (kernel - 1) + 1 for out, s, pad, d, kernel in spans]
    extra = [there - here for there, here in zip(size, reached, strict=True)]
    transpose = F.conv_transpose1d if y.dim() == 3 else F.conv_transpose2d
    return transpose(y, weight, None, stride, padding, extra, groups, dilation)


def _by_shifts(
    y: Tensor, weight: Tensor, size: Shape, layout: tuple[Shape, Shape, Shape]
) -> Tensor:
    """One matrix product for each shift of the windows, added up in place.

    With stride s, taps s·a + p of window i reach place s·(i + a) + p. So what arrives at the places
    of all remainders p is a sum over shifts a of products of the windows with matrices. Rows come
    last, and each line of windows ends with zeros: a shift is a beginning further ahead, no copy.
    """
    (down, right), (top, left), _ = layout
    far, wide = weight.shape[2] // down, weight.shape[3] // right
    taps = weight.reshape(*weight.shape[:2], far, down, wide, right)
    taps = taps.permute(2, 4, 3, 5, 1, 0).flatten(2, 4).contiguous()
    height, width = y.shape[2:]
    # As many lines and places in them as are asked for; those that no window reaches get zeros.
    lines, line = -(-(size[0] + top) // down), max(width + wide - 1, -(-(size[1] + left) // right))
    before = (far - 1) * line + wide - 1
    windows = max(height, lines) * line
    largest = max(taps.shape[2] * lines * line, y.shape[1] * (before + windows))
    step = max(1, CACHED_BYTES // (8 * max(1, largest)))
    result = y.new_empty(len(y), weight.shape[1], *size)
    padded = y.new_zeros(0)
    for part, target in zip(torch.split(y, step), torch.split(result, step), strict=True):
        if padded.shape[-1] != len(part):  # else only the windows are overwritten
            padded = y.new_zeros(y.shape[1], before + windows, len(part))
        grid = padded[:, before:].view(y.shape[1], -1, line, len(part))
        grid[:, :height, :width] = part.permute(1, 2, 3, 0)
        total = y.new_empty(taps.shape[2], lines * line * len(part))
        for back, some in enumerate(taps):
            for aside, matrix in enumerate(some):
                first = before - back * line - aside
                shifted = padded[:, first : first + lines * line].flatten(1)
                total.addmm_(matrix, shifted, beta=float(back + aside > 0))
        grids = total.view(down, right, weight.shape[1], lines, line, len(part))
        for row, column in product(range(down), range(right)):
            high, low = _places(row, down, top, size[0])
            here, there = _places(column, right, left, size[1])
            target[:, :, high, here] = grids[row, column][:, low, there].permute(3, 0, 1, 2)
    return result


def _places(remainder: int, stride: int, padding: int, size: int) -> tuple[slice, slice]:
    """Places whose distance from the padded beginning has a remainder, and their numbers."""
    first = (remainder - padding) % stride
    number = (first + padding) // stride
    return slice(first, None, stride), slice(number, number + len(range(first, size, stride)))


def _by_products(
    y: Tensor, weight: Tensor, size: Shape, layout: tuple[Shape, Shape, Shape]
) -> Tensor:
    """Batched matrix products, each folded into place while it is in the cache.

    PyTorch's own way in float64 is to multiply and fold one row after another.
    """
    stride, padding, dilation = layout
    taps = weight.flatten(1).T.contiguous()
    step = max(1, CACHED_BYTES // (8 * len(taps) * max(1, prod(y.shape[2:]))))
    result = y.new_empty(len(y), weight.shape[1], *size)
    for first in range(0, len(y), step):
        products = taps @ y[first : first + step].flatten(2)
        result[first : first + step] = F.fold(
            products, size, weight.shape[2:], dilation, padding, stride
        )
    return result
