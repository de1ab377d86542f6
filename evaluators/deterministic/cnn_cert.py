"""CNN-Cert: linear bounds with planes of their own for max-pooling."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.evaluator import Evaluator
from evaluators.network.network import MaxPool
from evaluators.numerics.rounding import UNDERFLOW, down, gamma, up
from evaluators.propagation.intervals import Interval
from evaluators.propagation.relaxation import (
    PoolPlanes,
    Relaxation,
    Windows,
    adaptive_slopes,
    parallel_slopes,
)
from evaluators.propagation.verdicts import propagate_back
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


def balanced_planes(pool: MaxPool, interval: Interval) -> PoolPlanes:
    """The paper's planes: parallel, with weights that let no input of the window stand out.

    Over the inputs S that can be the largest, u_i >= max l, weights are w_i = (u_i - γ)/(u_i - l_i)
    with γ = (Σ u_i/(u_i - l_i) - 1) / Σ 1/(u_i - l_i), kept within [max l, min u]. With G = Σ w_i,

        Σ w_i (z_i - η) + η  <=  max z  <=  Σ w_i (z_i - l_i) + γ,

    η the least l_i where G <= 1, else the largest u_i. Above: the largest, z_i, satisfies
    w_i (z_i - l_i) + γ >= z_i at both ends of its interval, and no other term is negative. Below:
    Σ w_i z_i <= G max z, and (1 - G) max z >= (1 - G) η.
    """
    place, lower, upper = Windows.of(pool, interval)
    padding = pool.windows.to(lower.device) < 0
    largest = lower.amax(2, keepdim=True)
    rivals = ~(upper < largest) & ~padding
    weight = _weights(lower, upper, largest, rivals)
    # Outside the padding every input counts: 0 stands for -inf, and has weight 0.
    lower, upper = (bound.masked_fill(padding, 0.0) for bound in (lower, upper))
    share = (weight * lower).sum(2)
    over = (upper - weight * (upper - lower)).masked_fill(padding, -torch.inf).amax(2)
    total = weight.sum(2)
    least = lower.masked_fill(~rivals, torch.inf).amin(2)
    most = upper.masked_fill(~rivals, -torch.inf).amax(2)
    under = torch.where(total <= 1, least, most) * (1 - total)
    # Every term of these sums is at most `size` in magnitude, and there are fewer than twice as
    # many as inputs; the same for the other η, if the rounding of G chose the wrong one.
    size = (lower.abs() + upper.abs()).sum(2) * (1 + total)
    error = up(size * (4 * gamma(place.shape[1] + 8)) + UNDERFLOW)
    places = place.expand(len(lower), -1, -1)
    return PoolPlanes(places, weight, down(under - error), weight, up(up(over - share) + error))


def _weights(lower: Tensor, upper: Tensor, largest: Tensor, rivals: Tensor) -> Tensor:
    """w_i in [0, 1], zero but for rivals; rivals that are points share what the others leave."""
    width = upper - lower
    point = rivals & (width == 0)
    slope = torch.where(rivals & ~point, 1 / width, 0.0)
    rival_upper = torch.where(rivals, upper, torch.inf)
    scaled = torch.where(rivals & ~point, upper / width, 0.0)
    level = (scaled.sum(2, keepdim=True) - 1) / slope.sum(2, keepdim=True)
    # Overflowing or without a wide rival the quotient is no number; any level is as sound.
    level = torch.where(torch.isfinite(level), level, largest)
    level = torch.minimum(torch.maximum(level, largest), rival_upper.amin(2, keepdim=True))
    weight = torch.where(rivals & ~point, (upper - level) / width, 0.0).clamp(0, 1)
    left = (1 - weight.sum(2, keepdim=True)).clamp(min=0)
    return torch.where(point, left / point.sum(2, keepdim=True).clamp(min=1), weight)


@dataclass(frozen=True)
class CNNCert(Evaluator):
    """CNN-Cert (Boopathy et al. 2019, AAAI, arXiv 1811.12395, section 3).

    Linear bounds of every layer are propagated back to the input; convolutions stay convolutions,
    as everywhere in certboard. For a ReLU, either the lower line is adaptive, with slope 0 or 1
    ("CNN-Cert-Ada", the default), or both lines are parallel ("CNN-Cert-Relu", Fast-Lin's). The
    lines of sigmoid and tanh are CROWN's. Without max-pooling, the margins are therefore `crown`'s,
    or on ReLUs `fast-lin`'s; max-pooling is bounded by the planes of `balanced_planes`.

    Differs from the paper: leaky ReLUs are allowed. Every bound is, elementwise, the better of this
    one and interval propagation's; where the pixel range cuts the ball, the cut is used; and the
    inputs of max-pooling are bounded by linear bounds, too, not only through the ReLU before it.
    Because lines depend on intervals, margins may differ from the paper's; as a rule they are
    larger.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: that of CROWN.

    Attributes:
        adaptive: whether the line below a ReLU is adaptive rather than parallel to the chord.
    """

    title = "CNN-Cert"
    node = "polyhedra"
    version = "4"

    adaptive: bool = True

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of the batch at once."""
        slopes = adaptive_slopes if self.adaptive else parallel_slopes
        return propagate_back(problem, Relaxation(slopes, balanced_planes))
