"""Derandomized smoothing with splitting noise, exact, for ℓ1.

Levine and Feizi 2021 (arXiv 2103.10834).

The base f votes on each of the L splits of `noises/splitting.py`, and the smoothed network answers
with the class that wins most of them, at every real point: c cuts lie between neighbouring pixel
values, at equal distances, and a split changes only where a pixel crosses a cut.

Each cut is of one split, so where pixels cross D cuts in all, at most D votes change: the top class
loses at most D, another gains at most D (the paper's theorem, in whole votes). So the class cannot
change while 2D is less than the lead of the top class.

Here the ball is one of real numbers, unlike the paper's, around an image of the grid. Let a pixel
move by q/(c + 1) steps of 1/255, q real: its first cut is crossed at q = 1, then one at each whole
q but the multiples of c + 1, where pixel values lie. These are n - ⌊n/(c + 1)⌋ cuts, n = ⌊q⌋, and
at most n. Hence a real shift of ℓ1 size r crosses at most ⌊(c + 1)·255·r⌋ cuts in all; one of ℓ2
size r at most ⌊((c + 1)·255·r)²⌋, as n ≤ n² (and not more than one in ℓ1 of √d times its size, for
d pixels); one of ℓ∞ size r in each pixel n - ⌊n/(c + 1)⌋ with n = ⌊(c + 1)·255·r⌋.

Shifts that stay on the grid, the paper's, cross c cuts with each step. Their radius in ℓ1 is larger
by the factor (c + 1)/c, which is 2 with one cut between pixel values and 3/2 with two; it is
written into the note.

Guarantee: the smoothed network gives the prediction everywhere in the ball, with certainty. Votes
are counted over all splits, what follows is integer and rational arithmetic. A tie never certifies;
neither does an example that is not the float32 image of a grid point. That image's distance from
the grid point is added to the radius.

Trusted: that the base answers an input as it was run here (float32, this device, in blocks of
noisy inputs): the votes are counted, not bounded. No class where the top logit is tied or one is
not finite.

Cost: L forward passes for each example.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import isqrt
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from evaluators.evaluator import Evaluator, one_by_one
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.noises.splitting import (
    CUTS,
    LEVELS,
    distance_to_grid,
    noisy_inputs,
    on_grid,
    splits_of,
)
from evaluators.numerics.deadline import Deadline
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.sampling.block import OvertimeError, block_size, winners
from evaluators.sampling.forward import fast_forward, memory_format, plain_float32
from evaluators.smoothing.balls import RESOLUTION


@dataclass(frozen=True)
class SplittingNoise(Evaluator):
    """Counts the votes of all splits."""

    title = "Derandomized smoothing, splitting noise"
    node = "smoothed-networks/lipschitz"
    version = "1"
    accepts = SmoothedNetwork
    noises: ClassVar[tuple[str, ...]] = tuple(CUTS)
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L1, Norm.L2, Norm.LINF)

    def solve(self, problem: Problem) -> list[Verdict]:
        """One example after the other."""
        network = problem.network
        assert isinstance(network, SmoothedNetwork)
        note = self._unsupported(network)
        if note:
            return [Verdict(Status.UNKNOWN, None, note=note) for _ in range(len(problem))]
        splits = int(splits_of(network.distribution, network.scale))
        return one_by_one(problem, partial(self._example, splits, CUTS[network.distribution]))

    def _unsupported(self, network: SmoothedNetwork) -> str:
        if network.distribution not in self.noises:
            return f"unsupported: the noise is {network.distribution}"
        steps = 2 * LEVELS * network.scale
        if steps.denominator != 1 or steps < 1:
            return f"unsupported: 2·255·scale = {steps} is no whole number of steps"
        return ""

    def _example(self, splits: int, cuts: int, problem: Problem) -> Verdict:
        network, x, label = problem.network, problem.x[0], int(problem.labels[0])
        assert isinstance(network, SmoothedNetwork)
        pixels = on_grid(x)
        if pixels is None:
            return Verdict(Status.UNKNOWN, None, note="not a multiple of 1/255 in every pixel")
        try:
            votes = count_splits(network, pixels, splits, problem.deadline(), cuts)
        except OvertimeError:
            return Verdict(Status.UNKNOWN, None, note="timeout")
        prediction, crossings = robust_crossings(votes.tolist())
        if prediction is None:
            return Verdict(Status.UNKNOWN, None, note="abstained: the votes are tied")
        if prediction != label:
            return Verdict(Status.UNKNOWN, prediction, note=f"predicted {prediction}")
        asked, norm = problem.region.radius, problem.region.norm
        slack = distance_to_grid(x, pixels, norm)
        radius = real_radius(crossings, norm, x.numel(), slack, cuts)
        note = f"on the pixel grid: l1 radius {crossings}/{cuts * LEVELS}"
        if most_crossings(asked + slack, norm, x.numel(), cuts) <= crossings:
            return Verdict(Status.CERTIFIED, prediction, max(radius, asked), note=note)
        below = f"radius {float(radius):.6g} is below {float(asked):.6g}"
        return Verdict(Status.UNKNOWN, prediction, radius, note=f"{below}; {note}")


@torch.inference_mode()
@plain_float32()
def count_splits(
    network: SmoothedNetwork,
    pixels: Int64[Tensor, "*shape"],
    splits: int,
    deadline: Deadline | None = None,
    cuts: int = 1,
) -> Int64[Tensor, " classes"]:
    """How many splits vote for each class.

    Args:
        splits: L, of which `cuts` lie between neighbouring pixel values.

    Raises:
        OvertimeError: the deadline has passed.
    """
    base = network.base.to(torch.float32, pixels.device)
    forward, rows = fast_forward(base), block_size(base, pixels.device)
    votes = torch.zeros(network.classes, dtype=torch.int64, device=pixels.device)
    for first in range(0, splits, rows):
        if deadline is not None and deadline.passed:
            raise OvertimeError
        numbers = torch.arange(first, min(first + rows, splits), device=pixels.device)
        noisy = noisy_inputs(pixels, splits, numbers, cuts)
        if noisy.dim() == 4:
            noisy = noisy.contiguous(memory_format=memory_format(base))
        votes += winners(forward(noisy)).sum(0)
    return votes


def robust_crossings(votes: list[int]) -> tuple[int | None, int]:
    """The class of most votes, and how many crossed cuts cannot change it; None for a tie."""
    first, second = sorted([*votes, 0], reverse=True)[:2]
    if first <= second:
        return None, 0
    return votes.index(first), (first - second - 1) // 2


def most_crossings(radius: Fraction, norm: Norm, dimension: int, cuts: int = 1) -> int:
    """How many cuts a real shift of this size from a grid point can cross, in all pixels.

    Args:
        radius: the size, in units of the pixel range.
        dimension: the number of pixels.
        cuts: how many lie between neighbouring pixel values.
    """
    parts = (cuts + 1) * LEVELS * radius
    if norm is Norm.L1:
        return int(parts)
    if norm is Norm.L2:
        # Inside the ℓ1 ball of √d times the radius, too.
        return min(int(parts**2), isqrt(int(parts**2 * dimension)))
    return dimension * (int(parts) - int(parts) // (cuts + 1))


def real_radius(
    crossings: int, norm: Norm, dimension: int, slack: Fraction, cuts: int = 1
) -> Fraction:
    """The largest multiple of the resolution with which `crossings` cuts are crossed at most.

    Args:
        slack: the example's distance from its grid point; where it alone crosses more, 0.
    """
    low, high = 0, (crossings + 2) * RESOLUTION
    if most_crossings(slack, norm, dimension, cuts) > crossings:
        return Fraction(0)
    while high - low > 1:
        middle = (low + high) // 2
        shift = Fraction(middle, RESOLUTION) + slack
        if most_crossings(shift, norm, dimension, cuts) <= crossings:
            low = middle
        else:
            high = middle
    return Fraction(low, RESOLUTION)
