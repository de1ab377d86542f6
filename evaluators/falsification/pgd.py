"""Projected gradient descent: the attack that most witnesses come from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.attacks.losses import label_margins
from evaluators.attacks.restarts import RestartedAttack
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.question.float_region import FloatRegion
from evaluators.question.problem import Problem


@dataclass(frozen=True)
class PGD(RestartedAttack):
    """PGD with random restarts (Madry et al. 2018, arXiv 1706.06083) on the margin loss.

    Minimises the label's logit minus the largest other one (Carlini and Wagner 2017, loss f6) by
    steps of steepest descent for the norm: the gradient's sign for linf, its direction for l2, its
    largest entries for l1. The step shrinks linearly to a tenth. With momentum, the direction also
    includes the past gradients, each divided by its mean size (Dong et al. 2018, arXiv 1710.06081):
    this carries the descent across kinks at which plain steps would oscillate. The first run starts
    at the example itself, the others at random points of the region, drawn from the example's own
    random stream.

    Guarantee: none for examples it does not break; it never certifies. A witness it gives is
    checked by the harness in exact arithmetic and in two precisions.
    Cost: `restarts` x `steps` forward and backward passes in float32.

    Attributes:
        steps: gradient steps of one run.
        restarts: runs, the one from the example included.
        step: length of the first step as a share of the radius; in a box, of each entry's own
            half-width.
        momentum: what remains of the direction from step to step; 0 for the gradient alone.
    """

    steps: int = 40
    restarts: int = 3
    step: float = 0.25
    momentum: float = 0.75

    title = "Projected gradient descent"
    node = "falsification"
    version = "2"
    cascade = 10

    def runs(self, _problem: Problem) -> int:
        """The first run starts from the examples."""
        return self.restarts

    def run(self, problem: Problem, run: int, _deadline: Deadline) -> list[Tensor | None]:
        """Descend once."""
        return self.descend(problem, self.start(problem, run))

    def descend(self, problem: Problem, start: Tensor) -> list[Tensor | None]:
        """One descent from a point for each example; a misclassified point, if one was met."""
        assert isinstance(problem.network, Network)
        network = problem.network.for_search(problem.x.device)
        region = FloatRegion(problem.region, problem.x)
        point = region.project(start)
        witnesses: list[Tensor | None] = [None] * len(problem)
        direction = torch.zeros_like(point)
        for index in range(self.steps + 1):
            point = point.detach().requires_grad_(True)
            margin = label_margins(network(point), problem.labels)
            for row in (margin <= 0).nonzero()[:, 0].tolist():
                if witnesses[row] is None:
                    witnesses[row] = point[row].detach().clone()
            if index == self.steps or all(witness is not None for witness in witnesses):
                break
            (gradient,) = torch.autograd.grad(margin.sum(), point)
            length = self.step * (1 - 0.9 * index / self.steps)
            if self.momentum:
                gradient = direction = self.momentum * direction + _unit(gradient)
            with torch.no_grad():
                point = region.project(point + region.descent(gradient) * length)
        return witnesses


def _unit(gradient: Tensor) -> Tensor:
    """Each example's gradient with entries of mean size one."""
    sizes = gradient.abs().flatten(1).mean(1).clamp(min=1e-30)
    return gradient / sizes.reshape(-1, *(1,) * (gradient.dim() - 1))
