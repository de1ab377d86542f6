"""Proved upper bounds of spectral norms: of matrices and of convolutions.

A power iteration approaches a spectral norm from below, and proves nothing. Gram iteration
(Delattre et al. 2023, arXiv 2305.16173) approaches it from above: with G_0 = A and
G_(k+1) = G_k* G_k, ‖A‖^(2^k) = ‖G_k‖ <= ‖G_k‖_F, and the Frobenius norm is at most the root of the
rank too large, of which the 2^k-th root is taken. In floating point, what is computed for G_(k+1)
differs from G_k* G_k by a matrix of Frobenius norm at most γ‖G_k‖_F², so that

    ‖G_k‖² <= ‖G_(k+1)‖ + γ ‖G_k‖_F²

holds for the matrices as they were computed; from the last one back to the first this bounds ‖A‖.

A convolution with stride 1 and enough zeros around its input is one on a torus, restricted to
inputs that are zero near the seam; it acts on each frequency by a small complex matrix, its symbol
(Sedghi et al. 2019, arXiv 1805.10408). Padding, strides and cropping only leave outputs out, or
inputs zero. So the largest norm of a symbol on any torus at least as long as input and kernel
together, less one, bounds the convolution.
"""

import math

import torch
from torch import Tensor

from evaluators.network.affine import Convolution
from evaluators.numerics.rounding import gamma

STEPS = 16
"""Gram iterations: what is left of a matrix with 1,000 equal singular values is 0.005 per cent."""

SMALL = 1e-140
"""Covers what underflows in matrices that are scaled to a norm of about one."""

AT_ONCE = 2**22
"""Complex coefficients of symbols that are iterated together."""


MOST_PRODUCTS = 2**40
"""Complex products of the Gram iterations of one convolution, up to which it has a bound, and of
the sums over its taps: half a minute. Those of ResNets on images of 224 by 224 would take hours."""

MOST_PER_WEIGHT = 2**24
"""Such products for each weight: of networks in use 2^8 to 2^21. A kernel whose taps lie far apart,
beyond the image, has as many frequencies as its author likes, and a file may hold thousands."""

BY_THEMSELVES = 64
"""So many times as long as inside a product of matrices a product of two numbers takes alone."""


def matrix_bound(matrices: Tensor, steps: int = STEPS) -> float:
    """Bound the spectral norms of matrices `[..., rows, columns]`, float64 or complex128.

    Args:
        matrices: all of one size.
        steps: Gram iterations, of which fewer give a larger bound sooner.

    Returns:
        At least the largest of them; infinite where an entry is not finite.
    """
    if not matrices.numel():
        return 0.0
    if not bool(torch.isfinite(matrices.abs()).all()):
        return math.inf
    if matrices.shape[-2] < matrices.shape[-1]:
        matrices = matrices.mH
    terms = 4 * max(matrices.shape[-2:]) + 32
    largest = matrices.abs().amax((-2, -1), keepdim=True)
    # Powers of two, so that scaling is exact.
    first = torch.exp2(torch.floor(torch.log2(largest.clamp(min=1e-300))))
    current = matrices / first
    scales, sizes = list[Tensor](), list[Tensor]()
    for _ in range(steps):
        sizes.append(_frobenius(current))
        current = current.mH @ current
        size = _frobenius(current)
        scale = torch.exp2(torch.floor(torch.log2(size.clamp(min=1e-300))))
        scales.append(scale)
        current = current / scale
    bound = _frobenius(current)
    for scale, size in zip(reversed(scales), reversed(sizes), strict=True):
        lost = size * size * (2 * gamma(terms))
        bound = torch.sqrt(bound * scale + lost + SMALL) * (1 + 1e-14)
    return float((bound * first).max()) * (1 + 1e-14)


def _frobenius(matrices: Tensor) -> Tensor:
    """Frobenius norms `[..., 1, 1]`, rounded up."""
    size: Tensor = torch.linalg.matrix_norm(matrices, "fro", keepdim=True).real
    return size * (1 + 2 * gamma(2 * matrices.shape[-1] * matrices.shape[-2] + 8)) + SMALL


def convolution_bound(convolution: Convolution) -> float:
    """Bound the spectral norm of a convolution of any stride, padding, dilation and groups.

    Infinite where its symbols are too many and too large.

    Args:
        convolution: its weights in float64.
    """
    weight, groups = convolution.weight, convolution.groups
    outputs, inputs, *kernel = weight.shape
    grouped = weight.reshape(groups, outputs // groups, inputs, *kernel)
    reach = [d * (k - 1) + 1 for d, k in zip(convolution.dilation, kernel, strict=True)]
    if all(stride >= far for stride, far in zip(convolution.stride, reach, strict=True)):
        # Windows that do not meet: one matrix, applied to each of them.
        return matrix_bound(grouped.flatten(2))
    sizes = zip(convolution.input_shape[1:], convolution.padding, reach, strict=True)
    torus = [size + far - 1 for size, _, far in sizes]
    smaller, larger = sorted(grouped.shape[1:3])
    taps, frequencies = math.prod(kernel), math.prod(torus) / 2
    products = frequencies * groups * smaller * larger * max(smaller * STEPS, taps)
    most = min(MOST_PRODUCTS, MOST_PER_WEIGHT * convolution.weight.numel())
    if max(products, frequencies * taps * BY_THEMSELVES) > most:
        return math.inf
    # Every coefficient of a symbol is a sum over the taps, of products with rounded waves.
    error = float(torch.linalg.vector_norm(grouped.abs().flatten(3).sum(3), dim=(1, 2)).max())
    error *= 2 * gamma(8 * taps + 128)
    bound, step = 0.0, max(1, AT_ONCE // grouped.flatten(1).shape[1])
    flat = grouped.flatten(3).to(torch.complex128)
    # Of a plane's columns half: the frequencies left out are conjugates of others.
    half = torus if len(torus) == 1 else [*torus[:-1], torus[-1] // 2 + 1]
    count = math.prod(half)
    for first in range(0, count, step):
        # All waves at once would be as many numbers as the input's times the kernel's.
        places = torch.unravel_index(torch.arange(first, min(first + step, count)), half)
        layout = zip(places, kernel, convolution.dilation, torus, strict=True)
        waves = [_waves(*line) for line in layout]
        part = torch.einsum("gokt,ft->fgok", flat, _products(waves))
        bound = max(bound, matrix_bound(part))
    return (bound + error) * (1 + 1e-14)


def _waves(frequencies: Tensor, taps: int, dilation: int, size: int) -> Tensor:
    """exp(-2πi·frequency·tap·dilation / size), `[frequencies, taps]`."""
    turns = torch.outer(frequencies, torch.arange(taps) * dilation) % size
    angle = turns.double() * (-2 * math.pi / size)
    return torch.complex(angle.cos(), angle.sin())


def _products(waves: list[Tensor]) -> Tensor:
    """Waves of a line or a plane, `[frequencies, taps]`, from those of each dimension."""
    if len(waves) == 1:
        return waves[0]
    rows, columns = waves
    return (rows[:, :, None] * columns[:, None, :]).flatten(1)
