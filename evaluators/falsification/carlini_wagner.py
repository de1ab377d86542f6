"""Carlini and Wagner's attack: the nearest misclassified point, and whether it is near enough."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluators.attacks.losses import label_margins
from evaluators.attacks.restarts import RestartedAttack
from evaluators.evaluator import why_not_witness
from evaluators.network.network import Network
from evaluators.numerics.adam import Adam
from evaluators.numerics.deadline import Deadline
from evaluators.question.float_region import FloatRegion
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Box
from evaluators.question.verdict import Status, Verdict

BETWEEN_EXITS = 25
"""Steps between looks at who is broken, and at the clock."""


@dataclass(frozen=True)
class CarliniWagner(RestartedAttack):
    """The l2 attack of Carlini and Wagner (2017, arXiv 1608.04644, section VI-A).

    Minimises the squared distance from the example plus c times the margin where that is positive
    (loss f6, κ = 0), over points that a tanh keeps within their bounds, by Adam. The search for c
    multiplies it by ten until a point is misclassified, and then goes on between the largest c that
    found none and the smallest that found one. Any misclassified point of the ball ends the search;
    the nearest one outside the ball is moved onto it and tried as well.

    Differs from the paper: the bounds are those of the smallest box around the ball; distances
    count in units of the radius and margins in that of the example, so that the first c and the
    step size depend on no scale. Regions other than balls of l2 are answered with unknown.

    Guarantee: none for examples it does not break; it never certifies. A witness it gives is
    checked by the harness in exact arithmetic and in two precisions.
    Cost: `searches` x `steps` forward and backward passes in float32.

    Attributes:
        steps: of Adam for each c.
        searches: values of c that are tried.
        rate: Adam's, of the variable whose tanh is taken.
        first: the first c.
    """

    steps: int = 100
    searches: int = 5
    rate: float = 0.1
    first: float = 10.0

    title = "Carlini and Wagner's attack"
    node = "falsification"
    version = "1"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Attack balls of l2."""
        if isinstance(problem.region, Box) or problem.region.norm is not Norm.L2:
            note = "unsupported: the attack is one on balls of l2"
            return [Verdict(Status.UNKNOWN, None, note=note)] * len(problem)
        return super().solve(problem)

    def runs(self, _problem: Problem) -> int:
        """Nothing is drawn, so that a second run would be the first again."""
        return 1

    def run(self, problem: Problem, _run: int, deadline: Deadline) -> list[Tensor | None]:
        """Search for c."""
        witnesses: list[Tensor | None] = [None] * len(problem)
        weight = torch.full_like(problem.x.flatten(1)[:, 0], self.first)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for _ in range(self.searches):
            left = [row for row, witness in enumerate(witnesses) if witness is None]
            if not left or deadline.passed:
                break
            index = torch.tensor(left, device=weight.device)
            nearest = _Nearest(problem.select(left), weight[index])
            nearest.go(self, deadline)
            for row, witness in zip(left, nearest.witnesses, strict=True):
                witnesses[row] = witness
            tried, missed = weight[index], nearest.distance.isinf()
            low[index] = torch.where(missed, tried, low[index])
            high[index] = torch.where(missed, high[index], tried)
            weight = torch.where(high.isinf(), 10 * low, (low + high) / 2)
        return witnesses


@dataclass
class _Nearest:
    """The search for the nearest misclassified point of each example, with its c.

    Attributes:
        network: in float32.
        distance: of the nearest one met, in units of the radius; infinite while there is none.
        point: that point.
        witnesses: misclassified points in the ball.
    """

    problem: Problem
    weight: Tensor
    network: Network = field(init=False)
    region: FloatRegion = field(init=False)
    distance: Tensor = field(init=False)
    point: Tensor = field(init=False)
    witnesses: list[Tensor | None] = field(init=False)

    def __post_init__(self) -> None:
        x = self.problem.x
        assert isinstance(self.problem.network, Network)
        self.network = self.problem.network.for_search(x.device)
        self.region = FloatRegion(self.problem.region, x)
        self.distance, self.point = torch.full_like(self.weight, torch.inf), x
        self.witnesses = [None] * len(self.problem)

    def go(self, attack: CarliniWagner, deadline: Deadline) -> None:
        """Take the steps, and move the nearest point onto the ball at the end."""
        x, region = self.problem.x, self.region
        middle, half = (region.lower + region.upper) / 2, (region.upper - region.lower) / 2
        # Not quite the bounds: at them a tanh does not move any more.
        inside = ((x - middle) / half.clamp(min=1e-30)).clamp(-1 + 1e-6, 1 - 1e-6)
        free = inside.atanh()
        adam = Adam(free)
        unit = self._margins(x).abs().clamp(min=1e-30)
        for index in range(attack.steps):
            free.requires_grad_(True)
            point = middle + half * free.tanh()
            margin = self._margins(point)
            distance = ((point - x).flatten(1).square().sum(1)) / self.region.radius**2
            self._keep(point.detach(), margin.detach(), distance.detach().sqrt())
            if index % BETWEEN_EXITS == 0 and (deadline.passed or None not in self.witnesses):
                return
            objective = distance + self.weight * (margin / unit).clamp(min=0)
            (gradient,) = torch.autograd.grad(objective.sum(), free)
            free = free.detach() - attack.rate * adam.step(gradient)
        with torch.no_grad():
            moved = region.project(self.point)
            self._keep(moved, self._margins(moved), torch.zeros_like(self.distance))

    def _margins(self, point: Tensor) -> Tensor:
        return label_margins(self.network(point), self.problem.labels)

    def _keep(self, point: Tensor, margin: Tensor, distance: Tensor) -> None:
        """Remember misclassified points: of the ball as witnesses, others if they are nearest."""
        wrong = margin <= 0
        for row in (wrong & (distance <= 1)).nonzero()[:, 0].tolist():
            if self.witnesses[row] is None:
                witness = point[row].clone()
                if not why_not_witness(self.problem, row, witness):
                    self.witnesses[row] = witness
        nearer = wrong & (distance < self.distance)
        rows = nearer.reshape(-1, *(1,) * (point.dim() - 1))
        self.point = torch.where(rows, point, self.point)
        self.distance = torch.where(nearer, distance, self.distance)
