"""Derandomized smoothing with splitting noise, exact, for ℓ1.

Levine and Feizi 2021 (arXiv 2103.10834).

The base f votes on each of the L splits of `noises/splitting.py`, and the smoothed network answers
with the class that wins most of them. Cuts lie halfway between pixel values, so at a real point it
is the network at the nearest point of the grid (halves go down).

A pixel that moves by k steps of 1/255 is cut off from where it was by at most k of the L splits. A
move of D steps in all changes at most D votes: the top class loses at most D, another gains at most
D (the paper's theorem, in whole votes). So the class cannot change while 2D is less than the
lead of the top class.

Here the ball is one of real numbers, unlike the paper's: a move of less than half a step changes
nothing, and one of half a step changes a whole step. Hence a real shift of ℓ1 size r moves the
nearest grid point by at most ⌊2·255·r⌋ steps; one of ℓ2 size r by at most ⌊(2·255·r)²⌋, as each
moved pixel costs at least 1/2 step and m steps at least m - 1/2; one of ℓ∞ size r by ⌊255·r + 1/2⌋
in each pixel. The radius for perturbations that stay on the grid, the paper's, is twice as large in
ℓ1; it is written into the note.

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
from evaluators.noises.splitting import LEVELS, distance_to_grid, noisy_inputs, on_grid
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
    only: ClassVar[str] = "splitting"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L1, Norm.L2, Norm.LINF)

    def solve(self, problem: Problem) -> list[Verdict]:
        """One example after the other."""
        network = problem.network
        assert isinstance(network, SmoothedNetwork)
        splits = 2 * LEVELS * network.scale
        note = ""
        if network.distribution != self.only:
            note = f"unsupported: the noise is {network.distribution}"
        elif splits.denominator != 1 or splits < 1:
            note = f"unsupported: 2·255·scale = {splits} is no whole number of splits"
        if note:
            return [Verdict(Status.UNKNOWN, None, note=note) for _ in range(len(problem))]
        return one_by_one(problem, partial(self._example, int(splits)))

    def _example(self, splits: int, problem: Problem) -> Verdict:
        network, x, label = problem.network, problem.x[0], int(problem.labels[0])
        assert isinstance(network, SmoothedNetwork)
        pixels = on_grid(x)
        if pixels is None:
            return Verdict(Status.UNKNOWN, None, note="not a multiple of 1/255 in every pixel")
        try:
            votes = count_splits(network, pixels, splits, problem.deadline())
        except OvertimeError:
            return Verdict(Status.UNKNOWN, None, note="timeout")
        prediction, steps = robust_steps(votes.tolist())
        if prediction is None:
            return Verdict(Status.UNKNOWN, None, note="abstained: the votes are tied")
        if prediction != label:
            return Verdict(Status.UNKNOWN, prediction, note=f"predicted {prediction}")
        asked, norm = problem.region.radius, problem.region.norm
        slack = distance_to_grid(x, pixels, norm)
        radius = real_radius(steps, norm, x.numel(), slack)
        note = f"on the pixel grid: l1 radius {steps}/{LEVELS}"
        if most_steps(asked + slack, norm, x.numel()) <= steps:
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
) -> Int64[Tensor, " classes"]:
    """How many splits vote for each class.

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
        noisy = noisy_inputs(pixels, splits, numbers)
        if noisy.dim() == 4:
            noisy = noisy.contiguous(memory_format=memory_format(base))
        votes += winners(forward(noisy)).sum(0)
    return votes


def robust_steps(votes: list[int]) -> tuple[int | None, int]:
    """The class of most votes, and how many steps of l1 cannot change it; None for a tie."""
    first, second = sorted([*votes, 0], reverse=True)[:2]
    if first <= second:
        return None, 0
    return votes.index(first), (first - second - 1) // 2


def most_steps(radius: Fraction, norm: Norm, dimension: int) -> int:
    """By how many steps in all a real shift of this size can move the nearest grid point."""
    halves = 2 * LEVELS * radius
    if norm is Norm.L1:
        return int(halves)
    if norm is Norm.L2:
        # Inside the ℓ1 ball of √d times the radius, too.
        return min(int(halves**2), isqrt(int(halves**2 * dimension)))
    return dimension * int((halves + 1) / 2)


def real_radius(steps: int, norm: Norm, dimension: int, slack: Fraction) -> Fraction:
    """The largest multiple of the resolution that moves the grid point by `steps` at most; or 0."""
    low, high = 0, (steps + 2) * RESOLUTION
    if most_steps(slack, norm, dimension) > steps:
        return Fraction(0)
    while high - low > 1:
        middle = (low + high) // 2
        if most_steps(Fraction(middle, RESOLUTION) + slack, norm, dimension) <= steps:
            low = middle
        else:
            high = middle
    return Fraction(low, RESOLUTION)
