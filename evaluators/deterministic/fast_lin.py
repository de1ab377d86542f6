"""Fast-Lin: parallel lines."""

from dataclasses import dataclass

from evaluators.evaluator import Evaluator
from evaluators.network.elementwise import LeakyReLU
from evaluators.propagation.relaxation import Relaxation, parallel_slopes, winner_planes
from evaluators.propagation.verdicts import propagate_back
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict

PARALLEL = Relaxation(parallel_slopes, winner_planes, covers=(LeakyReLU,))
"""Lines below and above with one slope; the paper knows ReLUs only, so there is no pooling."""


@dataclass(frozen=True)
class FastLin(Evaluator):
    """Fast-Lin (Weng et al. 2018, arXiv 1804.09699, theorem 3.5 and corollary 3.7).

    A ReLU on [l, u], l < 0 < u, lies between two parallel lines with the slope u / (u - l) of its
    chord: the chord above, and the line through the origin below. The lines are propagated back
    to the input, for the inputs of every ReLU and for the margins.

    Differs from the paper: any graph of affine maps, sums and ReLUs is allowed, and leaky ReLUs,
    whose chord has the slope (u - leak·l) / (u - l). Every bound is, elementwise, the better of
    this one and interval propagation's, and where the pixel range cuts the ball, the cut is used;
    because lines depend on intervals, margins may differ from the paper's; as a rule they are
    larger. A network with another non-linearity is answered with unknown, because the paper has no
    lines for it.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: that of CROWN, which differs in the line below alone.
    """

    title = "Fast-Lin"
    node = "polyhedra"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of the batch at once."""
        return propagate_back(problem, PARALLEL)
