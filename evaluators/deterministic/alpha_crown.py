"""α-CROWN: backward linear bounds with optimised slopes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.branching.search import start
from evaluators.branching.state import Search
from evaluators.branching.tuning import Tuning
from evaluators.evaluator import Evaluator
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline, shared
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import (
    interval_relaxation,
    linear_relaxation,
    margins,
)
from evaluators.propagation.verdicts import parts_of, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem

MARGINS = Rates(15, slope=0.4, decay=0.85, enough=math.inf)
"""Of the ascent for the margins: it goes on when all are positive, for margins are reported."""

INTERMEDIATE = Rates(8, slope=0.4, decay=0.9)
"""Of the ascents for the bounds of neurons, without a tolerance: with one of 2e-3 the mean margin
falls by 0.4 on the MNIST CNN-A-Adv. Half again as many steps take 20 % longer, for 0.02."""

TOGETHER = 16
"""Examples that cheaper methods are asked about at once. More would take no less time, and the
bounds of all their nodes would wait for their turn."""


@dataclass(frozen=True)
class AlphaCROWN(Evaluator):
    """α-CROWN (Xu et al. 2021, arXiv 2011.13824, section 3.1).

    CROWN with the slope of every unstable ReLU's lower line chosen by projected gradient ascent,
    separately for each margin and for each bound of each neuron that stays unstable. Around each
    example the network is unrolled to its unstable neurons (`unrolled/unrolled_network.py`), in
    which gradients have a closed form and all rows of a layer take the same few products. For
    sigmoid and tanh, both lines are chosen, among the tangents and the chord of the function's
    convex hull between the neuron's bounds (`curves.py`), and of products of two branches the tilt
    of either McCormick plane (`product_units.py`); max-pooling is written with ReLUs.

    The bounds of neurons start from CROWN's, and every margin is the best of this method's and of
    those of IBP, CROWN-IBP and CROWN: none of these is stronger. Where evidence is asked of a
    network of (leaky) ReLU and max-pooling, only what its certificate proves is claimed instead.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The ascent runs in float32 and only chooses slopes; the
    bounds are computed with them in float64 and lowered by their rounding error, and the intercept
    that a slope allows is computed, padded, with them. Certificates exist only for networks of
    (leaky) ReLU and max-pooling.
    Trusted: IEEE float64, the sums of products of PyTorch and SciPy, and values of sigmoid and tanh
    to four units in the last place.
    Cost: two small matrix products for each layer, step and batch of unstable neurons.

    Attributes:
        steps: of the ascent for the margins.
        intermediate_steps: of the ascents for the bounds of neurons.
    """

    steps: int = MARGINS.steps
    intermediate_steps: int = INTERMEDIATE.steps

    title = "α-CROWN"
    node = "polyhedra"
    version = "9"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Ask cheaper methods about many examples at once, then ascend around each."""
        with torch.no_grad():
            parts = parts_of(problem, TOGETHER)
            return [verdict for part in parts for verdict in self._solve_part(part)]

    def _solve_part(self, problem: Problem) -> Iterator[Verdict]:
        root = replace(MARGINS, steps=self.steps)
        its = replace(INTERMEDIATE, steps=self.intermediate_steps)
        deadlines = [problem.deadline() for _ in range(len(problem))]
        for deadline in deadlines:
            deadline.halt()
        with shared(deadlines):
            cheaper = Cheaper.of(problem)
        for row, deadline in enumerate(deadlines):
            with deadline.running():
                own = problem.select([row])
                found = ascended(own, deadline, root, its, cheaper.select(row), products=True)
            yield replace(found[2], seconds=deadline.spent)


class Cheaper(NamedTuple):
    """What IBP, CROWN-IBP and CROWN prove of a batch of examples.

    Attributes:
        margins: the best of them, float64 `[batch, others]`.
        bounds: of every node of the network without max-pooling, `[batch, *shape]`.
    """

    margins: Tensor
    bounds: list[Interval]

    @classmethod
    def of(cls, problem: Problem) -> "Cheaper":
        """Ask all of them about all examples at once."""
        assert isinstance(problem.network, Network)
        found = margins(interval_relaxation(problem), problem.labels, to_input=True)
        written = replace(problem, network=without_max_pools(problem.network))
        for asked in [problem] if written.network is problem.network else [problem, written]:
            relaxed = linear_relaxation(asked)
            found = torch.fmax(found, margins(relaxed, problem.labels, to_input=True))
        return cls(found, relaxed.bounds)

    def select(self, row: int) -> "Cheaper":
        """The same about one of the examples."""
        own = slice(row, row + 1)
        return Cheaper(
            self.margins[own], [Interval(*(end[own] for end in ends)) for ends in self.bounds]
        )


def ascended(
    problem: Problem,
    deadline: Deadline,
    root: Rates = MARGINS,
    its: Rates = INTERMEDIATE,
    cheaper: Cheaper | None = None,
    *,
    products: bool = False,
) -> tuple[UnrolledProblem | None, Tensor, Verdict]:
    """Bound the margins of the one example of a problem.

    Args:
        problem: the question.
        deadline: when to stop.
        root: of the ascent for the margins.
        its: of the ascents for the bounds of neurons.
        cheaper: what cheaper methods prove of the example; None to ask them.
        products: as of `UnrolledProblem.of`.

    Returns:
        The network unrolled around it, if that can be; the margins, `[others]`; and the verdict.
    """
    cheaper = Cheaper.of(problem) if cheaper is None else cheaper
    known = dict(enumerate(cheaper.bounds))
    try:
        around = UnrolledProblem.of(problem, its, deadline, known=known, products=products)
    except UnrollingError as error:
        (verdict,) = verdicts(problem, cheaper.margins)
        if problem.evidence or verdict.status is not Status.CERTIFIED:
            verdict = Verdict(Status.UNKNOWN, None, note=str(error))
        return None, cheaper.margins[0], verdict
    (state,) = start([Search(around, deadline, Tuning(root=root))])
    found = state.lower_bounds()[None]
    if not (problem.evidence and state.search.piecewise_linear):
        found = torch.fmax(found, cheaper.margins)
    (verdict,) = verdicts(problem, found)
    if verdict.status is Status.CERTIFIED:
        verdict = replace(verdict, certificate=around.certificate(state.proof()))
    elif deadline.passed:
        verdict = replace(verdict, note="timeout")
    return around, found[0], verdict
