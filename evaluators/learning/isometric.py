"""Layers that keep ℓ2 distances, or nearly: block-orthogonal convolutions and absolute values."""

import torch
from torch import Tensor, nn

from evaluators.learning.layers import Affine, LearnedLayer
from evaluators.learning.lipschitz import orthonormal
from evaluators.network.affine import Diagonal
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import Sum
from evaluators.numerics.arrays import Shape


class BlockOrthogonal(Affine):
    """An orthogonal convolution of 1 by 1 or 3 by 3 taps (BCOP; Li et al. 2019, arXiv 1911.00937).

    With a projection P, the two taps P and I - P, side by side, keep the norm of every signal. Two
    such pairs along each axis and an orthonormal matrix make the kernel; it goes to the side
    with fewer channels. Where P is only near a projection, and where zeros surround the image, the
    norm is at most 1.

    Attributes:
        bases: of the four projections' images, `[4, half, channels]`; None of a kernel of one tap.
    """

    def __init__(
        self, shapes: tuple[Shape, Shape], kernel: int, generator: torch.Generator
    ) -> None:
        """Make a convolution that keeps the image's sides; `kernel` is 1 or 3."""
        before, after = (shape[0] for shape in shapes)
        matrix = nn.init.orthogonal_(torch.empty(after, before), generator=generator)
        super().__init__(shapes, matrix, (1, kernel // 2))
        self.bases: nn.Parameter | None = None
        if kernel > 1:
            channels = min(before, after)
            bases = torch.empty(4, channels // 2, channels)
            for basis in bases:
                nn.init.orthogonal_(basis, generator=generator)
            self.bases = nn.Parameter(bases)

    def used_weight(self) -> Tensor:
        """Compute the kernel, in float32 also where products are of another type."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = orthonormal(self.weight)
            if self.bases is None:
                return matrix[:, :, None, None]
            bases = orthonormal(self.bases)
            images = bases.mT @ bases
            rows, columns = _taps(images[0], images[1]), _taps(images[2], images[3])
            taps = torch.einsum("hij,wjk->hwik", rows, columns)
            narrowing = matrix.shape[0] <= matrix.shape[1]
            kernel = taps @ matrix if narrowing else matrix @ taps
            return kernel.permute(2, 3, 0, 1)


def _taps(first: Tensor, second: Tensor) -> Tensor:
    """The three taps of (P + (I - P) z)(Q + (I - Q) z), `[3, channels, channels]`."""
    one = torch.eye(len(first), dtype=first.dtype, device=first.device)
    other, last = one - first, one - second
    return torch.stack([first @ second, first @ last + other @ second, other @ last])


class HalfAbsolute(LearnedLayer):
    """|x| in the second half of the channels, x in the first.

    Between orthogonal maps it computes what MaxMin does, of which each pair is turned by 45° (Anil
    et al. 2019, arXiv 1811.05381), and loses no gradient. Evaluators count 1 for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute it."""
        half = x.shape[1] // 2
        return torch.cat([x[:, :half], x[:, half:].abs()], 1)

    def write(self, graph: GraphBuilder) -> None:
        """Append x + ReLU(-2x), of the half alone."""
        start, shape = len(graph.nodes) - 1, graph.nodes[-1].shape
        scale = torch.zeros(shape[0], *(1,) * (len(shape) - 1))
        scale[shape[0] // 2 :] = -2.0
        graph.add("twice", Diagonal(shape, shape, None, scale))
        below = graph.add("below", LeakyReLU(), shape=shape)
        graph.add("sizes", Sum(), (start, below), shape)
