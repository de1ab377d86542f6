"""Local Lipschitz constants from a recursion over layers."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import here, spread
from evaluators.lipschitz.lengths import PAD
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.rounding import down, gamma
from evaluators.propagation.intervals import interval_bounds
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.jacobians import JacobianBounds, Recursion
from evaluators.unrolled.unrolled_problem import UnrolledProblem, one_by_one_unrolled


@dataclass(frozen=True)
class RecurJac(Evaluator):
    """RecurJac (Zhang, Zhang and Hsieh 2019, arXiv 1810.11783, algorithm 1).

    The Jacobian's bounds are made from the last layer to the first. Those with respect to a layer's
    neurons show with which signs the neurons before it are weighted, and lines instead of intervals
    propagate them, so that what cancels between neurons is not counted twice
    (`unrolled/jacobians.py`). A margin falls by no more than the dual norm of its gradient's bounds
    times the radius.

    Differs from the paper: stable neurons are multiplied out first, a derivative whose sign is not
    known is enclosed by chords, not constants, inputs that could only raise the margin where they
    can move are left out, and any graph, sigmoid and tanh are allowed. Bounds of neurons are
    CROWN's.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64, the sums of products of PyTorch and SciPy, and PyTorch's sines; rounding
    is bounded.
    Cost: CROWN's bounds of neurons, and for each margin products of matrices that are cubic in the
    unstable neurons.
    """

    title = "RecurJac"
    node = "general-lipschitz"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        return one_by_one_unrolled(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        around = UnrolledProblem.of(replace(problem, evidence=False), 0, deadline)
        recursion = Recursion.of(around.unrolled)
        if recursion is None:
            raise UnrollingError("unsupported: no derivative is known of one of the functions")
        falls = torch.stack(
            [_fall(around, recursion, row, deadline) for row in around.goals.weight]
        )
        logits = interval_bounds(around.unrolled.network, around.x, around.x)[-1]
        # What rows have lost they may have lost at the example and elsewhere.
        falls = (falls + 2 * around.goals.lost) * PAD
        found = down(here(logits, problem.labels.cpu()) - falls)
        (verdict,) = verdicts(problem, found)
        return replace(verdict, note="timeout" if deadline.passed else verdict.note)


def _fall(around: UnrolledProblem, recursion: Recursion, row: Tensor, deadline: Deadline) -> Tensor:
    """Bound how far a row falls from its value at the example, anywhere in the region."""
    known = recursion(row, deadline)
    if known is None:
        return row.new_tensor(torch.inf)
    lost = torch.cat([row.new_zeros(0), *(layer.rows.lost for layer in around.unrolled.layers)])
    moved = spread(around.problem, _steepest(around, known)[None, None])[0, 0]
    return moved + 2 * (known.units @ lost) * (1 + 2 * gamma(len(lost) + 8))


def _steepest(around: UnrolledProblem, known: JacobianBounds) -> Tensor:
    """How fast a row falls at most where an input moves to a side on which it has room."""
    low, high = (end[0] for end in around.region.hull(around.x))
    shape = low.shape
    upward = torch.where(high > around.x[0], -known.inputs.lower.reshape(shape), 0.0)
    downward = torch.where(low < around.x[0], known.inputs.upper.reshape(shape), 0.0)
    return torch.maximum(upward, downward).clamp(min=0)
