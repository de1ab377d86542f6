"""Local Lipschitz constants from bounds of gradients."""

from dataclasses import dataclass, replace

import torch

from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import Reach, apart, here, spread
from evaluators.lipschitz.gradients import gradients
from evaluators.lipschitz.lengths import PAD
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.numerics.rounding import down
from evaluators.propagation.linear_bounds import linear_relaxation, margin_rows
from evaluators.propagation.verdicts import in_batches, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict

BATCH = 64


@dataclass(frozen=True)
class FastLip(Evaluator):
    """Fast-Lip (Weng et al. 2018, arXiv 1804.09699, section 3.4).

    Between the bounds of its input, each function's derivative lies in an interval; propagated back
    through the network, these intervals bound the gradient of each margin everywhere in the region.
    A margin changes by at most the dual norm of this bound times the radius.

    Differs from the paper: bounds of neurons are CROWN's; any graph and sigmoid and tanh are
    allowed, and max-pooling is written with ReLUs.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64, PyTorch's sums of products and its sines; rounding is bounded.
    Cost: CROWN's bounds of neurons, and three backward passes for each margin.
    """

    title = "Fast-Lip"
    node = "general-lipschitz"
    version = "4"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of a batch at once."""
        assert isinstance(problem.network, Network)
        asked = replace(problem, network=without_max_pools(problem.network))
        with torch.no_grad():
            return in_batches(asked, BATCH, self._bound)

    def _bound(self, problem: Problem) -> list[Verdict]:
        relaxed = linear_relaxation(problem)
        rows = margin_rows(problem.labels, problem.classes)
        found = gradients(relaxed.network, relaxed.bounds, rows)
        if found is None:
            note = "unsupported: no derivative is known of one of the functions"
            return [Verdict(Status.UNKNOWN, None, note=note)] * len(problem)
        reach = Reach.of(problem)
        labels = problem.labels
        moved = spread(problem, found.magnitude) + apart(reach, labels, "lost")
        return verdicts(problem, down(here(reach.values[-1], labels) - moved * PAD))
