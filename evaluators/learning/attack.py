"""Adversarial points to learn from: few, cheap steps that need not succeed.

Whether a network can be broken is a question for the attacks of `evaluators/falsification`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.propagation.intervals import Interval


@dataclass(frozen=True)
class Steps:
    """How an ℓ∞ ball is searched.

    Attributes:
        number: of gradient steps.
        length: of each, as a share of the box's half-width.
    """

    number: int = 8
    length: float = 0.25


def attacked(
    logits: Callable[[Tensor], Tensor],
    box: Interval,
    labels: Tensor,
    steps: Steps,
    generator: torch.Generator,
) -> Tensor:
    """Climb the cross-entropy by signs of gradients, from a random point of a box (Madry et al.).

    Nothing is remembered for derivatives by weights (arXiv 1706.06083).
    """
    wide = box.upper - box.lower
    draws = torch.rand(wide.shape, generator=generator, device=wide.device)
    point = box.lower + wide * draws
    for _ in range(steps.number):
        point.requires_grad_()
        loss = F.cross_entropy(logits(point), labels)
        (gradient,) = torch.autograd.grad(loss, point)
        moved = point.detach() + steps.length / 2 * wide * gradient.sign()
        point = moved.clamp(box.lower, box.upper)
    return point.detach()
