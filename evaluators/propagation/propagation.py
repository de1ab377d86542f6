"""Backward propagation of linear bounds as a method: a relaxation in, verdicts out."""

from evaluators.network.network import Network
from evaluators.propagation.linear_bounds import linear_relaxation, margins
from evaluators.propagation.margins import in_batches, verdicts
from evaluators.propagation.relaxation import Relaxation
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict

BATCH = 64


def propagate_back(problem: Problem, relaxation: Relaxation) -> list[Verdict]:
    """Bound the margins of all examples; unknown where the relaxation does not cover a network.

    The inputs of every non-linearity are bounded by propagating linear bounds back to the input,
    elementwise the better of that and interval propagation.
    """
    assert isinstance(problem.network, Network)
    missing = relaxation.missing(problem.network)
    if missing:
        note = f"unsupported: the method has no bounds for {' and '.join(missing)}"
        return [Verdict(Status.UNKNOWN, None, note=note)] * len(problem)

    def bound(part: Problem) -> list[Verdict]:
        relaxed = linear_relaxation(part, relaxation)
        return verdicts(part, margins(relaxed, part.labels, to_input=True))

    return in_batches(problem, BATCH, bound)
