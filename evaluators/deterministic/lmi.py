"""The semidefinite relaxation with constraints that couple neurons."""

from dataclasses import dataclass

from evaluators.deterministic.sdp import SDP
from evaluators.numerics.deadline import Deadline
from evaluators.unrolled.interior_point import STEPS, BoundSearch, Iterate, lower_bound, room
from evaluators.unrolled.quadratic import Forms, Goal

ROUNDS, SHARE = 3, 4
"""How often constraints are added, and at most how many times the neurons each time."""


def coupled(
    forms: Forms, goal: Goal, deadline: Deadline, _: Iterate | None = None, steps: int = STEPS
) -> tuple[float, Iterate | None]:
    """Do as `lower_bound` does, then add what the matrix breaks, as long as that raises the bound.

    Every goal breaks others, so that none starts from another.
    """
    best, at = lower_bound(forms, goal, deadline, None, steps)
    for _round in range(ROUNDS):
        if best > 0 or at is None or deadline.passed:
            break
        before, forms = forms, forms.crossed(at.x, min(SHARE * forms.units, room(forms)))
        if len(forms.left) == len(before.left):
            break
        bound, at = lower_bound(forms, goal, deadline, None, steps)
        if bound <= best:
            break
        best = bound
    return best, None


@dataclass(frozen=True)
class LMI(SDP):
    """Linear matrix inequalities (Fazlyab, Morari and Pappas 2022, arXiv 1903.01287).

    To the constraints of `sdp` on each neuron come those of pairs. As slopes of ReLU lie between 0
    and 1, so do those between the two points that two neurons are at: with outputs p and p - q for
    inputs, (p_i - p_j)·(q_i - q_j) <= 0. As p_i·q_i is 0, this says p_i·q_j + p_j·q_i >= 0. Without
    pairs the relaxation is that of Raghunathan et al. 2018, with them never looser.

    Differs from the paper: p_i·q_j and p_j·q_i are each at least 0, which is more than their sum;
    any two neurons are a pair, also of different layers; and only pairs that the matrix without
    them breaks are added, most broken ones first, up to three times. What else differs is as in
    `sdp`.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The method only chooses multipliers. With any, the bound is
    recomputed in float64: what the matrix may lack of being semidefinite, at most, and all rounding
    are taken off (`unrolled/quadratic.py`).
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not the interior point
    method, nor the solver of linear programs.
    Cost: that of `sdp`, and for each margin that it leaves open up to three times 10 to 20 steps
    more, each cubic in inputs, up to fifteen times the unstable neurons and what they were before.
    Evidence exists only where lines suffice.
    """

    title = "LMI"
    node = "sdp"
    version = "3"

    def _search(self) -> BoundSearch:
        return coupled
