"""From margins to verdicts, in batches: the last steps that all bounding methods share."""

from collections.abc import Callable, Iterator
from math import ceil, prod

import torch
from jaxtyping import Float64
from torch import Tensor

from evaluators.network.network import Network
from evaluators.numerics.memory import fitting
from evaluators.propagation.linear_bounds import linear_relaxation, margins
from evaluators.propagation.relaxation import Relaxation
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict, charged_in_all

EXAMPLE_BYTES = 32
"""Memory of an entry of a node: its interval in float64, and what it is made from."""

BATCH = 64
"""Examples that backward passes are run for together: more do not fit the caches."""

CACHE_BYTES = 2**20
"""Size of a forward pass's largest tensor: past the caches, larger is not faster."""


def verdicts(problem: Problem, margins: Float64[Tensor, "batch others"]) -> list[Verdict]:
    """Certified where every margin's proved lower bound is finite and positive, else unknown.

    A margin of exactly zero would allow a tie and is not enough.
    """
    least = margins.amin(1)
    finite = torch.isfinite(margins).all(1)
    proved = finite & (least > 0)
    result = []
    answers = zip(
        problem.labels.tolist(), least.tolist(), finite.tolist(), proved.tolist(), strict=True
    )
    for label, bound, is_finite, is_proved in answers:
        margin = bound if is_finite else None
        if is_proved:
            verdict = Verdict(Status.CERTIFIED, label, problem.region.radius, margin=margin)
        else:
            note = "bound too loose" if margin is not None else "bound not finite"
            verdict = Verdict(Status.UNKNOWN, None, margin=margin, note=note)
        result.append(verdict)
    return result


def in_batches(
    problem: Problem, size: int, bound: Callable[[Problem], list[Verdict]]
) -> list[Verdict]:
    """Answer a problem in batches that keep the working set near the caches.

    Each example's seconds are its share of its batch's; examples that the time budget of the
    whole problem no longer allows to begin are unknown.
    """
    deadline, result = problem.deadline(len(problem)), list[Verdict]()
    for part in parts_of(problem, size):
        if deadline.passed:
            result += [Verdict(Status.UNKNOWN, None, note="timeout")] * len(part)
            continue
        work = problem.stopwatch()
        with torch.inference_mode():
            result += charged_in_all(bound(part), work.spent)
    return result


def parts_of(problem: Problem, size: int) -> Iterator[Problem]:
    """Yield a problem in parts of at most so many examples, fewer where memory is short."""
    assert isinstance(problem.network, Network)
    entries = sum(prod(node.shape) for node in problem.network.nodes)
    size = fitting(size, EXAMPLE_BYTES * entries, 1 / 4)
    # Of equal size: what a batch costs beside its arithmetic is not paid for two examples.
    size = max(1, ceil(len(problem) / max(1, ceil(len(problem) / size))))
    for first in range(0, len(problem), size):
        yield problem.select(range(first, min(first + size, len(problem))))


def near_caches(problem: Problem) -> int:
    """Count the examples of a batch whose largest node is near the caches, in float64."""
    assert isinstance(problem.network, Network)
    largest = max(prod(node.shape) for node in problem.network.nodes)
    return max(1, CACHE_BYTES // (8 * largest))


def propagate_back(problem: Problem, relaxation: Relaxation) -> list[Verdict]:
    """Bound the margins of all examples; unknown where the relaxation does not cover a network.

    The inputs of every non-linearity are bounded by propagating linear bounds back to the input,
    elementwise the better of that and interval propagation; by the latter alone when the time is
    up.
    """
    assert isinstance(problem.network, Network)
    missing = relaxation.missing(problem.network)
    if missing:
        note = f"unsupported: the method has no bounds for {' and '.join(missing)}"
        return [Verdict(Status.UNKNOWN, None, note=note)] * len(problem)

    def bound(part: Problem) -> list[Verdict]:
        relaxed = linear_relaxation(part, relaxation, deadline=part.deadline(len(part)))
        return verdicts(part, margins(relaxed, part.labels, to_input=True))

    return in_batches(problem, BATCH, bound)
