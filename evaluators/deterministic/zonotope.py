"""Zonotopes: affine forms that share their symbols."""

from dataclasses import dataclass

import torch

from evaluators.evaluator import Evaluator
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import margin_rows
from evaluators.propagation.verdicts import in_batches, verdicts
from evaluators.propagation.zonotopes import Zonotopes
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


@dataclass(frozen=True)
class DeepZ(Evaluator):
    """DeepZ (Singh et al. 2018, "Fast and Effective Robustness Certification", NeurIPS).

    It is the zonotope of the SoK's taxonomy (arXiv 2009.04131).

    Every entry of every node is an affine form in symbols of the inputs and of the unstable neurons
    before it; branches that meet share their symbols, so that what they have in common cancels. An
    unstable neuron's function lies in a band around a line (theorems 3.1 and 3.2), whose width is a
    symbol of its own. Every bound is the better of that and interval propagation.

    Differs from the paper: for balls of l2 and l1, the inputs' symbols are constrained by the norm,
    and max-pooling is written with ReLUs.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: one forward pass for each input and unstable neuron; a node whose forms would take more
    than 512 MB gets an interval instead.
    """

    title = "DeepZ"
    node = "zonotope"
    version = "4"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        assert isinstance(problem.network, Network)
        network = without_max_pools(problem.network).to(torch.float64, problem.x.device)

        def bound(part: Problem) -> list[Verdict]:
            forms = Zonotopes.around(network, part.x, part.region, deployed=part.deployed)
            rows = margin_rows(part.labels, part.classes)[0]
            hull = Interval(*part.region.hull(part.x))
            return verdicts(part, forms.least(rows, [hull]))

        return in_batches(problem, 1, bound)
