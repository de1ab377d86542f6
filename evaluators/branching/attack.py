"""A short attack from points that a search met."""

from collections.abc import Sequence

import torch
from torch import Tensor

from evaluators.evaluator import why_not_witness
from evaluators.falsification.pgd import PGD
from evaluators.network.network import Network
from evaluators.question.problem import Problem

POINTS = 8
"""Points of an example from which the attack goes on: the most promising ones."""

STEPS = 10


def falsify(problem: Problem, points: Sequence[Tensor]) -> list[Tensor | None]:
    """A checked witness for each example, where a short descent from one of its points finds one.

    Args:
        problem: the examples, which are attacked in one batch.
        points: for each, in its region or near it, `[points, inputs]` or `[points, *shape]`.
    """
    assert isinstance(problem.network, Network)
    device, shape = problem.x.device, problem.x.shape[1:]
    starts = [its.float().reshape(-1, *shape).to(device) for its in points]
    logits = problem.network.for_search(device)(torch.cat(starts))
    rows, near = list[int](), []
    for row, its in enumerate(torch.split(logits, [len(start) for start in starts])):
        label = int(problem.labels[row])
        others = torch.cat((its[:, :label], its[:, label + 1 :]), 1).amax(1)
        best = (its[:, label] - others).argsort()[:POINTS]
        rows += [row] * len(best)
        near.append(starts[row][best])
    with torch.enable_grad():
        witnesses = PGD(steps=STEPS).descend(problem.select(rows), torch.cat(near))
    found: list[Tensor | None] = [None] * len(problem)
    for row, witness in zip(rows, witnesses, strict=True):
        if found[row] is None and not why_not_witness(problem, row, witness):
            found[row] = witness
    return found
