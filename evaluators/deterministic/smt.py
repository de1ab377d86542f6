"""Satisfiability modulo the theory of linear real arithmetic, by Z3."""

import math
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import torch

from evaluators.evaluator import Evaluator, one_by_one
from evaluators.exact_programs.decide import Emptiness, decided
from evaluators.exact_programs.system import ONE, ExactRow, ExactSystem
from evaluators.numerics.deadline import Deadline
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict


@dataclass(frozen=True)
class SMT(Evaluator):
    """Satisfiability modulo theories (Ehlers 2017, arXiv 1705.01320; Katz et al., 1702.01135).

    For each margin that CROWN's lines do not prove, Z3 is asked for an input at which it is not
    positive: rows of exact rationals, and a case distinction for each neuron that CROWN's bounds
    leave unstable.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`): pre-activations and margins may differ from their rows by
    as much as the rounding of such a run. If a margin is that close to zero, or on balls of l2, for
    which only an enclosing polytope is used, it may end without an answer.
    Trusted: Z3's answer that there is no solution; IEEE float64 and the sums of products of
    PyTorch for CROWN's bounds.
    Cost: exponential in the worst case in the number of unstable neurons; for tiny networks.
    Needs Z3, which `pip install certboard[smt]` installs.

    Attributes:
        ask_all: whether margins that CROWN's lines prove are asked about, too.
    """

    ask_all: bool = False

    title = "SMT"
    node = "smt"
    version = "2"
    complete = True
    largest: ClassVar[int] = 256
    """Unstable neurons up to which a network is tried."""

    def solve(self, problem: Problem) -> list[Verdict]:
        """Decide one example after the other."""
        if find_spec("z3") is None:
            note = "unsupported: Z3 is not installed (pip install certboard[smt])"
            return [Verdict(Status.UNKNOWN, None, note=note)] * len(problem)
        with torch.no_grad():
            return one_by_one(
                problem, partial(decided, largest=self.largest, decide=by_z3, ask_all=self.ask_all)
            )


def by_z3(system: ExactSystem, goal: ExactRow, deadline: Deadline) -> Emptiness | list[float]:
    """Ask Z3 for a solution of a system with a further row."""
    z3: Any = import_module("z3")
    context = z3.Context()
    variables = [z3.Real(f"v{index}", context) for index in range(len(system.bounds))]
    solver = z3.SolverFor("QF_LRA", context)

    def number(value: object) -> Any:
        return z3.RealVal(str(value), context)

    singles = [ExactRow({at: ONE}, *bounds) for at, bounds in enumerate(system.bounds)]
    for row in (*singles, *system.rows, goal):
        terms = [number(value) * variables[at] for at, value in row.coefficients.items()]
        total = z3.Sum(terms) if terms else number(0)
        if row.lower is not None:
            solver.add(total >= number(row.lower))
        if row.upper is not None:
            solver.add(total <= number(row.upper))
    for pair in system.pairs:
        before, output = variables[pair.before], variables[pair.output]
        solver.add(output == z3.If(before >= 0, before, number(pair.leak) * before))
    solver.set("timeout", math.ceil(1000 * min(max(deadline.left, 0.001), 1e6)))
    answer = solver.check()
    if answer == z3.unsat:
        return Emptiness.EMPTY
    if answer != z3.sat:
        return Emptiness.UNDECIDED
    model = solver.model()
    values = [model.eval(variables[at], model_completion=True) for at in range(system.inputs)]
    return [float(value.as_fraction()) for value in values]
