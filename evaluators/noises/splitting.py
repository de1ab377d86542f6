"""Splitting noise (Levine and Feizi 2021, arXiv 2103.10834): L inputs in all, and none is random.

Pixels are multiples of 1/255. With scale λ, 2λ·255 = L a whole number, split t of L cuts the axis
of pixel i at all points s + 2λj, s = ((t + v_i) mod L + 1/2)/255, with offsets v_i that are fixed
once for all. The base meets, for each pixel, the mean of the ends of the interval that holds it,
the ends clipped to [0, 1].
"""

import hashlib
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.question.norm import Norm

LEVELS = 255
"""Steps of the pixel grid from 0 to 1."""


def on_grid(x: Float32[Tensor, "*shape"]) -> Int64[Tensor, "*shape"] | None:
    """Count each pixel's steps from 0; None unless all are float32 images of grid points."""
    steps = (x.double() * LEVELS).round()
    inside = (steps >= 0) & (steps <= LEVELS)
    if not bool((inside & ((steps / LEVELS).float() == x)).all()):
        return None
    return steps.long()


def distance_to_grid(
    x: Float32[Tensor, "*shape"], pixels: Int64[Tensor, "*shape"], norm: Norm
) -> Fraction:
    """Bound the distance of a float32 image from its grid point; exact in ℓ1 and ℓ∞."""
    apart: dict[tuple[float, int], int] = {}
    for pair in zip(x.flatten().tolist(), pixels.flatten().tolist(), strict=True):
        apart[pair] = apart.get(pair, 0) + 1
    distances = {pair: abs(Fraction(pair[0]) - Fraction(pair[1], LEVELS)) for pair in apart}
    if norm is Norm.LINF:
        return max(distances.values(), default=Fraction(0))
    # The ℓ2 distance is at most the ℓ1 distance.
    return sum((number * distances[pair] for pair, number in apart.items()), Fraction(0))


@cache
def offsets(entries: int, splits: int) -> Int64[Tensor, " entries"]:
    """Make the fixed offsets v of all pixels, uniform in 0 to `splits` - 1.

    They belong to the definition of the smoothed network, so they depend on nothing else: words of
    a counter-based generator (Philox) with a key of its own.
    """
    key = hashlib.sha256(b"certboard splitting noise, offsets").digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(entries)
    return torch.tensor([int(word) * splits >> 64 for word in words])


def noisy_inputs(
    pixels: Int64[Tensor, "*shape"], splits: int, numbers: Int64[Tensor, " rows"]
) -> Float32[Tensor, "rows *shape"]:
    """Make the inputs that the base meets in the splits of these numbers.

    In quarters of steps all is whole: a cut is at s = 4·((t + v) mod L) + 2, the interval around
    the pixel ends at cuts `low` < pixel < `low` + 4L, and the mean of the clipped ends is made
    float64, divided and rounded to float32 once.
    """
    return noisy_rows(pixels.reshape(1, -1), splits, numbers).reshape(-1, *pixels.shape)


def noisy_rows(
    pixels: Int64[Tensor, "#rows entries"], splits: int, numbers: Int64[Tensor, " rows"]
) -> Float32[Tensor, "rows entries"]:
    """Make what the base meets of each row of pixels in the split of its number."""
    fixed = offsets(pixels.shape[1], splits).to(pixels.device)
    cuts = 4 * ((numbers[:, None] + fixed) % splits) + 2
    low = cuts + 4 * splits * torch.div(4 * pixels - cuts, 4 * splits, rounding_mode="floor")
    high = low + 4 * splits
    ends = low.clamp(min=0) + high.clamp(max=4 * LEVELS)
    return (ends.double() / (8 * LEVELS)).float()
