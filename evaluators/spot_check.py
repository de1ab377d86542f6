"""Certified regions, tried where the model is deployed: one disagreement withdraws an evaluation.

A proof is about the imported network and every float32 run of it. Here the submitted file itself is
run in onnxruntime, at points of each certified region that were not known when it was submitted:
random corners, where the margin falls steepest, where short attacks end, and where the relaxation
of a few examples is least. At each, the computed margin must be at least what was proved. Where it
is not, something that every proof trusts does not hold, and none of them counts.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from evaluators.falsification.pgd import PGD
from evaluators.network.network import Network
from evaluators.propagation.backward import planes_below
from evaluators.propagation.linear_bounds import interval_relaxation, margin_rows
from evaluators.question.float_region import FloatRegion
from evaluators.question.problem import Problem
from evaluators.question.verdict import Deployment, Status, Verdict

RELAXED = 4
"""Examples of a batch whose relaxation is asked for its least point."""
STEPS = 3
"""Of the attack from a corner."""


def disagreement(problem: Problem, verdicts: Sequence[Verdict], salt: str) -> str:
    """What the deployed model computes other than was proved; empty where nothing was found.

    Args:
        problem: the questions; of a network that was read from a file.
        verdicts: the answers.
        salt: of the random points, so that they can be drawn again.
    """
    network = problem.network
    rows = [
        row
        for row, verdict in enumerate(verdicts)
        if verdict.status is Status.CERTIFIED and verdict.deployment is Deployment.FLOAT32
    ]
    if not isinstance(network, Network) or network.runtime is None or not rows:
        return ""
    part, proved = problem.select(rows), [verdicts[row].margin or 0.0 for row in rows]
    for name, points in _points(part, salt).items():
        for row, point in enumerate(points[: len(rows)]):
            x, label = point.detach().cpu().float().numpy(), int(part.labels[row])
            logits = network.runtime(np.ascontiguousarray(x)).reshape(-1).astype(np.float64)
            # Infinite ones have no difference; NaN is not at least anything.
            with np.errstate(invalid="ignore"):
                margin = logits[label] - np.delete(logits, label).max()
            if not margin >= proved[row]:
                return (
                    f"example {part.examples[row]}: a margin of {proved[row]:.9g} was proved, but"
                    f" onnxruntime computes {margin:.9g} at {name} of the region (salt {salt})"
                )
    return ""


def _points(problem: Problem, salt: str) -> dict[str, Tensor]:
    """Points of each example's region, `[examples, *shape]` in float32, by what they are."""
    region = FloatRegion(problem.region, problem.x)
    corner = region.project(_corners(problem, region, salt))
    steepest = region.project(problem.x + region.descent(_slopes(problem, problem.x)))
    attacked = corner
    for _ in range(STEPS):
        moved = region.descent(_slopes(problem, attacked)) * PGD.step
        attacked = region.project(attacked + moved)
    return {
        "the center": problem.x,
        "a random corner": corner,
        "the steepest corner": steepest,
        "the end of an attack": attacked,
        "the least point of its relaxation": _relaxed(problem),
    }


def _corners(problem: Problem, region: FloatRegion, salt: str) -> Tensor:
    """Signs that nobody can foresee, times the reach of each region."""
    corners = []
    for example in problem.examples:
        key = hashlib.sha256(f"{salt} corner {example}".encode()).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
        signs = generator.integers(0, 2, problem.x.shape[1:]) * 2 - 1
        corners.append(torch.from_numpy(signs).float())
    return region.middle + torch.stack(corners).to(problem.x.device) * region.reach


def _slopes(problem: Problem, points: Tensor) -> Tensor:
    """Gradients of the margins at points of the regions."""
    assert isinstance(problem.network, Network)
    network = problem.network.to(torch.float32, points.device)
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        logits = network(points)
        own = logits.gather(1, problem.labels[:, None])[:, 0]
        others = logits.scatter(1, problem.labels[:, None], -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad((own - others).sum(), points)
    return gradient


def _relaxed(problem: Problem) -> Tensor:
    """Where the planes below the margins of the first examples are least."""
    part = problem.select(range(min(RELAXED, len(problem))))
    assert isinstance(part.network, Network)
    with torch.no_grad():
        relaxed = interval_relaxation(part)
        rows = margin_rows(part.labels, part.network.classes).mean(1, keepdim=True)
        last, every = len(part.network.nodes) - 1, torch.arange(len(part), device=part.x.device)
        planes = planes_below(relaxed, last, rows, every).slopes[:, 0].float()
        region = FloatRegion(part.region, part.x)
        return region.project(part.x + region.descent(planes))
