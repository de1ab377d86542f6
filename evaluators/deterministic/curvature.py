"""Curvature certificates."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import Reach, apart
from evaluators.lipschitz.curvature import PAD, curvatures, smooth
from evaluators.lipschitz.gradients import Enclosure, gradients
from evaluators.lipschitz.lengths import SMALLEST
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.numerics.rounding import down, float_above, gamma
from evaluators.propagation.intervals import Interval, interval_bounds
from evaluators.propagation.linear_bounds import linear_relaxation, margin_rows
from evaluators.propagation.verdicts import verdicts
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict

SHORTER = 1 - 1e-6
"""Share of a step that is taken, so that its end is in the ball in spite of rounding."""


class _Place(NamedTuple):
    """A point for each row, in the region's box.

    Attributes:
        point, x: float64 `[rows, *shape]` and `[1, *shape]`.
        low, high: ends of the box, `[1, *shape]`.
        radius: of the ball.
    """

    point: Tensor
    x: Tensor
    low: Tensor
    high: Tensor
    radius: float

    @property
    def at_low(self) -> Tensor:
        """Which inputs are as low as they go, `[rows, inputs]`."""
        return (self.point <= self.low).flatten(1)

    @property
    def at_high(self) -> Tensor:
        """Which inputs are as high as they go, `[rows, inputs]`."""
        return (self.point >= self.high).flatten(1)


@dataclass(frozen=True)
class Curvature(Evaluator):
    """Curvature-based certificates (Singla and Feizi 2020, arXiv 2006.00731, theorem 1).

    If the Hessian of a margin m is at least -K, then m(x') + η/2 (‖x' - x‖² - r²) is convex for η
    >= K, at most m in the ball, and its least value is found by following the gradient. Where the
    point found is not exactly the minimiser, the remaining gradient says how much lower the minimum
    may be: by at most its squared length over 2 (η - K).

    Differs from the paper: K is bounded within the region, not everywhere, with intervals of
    derivatives (`lipschitz/curvature.py`), and for any graph of affine maps, sums, sigmoid and
    tanh; the dual variable η is not optimised beyond what puts the minimiser next to the sphere.
    Balls of linf and l1, and boxes, are enclosed in a ball of l2. Networks with ReLUs or
    max-pooling are answered with unknown, because they have no second derivatives.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64, PyTorch's sums of products, sines, and sigmoid and tanh to a few units in
    the last place; rounding is bounded.
    Cost: CROWN's bounds of neurons, and three backward passes for each margin and step.

    Attributes:
        steps: towards the least value.
    """

    steps: int = 8

    title = "Curvature"
    node = "curvature"
    version = "4"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        assert isinstance(problem.network, Network)
        if not smooth(without_max_pools(problem.network)):
            note = "unsupported: the method needs second derivatives, which ReLUs have not"
            return [Verdict(Status.UNKNOWN, None, note=note)] * len(problem)
        with torch.no_grad():
            return [self._solve(problem.select([row])) for row in range(len(problem))]

    def _solve(self, problem: Problem) -> Verdict:
        # Derivatives are bounded wherever points are tried: in a box, or in a ball of l2.
        inside, region = problem, problem.region
        if isinstance(region, Ball) and region.norm is Norm.L1:
            inside = replace(problem, region=replace(region, norm=Norm.L2))
        relaxed = linear_relaxation(inside)
        rows = margin_rows(problem.labels, problem.classes)
        bend = curvatures(relaxed.network, relaxed.bounds, rows)[0]
        found = self._least(relaxed.network, inside, rows[0], bend)
        lost = apart(Reach.of(problem), problem.labels, "lost")
        return verdicts(problem, down(found[None] - lost * PAD))[0]

    def _least(self, network: Network, problem: Problem, rows: Tensor, bend: Tensor) -> Tensor:
        """Bound each row from below over the region, in real arithmetic, `[rows]`."""
        x = problem.x.double()
        low, high = problem.region.hull(problem.x)
        place = _Place(x.expand(len(rows), *x.shape[1:]), x, low, high, _radius(problem))
        best = torch.full_like(bend, -torch.inf)
        for _ in range(self.steps):
            bounds = interval_bounds(network, place.point, place.point)
            found = gradients(network, bounds, rows[:, None])
            assert found is not None
            slope = Enclosure(*(part.flatten(1) for part in found))
            steepness = slope.middle.norm(dim=1)
            # The minimiser is next to the sphere, and the function convex enough to tell where.
            weight = torch.maximum(steepness / place.radius, 1.05 * bend + 1e-9 * steepness)
            weight = weight + SMALLEST
            best = torch.maximum(best, _bound(bounds[-1], rows, slope, place, weight, bend))
            step = (slope.middle * (SHORTER / weight)[:, None]).reshape(place.point.shape)
            place = place._replace(point=torch.minimum(torch.maximum(x - step, low), high))
        return best


def _radius(problem: Problem) -> float:
    """A radius of an l2 ball that holds the region."""
    entries = problem.x[0].numel()
    if isinstance(problem.region, Ball):
        radius = float_above(problem.region.radius)
        wider = math.sqrt(entries) if problem.region.norm is Norm.LINF else 1.0
        return radius * wider * PAD
    x, (low, high) = problem.x.double(), problem.region.hull(problem.x)
    return float(torch.maximum(high - x, x - low).norm()) * PAD + SMALLEST


def _bound(
    logits: Interval, rows: Tensor, slope: Enclosure, place: _Place, weight: Tensor, bend: Tensor
) -> Tensor:
    """Bound rows over the region by what holds at a point of it, `[rows]`.

    With F(x') = m(x') + weight/2 (‖x' - x‖² - r²), which is at most m in the ball and in the region
    convex by weight - bend, F(x') >= F(p) + ∇F(p)·(x' - p) + (weight - bend)/2 ‖x' - p‖². Where p
    is at an end of an input's range and F rises inwards, that input's term is not negative.
    """
    moved = (place.point - place.x).flatten(1)
    error = 2 * gamma(moved.shape[1] + 16)
    positive, negative = rows.clamp(min=0), rows.clamp(max=0)
    size = rows.abs() * torch.maximum(logits.lower.abs(), logits.upper.abs())
    here = (positive * logits.lower + negative * logits.upper).sum(1) - size.sum(1) * error
    square = (moved * moved).sum(1)
    lifted = weight / 2 * (square - place.radius**2)
    lifted = lifted - weight * (square + place.radius**2) * error
    full = slope.plus(Enclosure(weight[:, None] * moved, (weight[:, None] * moved).abs() * 1e-15))
    rising = place.at_low & (full.middle > full.radius)
    falling = place.at_high & (-full.middle > full.radius)
    rest = full.magnitude.masked_fill(rising | falling, 0.0)
    left = (rest * rest).sum(1) * (1 + error) + SMALLEST
    return down(here + lifted - left / (2 * (weight - bend)) * PAD)
