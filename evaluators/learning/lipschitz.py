"""Layers that cannot stretch ℓ2 distances, whatever their parameters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.learning.layers import LearnedLayer, Rescaling
from evaluators.network.affine import Convolution, Dense
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import Sum
from evaluators.numerics.arrays import Shape

LEAST = 1e-12
"""Added to sums that are divided by."""

BJORCK = 12
"""Iterations; singular values of a hundredth of the largest come within a part in ten of 1."""


def almost_orthogonal(weight: Tensor) -> Tensor:
    """Rescale the inputs of a map so that its norm is at most 1 (AOL).

    W·D with D_ii = (Σ_j |WᵀW|_ij)^(-1/2) (Prach and Lampert 2022, arXiv 2208.03160, theorem 1);
    for a convolution the sum goes over channels and places, which bounds those with a stride and
    with zeros around the image too (theorem 2).
    """
    rescaled: Tensor = weight * (gram_sums(weight) + LEAST).rsqrt().view(
        1, -1, *(1,) * (weight.dim() - 2)
    )
    return rescaled


def orthogonal(weight: Tensor) -> Tensor:
    """Make a map's rows or columns orthonormal, and a kernel's, reshaped, divided by its side.

    Björck's iteration approaches the nearest such matrix from below its norm of 1. A kernel of
    k by k taps that is one matrix of norm 1 stretches by k at most (as Serrurier et al.
    2021, arXiv 2006.06520, reshape kernels).
    """
    kernel = weight.shape[-1] if weight.dim() > 2 else 1
    return orthonormal(weight.flatten(1)).reshape(weight.shape) / kernel


def orthonormal(matrices: Tensor) -> Tensor:
    """Make the rows or the columns of matrices `[..., rows, columns]` orthonormal, as above."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    matrix = matrices.mT if tall else matrices
    # A norm of at most 1 to begin with: the geometric mean of the largest sums bounds it.
    rows, columns = (matrix.abs().sum(side).amax(-1) for side in (-1, -2))
    matrix = matrix / ((rows * columns).sqrt() + LEAST)[..., None, None]
    for _ in range(BJORCK):
        matrix = 1.5 * matrix - 0.5 * (matrix @ matrix.mT) @ matrix
    return matrix.mT if tall else matrix


def unit_rows(weight: Tensor) -> Tensor:
    """Make the norm of every row of a last matrix 1 (Singla et al. 2022, arXiv 2108.04062)."""
    return F.normalize(weight, dim=1)


def gram_sums(weight: Tensor) -> Tensor:
    """Sum |WᵀW| over each row, `[inputs]`; of kernels over channels and places."""
    if weight.dim() == 2:
        return (weight.T @ weight).abs().sum(1)
    swapped = weight.transpose(0, 1)
    products = F.conv2d(swapped, swapped, padding=weight.shape[-1] - 1)
    return products.abs().sum((1, 2, 3))


RESCALINGS: dict[str, Rescaling] = {
    "almost-orthogonal": almost_orthogonal,
    "orthogonal": orthogonal,
    "unit-rows": unit_rows,
}
"""Ways to make a map's norm at most 1, or its rows', by name."""


class SLL(LearnedLayer):
    """x -> x - 2 W T⁻¹ ReLU(Wᵀx + b), 1-Lipschitz in ℓ2 (Araujo et al. 2023, arXiv 2303.03169).

    T is diagonal with T_ii = Σ_j |WᵀW|_ij q_j / q_i and q > 0. `weight` is Wᵀ: a matrix
    or a kernel of odd size, padded so that the shape is kept.
    """

    def __init__(self, shape: Shape, hidden: Shape, weight: Tensor) -> None:
        super().__init__()
        self.shapes = shape, hidden
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)))
        self.logarithms = nn.Parameter(torch.zeros(len(weight)))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer."""
        inward, outward = self._pair()
        if inward.dim() == 2:
            return x + F.linear(F.relu(F.linear(x, inward, self.bias)), outward)
        padding = inward.shape[-1] // 2
        hidden = F.relu(F.conv2d(x, inward, self.bias, padding=padding))
        return x + F.conv2d(hidden, outward, padding=padding)

    def write(self, graph: GraphBuilder) -> None:
        """Append the two maps with the function between them, and the sum."""
        first, (shape, hidden), (inward, outward) = len(graph.nodes) - 1, self.shapes, self._pair()
        if inward.dim() == 2:
            graph.add("inward", Dense(shape, hidden, self.bias, inward))
            graph.add("relu", LeakyReLU(), shape=hidden)
            last = graph.add("outward", Dense(hidden, shape, None, outward))
        else:
            layout = (1, 1), (inward.shape[-1] // 2,) * 2, (1, 1)
            bias = self.bias[:, None, None]
            graph.add("inward", Convolution(shape, hidden, bias, inward, *layout))
            graph.add("relu", LeakyReLU(), shape=hidden)
            last = graph.add("outward", Convolution(hidden, shape, None, outward, *layout))
        graph.add("sum", Sum(), (first, last), shape)

    def _pair(self) -> tuple[Tensor, Tensor]:
        """Wᵀ and -2 W T⁻¹."""
        weight, q = self.weight, self.logarithms.exp()
        if weight.dim() == 2:
            products = (weight @ weight.T).abs()
            outward = weight.T
        else:
            reach = weight.shape[-1] - 1
            products = F.conv2d(weight, weight, padding=reach).abs().sum((2, 3))
            outward = weight.transpose(0, 1).flip(2, 3)
        t = (products * q).sum(1) / q + LEAST
        return weight, -2 * outward / t.view(1, -1, *(1,) * (weight.dim() - 2))
