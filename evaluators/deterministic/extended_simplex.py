"""Reluplex: a simplex method that knows pairs of a ReLU."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from evaluators.evaluator import Evaluator, one_by_one
from evaluators.exact_programs.decide import decided
from evaluators.exact_programs.reluplex import by_simplex
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


@dataclass(frozen=True)
class ExtendedSimplex(Evaluator):
    """Reluplex (Katz et al. 2017, arXiv 1702.01135, section III).

    For each margin that CROWN's lines do not prove, a simplex tableau of exact rationals looks for
    an input at which it is not positive. A pair of variables that violates its ReLU is repaired by
    pivots and updates, and a pair that was repaired too often is split.

    Differs from the paper: pairs also have the three sides of their triangle as rows, bounds of
    neurons are CROWN's and are not derived anew, arithmetic is exact, and leaky ReLUs are allowed.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`): pre-activations and margins may differ from their rows by
    as much as the rounding of such a run. If a margin is that close to zero, or on balls of l2, for
    which only an enclosing polytope is used, it may end without an answer.
    Trusted: Python's integers; IEEE float64 and the sums of products of PyTorch for CROWN's bounds.
    Cost: exponential in the worst case in the number of unstable neurons; for tiny networks.

    Attributes:
        ask_all: whether margins that CROWN's lines prove are asked about, too.
    """

    ask_all: bool = False

    title = "Extended simplex"
    node = "extended-simplex"
    version = "2"
    complete = True
    largest: ClassVar[int] = 12
    """Unstable neurons up to which a network is tried."""

    def solve(self, problem: Problem) -> list[Verdict]:
        """Decide one example after the other."""
        with torch.no_grad():
            return one_by_one(
                problem,
                partial(decided, largest=self.largest, decide=by_simplex, ask_all=self.ask_all),
            )
