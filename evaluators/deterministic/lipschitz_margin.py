"""Margins over Lipschitz constants."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import Reach, apart, here, margins
from evaluators.lipschitz.one_run import OneRun
from evaluators.propagation.verdicts import in_batches, near_caches, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict

AT_ONCE = 4
"""Times as many examples in a run as in float64 near the caches: it keeps few values at a time."""

OPEN = "left to intervals"
"""Note of examples that one run alone does not decide."""


@dataclass(frozen=True)
class LipschitzMargin(Evaluator):
    """Lipschitz margin (Tsuzuku et al. 2018, arXiv 1802.04034), for networks built to have small
    Lipschitz constants.

    Within a ball, a node changes by at most its Lipschitz constant times the radius, in the ball's
    own norm; the label stays ahead as long as its margin is more than the two logits can change
    against each other. Constants are products along the graph. For l2 each dense layer and
    convolution has a proved bound of its spectral norm (`lipschitz/spectral.py`), residual blocks
    of 1-Lipschitz layers have one of their own (`lipschitz/blocks.py`), and a last dense layer
    counts with the difference of two rows; for l1 and linf operator norms are sums of absolute
    weights. Sorting and absolute values, as MaxMin, GroupSort and linf-distance neurons are made of
    them, are recognised in the graph (`lipschitz/passages.py`) and have the constant 1.

    Differs from the paper, which multiplies the constant of all logits by the square root of two,
    and estimates it by power iteration.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). Nothing that training promised of the weights is assumed:
    all constants are computed from the file.
    Trusted: IEEE float32 and float64, PyTorch's sums of products and its sines; rounding is
    bounded.
    Cost: two bounds of each operator of a network, once; one float32 forward pass and some norms
    (`lipschitz/one_run.py`); and about three passes in float64 for margins that are as near to
    zero as what runs may lose.
    """

    title = "Lipschitz margin"
    node = "smooth-layers"
    version = "5"
    cascade = 8

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of a batch at once."""

        with torch.no_grad():
            found = in_batches(problem, AT_ONCE * near_caches(problem), by_one_run)
            left = [row for row, verdict in enumerate(found) if verdict.note == OPEN]
            some = problem.select(left)
            better = in_batches(some, near_caches(problem), by_intervals) if left else []
        for row, verdict in zip(left, better, strict=True):
            found[row] = replace(verdict, seconds=verdict.seconds + found[row].seconds)
        return found


def by_intervals(part: Problem) -> list[Verdict]:
    """Bound by intervals around the values at the examples."""
    return verdicts(part, margins(Reach.of(part), part.labels))


def by_one_run(part: Problem) -> list[Verdict]:
    """Bound by one run; unknown with the note `OPEN` where intervals may prove more."""
    run = OneRun.within(part)
    if run is None:
        return [Verdict(Status.UNKNOWN, None, note=OPEN)] * len(part)
    found, hopeless = margins(run, part.labels), (most(run, part.labels) <= 0).any(1)
    said = verdicts(part, found)
    return [
        verdict if verdict.status is Status.CERTIFIED or lost else replace(verdict, note=OPEN)
        for verdict, lost in zip(said, hopeless.tolist(), strict=True)
    ]


def most(run: OneRun, labels: Tensor) -> Tensor:
    """Bound from above what intervals can prove of each margin, `[batch, classes - 1]`.

    They know the values at the examples better, by what a run may lose, and move them as far.
    """
    moved, lost = (apart(run, labels, part) for part in ("moved", "lost"))
    return here(run.values[-1], labels) + lost - moved
