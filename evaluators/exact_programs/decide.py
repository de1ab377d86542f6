"""What the methods that decide exact systems share: the question, its limits and the verdict."""

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from fractions import Fraction

import torch
from torch import Tensor

from evaluators.branching.attack import falsify
from evaluators.exact_programs.system import LEAST, ExactRow, ExactSystem
from evaluators.linear_programs.relaxed_rows import by_start
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.rounding import float_below
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem

INPUTS = 1024
"""Inputs up to which a network is tried."""

ZERO = Fraction(0)
DEPTHS = (Fraction(1, 10), Fraction(1, 1000))
"""How far below zero a margin is asked for, where a first solution is too near it to be a run's."""


class Emptiness(Enum):
    """What is known of a system otherwise than by a point of it."""

    EMPTY = "it has no solution"
    UNDECIDED = "timeout"


Decide = Callable[[ExactSystem, ExactRow, Deadline], Emptiness | list[float]]
"""Decides a system with a further row: the inputs of a solution, rounded, if there is one."""


def decided(problem: Problem, largest: int, decide: Decide, ask_all: bool) -> Verdict:
    """Decide the only example's margins one after the other.

    Args:
        problem: the question.
        largest: number of unstable neurons up to which a network is tried.
        decide: the method.
        ask_all: whether it is asked about margins that CROWN's lines prove, too.
    """
    deadline = problem.deadline()
    try:
        around = UnrolledProblem.of(problem, 0, deadline)
    except UnrollingError as error:
        return Verdict(Status.UNKNOWN, None, note=str(error))
    if not bool(around.lines.optimizable.all()):
        note = "unsupported: the method has cases for ReLU, leaky ReLU and MaxPool alone"
        return Verdict(Status.UNKNOWN, None, note=note)
    if len(around.lines.leak) > largest or around.unrolled.inputs > INPUTS:
        note = f"too large: more than {INPUTS} inputs or {largest} unstable neurons"
        return Verdict(Status.UNKNOWN, None, note=note)
    system = ExactSystem.of(around)
    if system is None:
        return Verdict(Status.UNKNOWN, None, note="bound not finite")
    margins = by_start(problem, around)[0].tolist()
    # The least first, for counterexamples are where it is.
    for margin, goal in sorted(zip(margins, system.goals, strict=True), key=lambda pair: pair[0]):
        if margin > LEAST and not ask_all:
            continue
        answer = decide(system, goal, deadline)
        if answer is Emptiness.EMPTY:
            continue
        if answer is Emptiness.UNDECIDED:
            return Verdict(Status.UNKNOWN, None, note=Emptiness.UNDECIDED.value)
        for depth in (ZERO, *DEPTHS):
            deeper = replace(goal, upper=None if goal.upper is None else goal.upper - depth)
            answer = decide(system, deeper, deadline) if depth else answer
            if isinstance(answer, Emptiness):
                continue
            point: Tensor = torch.tensor(answer, dtype=torch.float64)
            witness = falsify(problem, [point[None]])[0]
            if witness is not None:
                return Verdict(Status.FALSIFIED, None, witness=witness)
        note = "numerically undecided: a solution that no float32 run shows"
        return Verdict(Status.UNKNOWN, None, note=note)
    label, radius = int(problem.labels[0]), problem.region.radius
    return Verdict(Status.CERTIFIED, label, radius, margin=float_below(LEAST))
