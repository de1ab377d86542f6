"""SDP-CROWN: backward linear bounds that know the ball that a layer's neurons share."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluators.deterministic.alpha_crown import INTERMEDIATE
from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import Reach
from evaluators.lipschitz.lengths import PAD, length
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.propagation.coupling import NodeBall
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import Balls, linear_relaxation, margins
from evaluators.propagation.relaxation import ADAPTIVE
from evaluators.propagation.relaxed import Relaxed
from evaluators.propagation.verdicts import BATCH, in_batches, verdicts
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Verdict
from evaluators.unrolled.coupled import Coupled
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem


@dataclass(frozen=True)
class SdpCROWN(Evaluator):
    """SDP-CROWN (Chiu et al. 2025, arXiv 2506.06665, theorem 1).

    In a ball of l2 the neurons of a layer lie in a ball, too, around their values at the example:
    the input's radius times the proved Lipschitz constant up to the layer. A row's lines lie below
    its ReLUs if they do so in that ball and in the box of the neurons' bounds, and may lie higher
    than if each had to lie below its own ReLU alone (`propagation/coupling.py`). CROWN's lines are
    tried first. Where they leave an example open, its network is unrolled to its unstable neurons,
    whose ball is smaller (`unrolled/coupled.py`), and an ascent chooses the slopes of both lines
    and the balls' multipliers for each margin; neurons' bounds then are α-CROWN's, too.

    Differs from the paper: the box stays in the inequality, and balls are local. A ball of l1 is
    enclosed in a ball of l2. In l∞, and for other functions than (leaky) ReLU, it is CROWN;
    max-pooling is written with ReLUs.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). Any slopes and multipliers prove a bound; it is computed
    with them in float64 and lowered by its rounding error.
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: that of CROWN, and some passes over each row's coefficients at every layer; that of
    α-CROWN for examples that this leaves open, unless there are no steps.

    Attributes:
        steps: of the ascent for the margins; none for CROWN's slopes alone.
        intermediate_steps: of the ascents for the bounds of neurons.
    """

    steps: int = 40
    intermediate_steps: int = 8

    title = "SDP-CROWN"
    node = "sdp"
    version = "6"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of the batch at once, then those that are left one by one."""

        def bound(part: Problem) -> list[Verdict]:
            assert isinstance(part.network, Network)
            part = replace(part, network=without_max_pools(part.network), evidence=False)
            balls = balls_of(part)
            relaxed = linear_relaxation(part, ADAPTIVE, balls)
            found = margins(relaxed, part.labels, to_input=True)
            for row in (~(found > 0).all(1)).nonzero()[:, 0].tolist() if balls else []:
                better = self._ascend(part.select([row]), _of_one(relaxed, balls, row))
                found[row] = torch.fmax(found[row], better.to(found))
            return verdicts(part, found)

        return in_batches(problem, BATCH, bound)

    def _ascend(self, one: Problem, known: tuple[dict[int, Interval], Balls]) -> Tensor:
        """Margins of one example with better slopes, `[others]`; NaN where there are none."""
        bounds, balls = known
        none = torch.full((one.classes - 1,), torch.nan, dtype=torch.float64)
        finite = all(bool(torch.isfinite(ball.radius).all()) for ball in balls.values())
        if not self.steps or not finite:
            return none
        deadline, rates = one.deadline(), replace(INTERMEDIATE, steps=self.intermediate_steps)
        try:
            around = UnrolledProblem.of(one, rates, deadline, known=bounds)
        except UnrollingError:
            return none
        if not bool(around.lines.optimizable.all()):
            return none
        coupled = Coupled(around, balls)
        return coupled.prove(coupled.ascend(self.steps, deadline))


def _of_one(relaxed: Relaxed, balls: Balls, row: int) -> tuple[dict[int, Interval], Balls]:
    """One example's bounds and balls, by position, where unrolling works: on the CPU."""
    own = slice(row, row + 1)
    known = {
        position: Interval(bounds.lower[own].cpu(), bounds.upper[own].cpu())
        for position, bounds in enumerate(relaxed.bounds)
    }
    return known, {at: NodeBall(*(part[own].cpu() for part in ball)) for at, ball in balls.items()}


def balls_of(problem: Problem) -> Balls:
    """The balls of l2 around the inputs of all (leaky) ReLUs; none in a region that is a box."""
    region = problem.region
    if not isinstance(region, Ball) or region.norm is Norm.LINF:
        return {}
    reach = Reach.of(replace(problem, region=replace(region, norm=Norm.L2)))
    balls = {}
    for node in reach.network.nodes:
        if isinstance(node.operation, LeakyReLU):
            (parent, *_) = node.parents
            lower, upper = reach.values[parent]
            middle = lower / 2 + upper / 2
            apart = (reach.moved[parent] + reach.lost[parent]) * PAD
            off = length(upper - lower, Norm.L2)
            balls[parent] = NodeBall(middle, (apart + off) * PAD, off)
    return balls
