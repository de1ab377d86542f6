"""Margins over Lipschitz constants."""

from dataclasses import dataclass

import torch

from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import Reach, margins
from evaluators.propagation.verdicts import in_batches, near_caches, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


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
    Trusted: IEEE float64, PyTorch's sums of products and its sines; rounding is bounded.
    Cost: one bound of each operator of a network, once, and about three forward passes.
    """

    title = "Lipschitz margin"
    node = "smooth-layers"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of a batch at once."""

        def bound(part: Problem) -> list[Verdict]:
            return verdicts(part, margins(Reach.of(part), part.labels))

        with torch.no_grad():
            return in_batches(problem, near_caches(problem), bound)
