"""Shadow Attack: a smooth change after which a model certifies the wrong class.

It breaks no certificate. The changed image lies outside the ball around the example, and the
certificate that it gets is a true one: of the wrong class, for the ball around the changed image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.learning.bounds import box_around, worst_logits
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.noises import distributions
from evaluators.numerics.adam import Adam
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.sampling.noise import GRAIN, NoiseStream

Images = Float32[Tensor, "batch channel height width"]
Classes = Int64[Tensor, " batch"]
LossValues = Float32[Tensor, " batch"]
Spoofing = Callable[[Images, Classes, int], LossValues]
"""Of images, the classes that they are to be taken for, and the number of the step."""


@dataclass(frozen=True)
class Shadow:
    """The attack of Ghiasi, Shafahi and Goldstein (2020, arXiv 2003.08937, equations 2 to 6).

    Minimises, by Adam over a change δ that is kept within the pixel range,

        loss + smoothness · TV(δ) + darkness · Σ_c mean|δ_c|² + colour · Dissim(δ)

    The loss is of a wrong class: of a plain network, what its worst logit in the ℓ∞ ball around the
    changed image lacks, by intervals; of a smoothed one, the mean cross-entropy of noisy copies. TV
    is the mean square of differences of neighbouring pixels, Dissim that of differences between
    colours.

    Differs from the paper: means instead of sums, so that the weights do not depend on an image's
    size; a hinge instead of the cross-entropy of bounds; Adam; a few wrong classes are tried, those
    that the model itself finds most likely after the right one.

    Guarantee: none. Whether the changed images are certified is for an evaluator to say.
    Cost: `targets` x `steps` forward and backward passes, of 16 noisy copies for a smoothed one.

    Attributes:
        steps: of Adam.
        rate: Adam's.
        smoothness, darkness, colour: weights of the penalties.
        targets: wrong classes that are tried; the one with the least loss stays.
    """

    steps: int = 200
    rate: float = 0.02
    smoothness: float = 300.0
    darkness: float = 10.0
    colour: float = 10.0
    targets: int = 3

    def __call__(self, problem: Problem) -> tuple[Images, Classes]:
        """Return the changed images and the wrong classes that they are meant to be taken for.

        Raises:
            ValueError: the model is a plain one and the region no ℓ∞ ball, or noise of a kind that
                is not added.
        """
        loss, order = self._loss(problem), _by_likelihood(problem)
        images, classes = problem.x, order[:, 0]
        least = torch.full_like(problem.x.flatten(1)[:, 0], torch.inf)
        for target in order[:, : self.targets].T:
            changed, value = self._changed(problem.x, target, loss)
            better = value < least
            images = torch.where(better.reshape(-1, *(1,) * (images.dim() - 1)), changed, images)
            classes, least = torch.where(better, target, classes), torch.minimum(value, least)
        return images, classes

    def _changed(self, x: Images, classes: Classes, loss: Spoofing) -> tuple[Images, LossValues]:
        """Images that are to be taken for these classes, and their losses without penalties."""
        change = torch.zeros_like(x)
        adam = Adam(change)
        for step in range(self.steps):
            change.requires_grad_(True)
            value = loss((x + change).clamp(0, 1), classes, step) + self._penalty(change)
            (gradient,) = torch.autograd.grad(value.sum(), change)
            change = change.detach() - self.rate * adam.step(gradient)
        images = (x + change).clamp(0, 1)
        with torch.no_grad():
            return images, loss(images, classes, self.steps)

    def _loss(self, problem: Problem) -> Spoofing:
        network, region = problem.network, problem.region
        if isinstance(network, SmoothedNetwork):
            if network.distribution not in distributions():
                raise ValueError(f"No copies can be drawn with {network.distribution} noise.")
            return _noisy(network, problem)
        if not isinstance(region, Ball) or region.norm is not Norm.LINF:
            raise ValueError("Plain networks are attacked in balls of linf only.")
        network = network.to(torch.float32, problem.x.device)
        return _bounded(network, problem, float(region.radius))

    def _penalty(self, change: Images) -> LossValues:
        """How far a change is from a faint, smooth, grey shadow."""
        steps = change.diff(dim=2), change.diff(dim=3)
        rough = sum(step.square().flatten(1).mean(1) for step in steps)
        dark = change.abs().flatten(2).mean(2).square().sum(1)
        coloured = (change - change.roll(1, 1)).square().flatten(1).mean(1)
        return self.smoothness * rough + self.darkness * dark + self.colour * coloured


def _by_likelihood(problem: Problem) -> Int64[Tensor, "batch classes"]:
    """The wrong classes, by what the model says without noise, the most likely one first."""
    network = problem.network
    base = network.base if isinstance(network, SmoothedNetwork) else network
    with torch.no_grad():
        logits = base.to(torch.float32, problem.x.device)(problem.x)
    wrong = logits.scatter(1, problem.labels[:, None], -torch.inf)
    return wrong.argsort(1, descending=True)[:, :-1]


def _bounded(network: Network, problem: Problem, radius: float) -> Spoofing:
    """How far the class is from certified in the ball, by intervals in float32.

    In units of the spread of each example's logits; 0 where it is certified with a tenth to spare.
    """
    with torch.no_grad():
        logits = network(problem.x)
    unit = (logits.amax(1) - logits.mean(1)).clamp(min=1e-30)

    def loss(images: Images, classes: Classes, _step: int) -> LossValues:
        worst = worst_logits(network, box_around(images, radius), classes)
        others = worst.scatter(1, classes[:, None], -torch.inf).amax(1)
        return 5 * (others / unit + 0.1).clamp(min=0)

    return loss


def _noisy(network: SmoothedNetwork, problem: Problem, copies: int = GRAIN) -> Spoofing:
    """The mean cross-entropy of noisy copies, from a stream that no certificate draws from."""
    base, scale = network.base.to(torch.float32, problem.x.device), float(network.scale)
    noise = distributions()[network.distribution]
    stream = NoiseStream(noise, network.input_shape, problem.seed, "shadow")

    def loss(images: Images, classes: Classes, step: int) -> LossValues:
        drawn = torch.from_numpy(stream.block(step * copies, copies)).to(images)
        logits = base((images[:, None] + scale * drawn).flatten(0, 1))
        each = F.cross_entropy(logits, classes.repeat_interleave(copies), reduction="none")
        return each.reshape(-1, copies).mean(1)

    return loss
