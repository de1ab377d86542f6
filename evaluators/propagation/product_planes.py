"""Planes below and above products: McCormick's (1976), two and two mixed as each product asks.

Of a = m + r·x and b = n + s·y, with x and y in [-1, 1], the product is n·a + m·b - m·n + r·s·x·y.
Two planes lie below x·y, x + y - 1 and -x - y - 1, and two above, x - y + 1 and y - x + 1. So
do all their mixes, for any tilt t in [-1, 1]:

    t·(x + y) - 1 <= x·y <= t·(x - y) + 1

In the middle of the box all are equally far from the product. The tilts change the coefficients,
n + t·s of a and m ± t·r of b: chosen are the least tilts that make |n + t·s|·r + |m ± t·r|·s, what
the factors may vary the plane by, as small as it can be. Halfway, at t = 0, the plane goes lower
than the product's own interval; so chosen it never does. Shi et al. (2020, arXiv 2002.06622)
take one of the two planes everywhere.

Rounding: a coefficient n + t·s takes two operations, and is off by at most 3u·(|n| + s), within
`coefficients`; the constant sums four terms of at most |m|·|n| + s·|m| + r·|n| together, within
`height`, in at most five operations.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.rounding import UNDERFLOW


class ProductPlane(NamedTuple):
    """A plane first·a + second·b + constant, each `[batch, *shape]`."""

    first: Tensor
    second: Tensor
    constant: Tensor


class ProductPlanes(NamedTuple):
    """Planes that a product is above and below, up to the product of its factors' radii.

    Attributes:
        sides: the planes below and above, without that distance; or one that the product is equal
            to, but for what a walk keeps as variables.
        coefficients: at least |m| + r, which b takes, and |n| + s, which a takes, `[batch]` each,
            in the order of a and b.
        height: at least |m|·|n| + s·|m| + r·|n|, `[batch]`.
    """

    sides: tuple[ProductPlane, ...]
    coefficients: tuple[Tensor, Tensor]
    height: Tensor


def product_planes(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> ProductPlanes:
    """The planes of factors within a radius around a middle, `[batch, *shape]` each."""
    (m, r), (n, s) = first, second

    def plane(sign: float) -> ProductPlane:
        t = tilt(n / s, sign * m / r)
        return ProductPlane(n + t * s, m + sign * t * r, -(m * n) - t * (s * m + sign * (r * n)))

    height = m.abs() * n.abs() + s * m.abs() + r * n.abs()
    sizes = [(size.flatten(1).amax(1) + UNDERFLOW) for size in (n.abs() + s, m.abs() + r, height)]
    return ProductPlanes((plane(1.0), plane(-1.0)), (sizes[0], sizes[1]), sizes[2])


def middle_plane(m: Tensor, n: Tensor) -> ProductPlanes:
    """The plane n·a + m·b - m·n, which is less than a product by that of its factors' changes."""
    sizes = [part.abs().flatten(1).amax(1) + UNDERFLOW for part in (n, m, m.abs() * n.abs())]
    return ProductPlanes((ProductPlane(n, m, -(m * n)),), (sizes[0], sizes[1]), sizes[2])


def tilt(p: Tensor, q: Tensor) -> Tensor:
    """The least t in [-1, 1] with the least |p + t| + |q + t|; zero where these are no numbers."""
    size = torch.minimum(p.abs(), q.abs()).clamp(max=1)
    least = torch.where(p.sign() == q.sign(), -p.sign() * size, 0.0)
    return least.nan_to_num(0.0)
