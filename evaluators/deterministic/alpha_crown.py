"""α-CROWN: backward linear bounds with optimised slopes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from evaluators.branching.search import start
from evaluators.branching.state import Search
from evaluators.branching.tuning import Tuning
from evaluators.evaluator import Evaluator, one_by_one
from evaluators.network.network import Network
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem


@dataclass(frozen=True)
class AlphaCROWN(Evaluator):
    """α-CROWN (Xu et al. 2021, arXiv 2011.13824, section 3.1).

    CROWN with the slope of every unstable ReLU's lower line chosen by projected gradient ascent,
    separately for each margin and for each bound of each neuron that stays unstable. Around each
    example the network is unrolled to its unstable neurons (`unrolled/unrolled_network.py`), in
    which gradients have a closed form and all rows of a layer take the same few products. Of
    sigmoid and tanh both lines are chosen, among the tangents and the chord of the function's
    convex hull between the neuron's bounds (`curves.py`); max-pooling is written with ReLUs.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The ascent runs in float32 and only chooses
    slopes; the bounds are computed with them in float64 and lowered by their rounding error, and
    the intercept that a slope allows is computed, padded, with them. There are certificates for
    networks of (leaky) ReLU and max-pooling alone.
    Trusted: IEEE float64, the sums of products of PyTorch and SciPy, and values of sigmoid and tanh
    to four units in the last place.
    Cost: two small matrix products for each layer, step and batch of unstable neurons.

    Attributes:
        steps: of the ascent for the margins.
        intermediate_steps: of the ascents for the bounds of neurons.
    """

    steps: int = 20
    intermediate_steps: int = 8

    title: ClassVar[str] = "α-CROWN"
    version: ClassVar[str] = "3"
    accepts: ClassVar[type[Network]] = Network

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound the margins of one example after the other."""
        with torch.no_grad():
            return one_by_one(problem, self._solve)

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        try:
            around = UnrolledProblem.of(problem, self.intermediate_steps, deadline)
        except UnrollingError as error:
            return Verdict(Status.UNKNOWN, None, note=str(error))
        (state,) = start([Search(around, deadline, Tuning(root=Rates(self.steps)))])
        (verdict,) = verdicts(problem, state.lower_bounds()[None])
        if verdict.status is Status.CERTIFIED:
            verdict = replace(verdict, certificate=around.certificate(state.proof()))
        elif deadline.passed:
            verdict = replace(verdict, note="timeout")
        return verdict
