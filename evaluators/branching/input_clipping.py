"""Boxes without the points that planes prove: what is left to split (Clip-and-Verify).

Below a margin lies a plane a·x + c over the whole box. Where it is positive, so is the margin; a
counterexample lies in the half-space where it is not, and each input's ends can be moved up to that
half-space (Zhou et al. 2025, arXiv 2512.11087, section 4, for inputs). A margin that is the largest
of several rows has a plane for each of them, and counterexamples lie in all of these half-spaces.
"""

from itertools import product

import torch
from torch import Tensor

from evaluators.network.elementwise import LeakyReLU
from evaluators.network.specification import PREFIX
from evaluators.numerics.rounding import UNIT
from evaluators.propagation.backward import Planes, planes_below
from evaluators.propagation.linear_bounds import margin_rows
from evaluators.propagation.relaxed import Relaxed

KEPT = 1e-12
"""Margin that all points have that are cut away."""

MOST_PLANES = 8
"""Planes of one margin."""

ROUNDS = 2
"""How often each plane cuts: what the others cut away makes it reach further."""


def margin_planes(relaxed: Relaxed, labels: Tensor) -> Planes:
    """Planes below all margins, `[parts, others, planes]`: one for each row that is a largest.

    A specification's margin is the largest of rows, max(a, b) = a + relu(b - a) pair by pair; with
    the lines 0 and z below these ReLUs, all of a level alike, the plane below it is that of
    one row. Any other lines would be as sound.
    """
    network = relaxed.network
    last = len(network.nodes) - 1
    rows, every = margin_rows(labels, network.classes), torch.arange(len(labels))
    tail = [
        place
        for place, node in enumerate(network.nodes)
        if isinstance(node.operation, LeakyReLU) and node.name.startswith(f"{PREFIX}/")
    ]
    if 2 ** len(tail) > MOST_PLANES:
        tail = []
    choices = (
        relaxed.with_slopes_below(dict(zip(tail, slopes, strict=True)))
        for slopes in product((0.0, 1.0), repeat=len(tail))
    )
    found = [planes_below(chosen, last, rows, every) for chosen in choices]
    return Planes(*(torch.stack(parts, 2) for parts in zip(*found, strict=True)))


def clipped(lower: Tensor, upper: Tensor, planes: Planes, open_: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest boxes found that hold every point where an open margin is at most `KEPT`.

    Args:
        lower, upper: of the boxes, `[parts, *shape]`.
        planes: below the margins over them.
        open_: the margins that are asked about, `[parts, others]`.

    Returns:
        Their ends; an end above the other where no point is left.
    """
    shape = (*open_.shape, -1)
    ends = [end.flatten(1)[:, None].expand(*shape).clone() for end in (lower, upper)]
    slopes, first = planes.slopes.flatten(3), tuple(ends)
    for _ in range(ROUNDS):
        for place in range(slopes.shape[2]):
            least = planes.least[:, :, place]
            ends = list(_cut(slopes[:, :, place], least, first, ends[0], ends[1]))
    left = open_ & ~(ends[0] > ends[1]).any(-1)
    low = ends[0].masked_fill(~left[..., None], torch.inf).amin(1)
    high = ends[1].masked_fill(~left[..., None], -torch.inf).amax(1)
    return low.reshape(lower.shape), high.reshape(upper.shape)


def _cut(
    slope: Tensor, least: Tensor, first: tuple[Tensor, ...], low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Move ends of boxes, `[parts, others, entries]`, to where one plane may be at most `KEPT`.

    Args:
        slope: of the plane, for each entry.
        least: at most the plane's least value over the first box, `[parts, others]`.
        first: that box, in which the box at hand lies.
        low, high: of the box at hand.
    """
    up, minus = slope > 0, slope < 0
    # All terms are at least zero, and are summed up to a relative error of less than this.
    less = 1 - 4 * (slope.shape[-1] + 4) * UNIT
    moved = torch.where(up, low - first[0], torch.where(minus, first[1] - high, 0.0))
    least = least + (slope.abs() * moved).sum(-1) * less
    # Twice, for what rounds here is far less than a margin of `KEPT`.
    gap = 2 * KEPT - least
    gap = torch.nextafter(gap, torch.full_like(gap, torch.inf))
    reach = gap[..., None] / slope.abs() * (1 + 8 * UNIT)
    highest = torch.nextafter(low + reach, low + torch.inf)
    lowest = torch.nextafter(high - reach, high - torch.inf)
    # A comparison with NaN is false, and leaves the end where it is.
    return (
        torch.where(minus & (lowest > low), lowest, low),
        torch.where(up & (highest < high), highest, high),
    )
