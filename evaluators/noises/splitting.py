"""Splitting noise (Levine and Feizi 2021, arXiv 2103.10834): L inputs in all, and none is random.

Pixels are multiples of 1/255. Between any two neighbouring ones lie c cuts, at equal distances:
one halfway (the paper's), or two, at thirds. With scale λ there are L = c·255·2λ of them in a
period of 2λ, L a whole number. Split t of L cuts the axis of pixel i at cut (t + v_i) mod L of each
period, with offsets v_i that are fixed once for all. The base meets, for each pixel, the mean of
the ends of the interval that holds it, the ends clipped to [0, 1].

Two cuts ask for twice the forward passes, and prove radii that are larger by a third
(`deterministic/splitting_noise.py`).
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

CUTS = {"splitting": 1, "splitting-thirds": 2}
"""How many cuts lie between neighbouring pixel values, by the name of the noise."""


def splits_of(noise: str, scale: Fraction) -> Fraction:
    """How many splits there are: L; no whole number where the scale does not fit."""
    return 2 * LEVELS * scale * CUTS[noise]


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
    pixels: Int64[Tensor, "*shape"], splits: int, numbers: Int64[Tensor, " rows"], cuts: int = 1
) -> Float32[Tensor, "rows *shape"]:
    """Make the inputs that the base meets in the splits of these numbers.

    With c cuts to a step all is whole in units of a (c + 1)-th of a step: cut u lies at
    (c + 1)·⌊u/c⌋ + (u mod c) + 1, the interval around the pixel ends at cuts `low` < pixel <
    `low` + (c + 1)·L/c, and the mean of the clipped ends is made float64, divided and rounded to
    float32 once.

    Args:
        splits: L, a multiple of c.
    """
    return noisy_rows(pixels.reshape(1, -1), splits, numbers, cuts).reshape(-1, *pixels.shape)


def noisy_rows(
    pixels: Int64[Tensor, "#rows entries"],
    splits: int,
    numbers: Int64[Tensor, " rows"],
    cuts: int = 1,
) -> Float32[Tensor, "rows entries"]:
    """Make what the base meets of each row of pixels in the split of its number."""
    parts = cuts + 1
    fixed = offsets(pixels.shape[1], splits).to(pixels.device)
    order, period = (numbers[:, None] + fixed) % splits, parts * (splits // cuts)
    cut = parts * torch.div(order, cuts, rounding_mode="floor") + order % cuts + 1
    low = cut + period * torch.div(parts * pixels - cut, period, rounding_mode="floor")
    ends = low.clamp(min=0) + (low + period).clamp(max=parts * LEVELS)
    return (ends.double() / (2 * parts * LEVELS)).float()
