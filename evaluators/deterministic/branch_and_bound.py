"""Branch and bound with linear bounds: complete for networks of (leaky) ReLUs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from evaluators.branching.attack import falsify
from evaluators.branching.input_splitting import LOW_DIMENSION, InputSearch
from evaluators.branching.search import take_turns
from evaluators.branching.state import Search, State
from evaluators.branching.tuning import Tuning
from evaluators.evaluator import Evaluator, why_not_witness
from evaluators.falsification.pgd import PGD
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.verdicts import verdicts
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict, charged_in_all
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem


@dataclass(frozen=True)
class BranchAndBound(Evaluator):
    """β-CROWN branch and bound (Wang et al. 2021, arXiv 2103.06624).

    All examples are attacked together, in one batch. What is left is bounded by α-CROWN; margins
    still open are split at unstable ReLUs (filtered smart branching, De Palma et al. 2021, arXiv
    2104.06718), all open domains of all margins of an example in common batches, and those of
    several examples, too, while they are few. Domains near a proof are clipped: the half-space in
    which their counterexamples lie narrows the bounds of the units that matter (Clip-and-Verify,
    Zhou et al. 2025, arXiv 2512.11087), for them and their parts. A domain without unstable ReLUs
    is decided by a linear program.
    Boxes of few inputs are first split along the inputs. Minimisers of the relaxed domains are
    starting points of further attacks.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The search runs in float32; every domain is
    closed by a bound in float64, lowered by its rounding error. On balls of l2 and l1, and on
    networks with other functions than (leaky) ReLU and max-pooling, it may end without an answer.
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not the ascent, the
    branching, or the solver of linear programs.
    Cost: exponential in the worst case; it ends with the time budget, and says what it proved.

    Attributes:
        steps: of the ascent at a domain.
        root_steps: of the ascent without splits.
        intermediate_steps: of the ascents for the bounds of neurons.
        restarts: runs of the attack.
    """

    steps: int = 6
    root_steps: int = 20
    intermediate_steps: int = 15
    restarts: int = 5

    title: ClassVar[str] = "Branch and bound"
    version: ClassVar[str] = "3"
    accepts: ClassVar[type[Network]] = Network
    cascade: ClassVar[int | None] = 50
    complete: ClassVar[bool] = True
    split_inputs_up_to: ClassVar[int] = LOW_DIMENSION
    tuning: ClassVar[Tuning] = Tuning()

    def solve(self, problem: Problem) -> list[Verdict]:
        """Attack all examples at once, then decide what is left, several at a time."""
        # Another stream than that of the attack which the cascade begins with.
        attack = replace(problem, seed=problem.seed + 1)
        work, found = problem.stopwatch(), PGD(restarts=self.restarts).solve(attack)
        found = charged_in_all(found, work.spent)
        # A point that only float32 misclassifies is no answer.
        rows = [row for row, its in enumerate(found) if why_not_witness(problem, row, its.witness)]
        attacked = max((found[row].seconds for row in rows), default=0.0)
        left = replace(problem.select(rows), seconds=max(problem.seconds - attacked, 0.0))
        with torch.no_grad():
            decided = dict(self._decided(left))
        for place, row in enumerate(rows):
            seconds = found[row].seconds + decided[place].seconds
            found[row] = replace(decided[place], seconds=seconds)
        return found

    def _decided(self, problem: Problem) -> Iterator[tuple[int, Verdict]]:
        """Yield each example's row and verdict, in the order in which they are found."""
        tuning = replace(
            self.tuning,
            root=Rates(self.root_steps),
            child=replace(self.tuning.child, steps=self.steps),
        )
        at_once = list[tuple[int, Verdict]]()
        rows = dict[Search, int]()

        def searches() -> Iterator[Search]:
            for row in range(len(problem)):
                deadline = problem.deadline()
                opened = self._opened(problem.select([row]), deadline)
                deadline.halt()
                if isinstance(opened, Verdict):
                    at_once.append((row, replace(opened, seconds=deadline.spent)))
                else:
                    search = Search(opened, deadline, tuning)
                    rows[search] = row
                    yield search

        def attack(asked: Sequence[Search], points: Sequence[Tensor]) -> list[Tensor | None]:
            return falsify(problem.select([rows[search] for search in asked]), points)

        for state in take_turns(searches(), attack):
            row, deadline = rows.pop(state.search), state.search.deadline
            with deadline.running():
                verdict = _verdict(state)
            yield row, replace(verdict, seconds=deadline.spent)
        yield from at_once

    def _opened(self, problem: Problem, deadline: Deadline) -> UnrolledProblem | Verdict:
        """What to split around the only example; or its verdict, if that needs no search of it."""
        few = problem.x[0].numel() <= self.split_inputs_up_to and problem.region.norm is Norm.LINF
        if few and not problem.evidence:
            verdict = self._split_inputs(problem, deadline)
            if verdict.status is not Status.UNKNOWN:
                return verdict
        try:
            return UnrolledProblem.of(problem, self.intermediate_steps, deadline)
        except UnrollingError as error:
            return Verdict(Status.UNKNOWN, None, note=str(error))

    def _split_inputs(self, problem: Problem, deadline: Deadline) -> Verdict:
        # Half of the time, for what it cannot decide may have few units.
        half = deadline.part(1 / 2)
        search = InputSearch(problem, half, lambda points: falsify(problem, [points])[0])
        witness = search()
        if witness is not None:
            return Verdict(Status.FALSIFIED, None, witness=witness)
        return verdicts(problem, search.lower_bounds[None])[0]


def _verdict(state: State) -> Verdict:
    """What a search that is over found out."""
    if state.witness is not None:
        return Verdict(Status.FALSIFIED, None, witness=state.witness)
    around = state.search.around
    (verdict,) = verdicts(around.problem, state.lower_bounds()[None])
    if verdict.status is Status.CERTIFIED:
        return replace(verdict, certificate=around.certificate(state.proof()))
    return replace(verdict, note=state.note or verdict.note)
