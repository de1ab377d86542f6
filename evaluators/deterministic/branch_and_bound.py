"""Branch and bound with linear bounds: complete for networks of (leaky) ReLUs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from evaluators.branching.attack import falsify
from evaluators.branching.cheap import Asked, CheapBounds
from evaluators.branching.influence import influential
from evaluators.branching.input_splitting import LOW_DIMENSION, InputSearch
from evaluators.branching.neuron_bounds import NeuronSearch
from evaluators.branching.search import start, take_turns
from evaluators.branching.state import TIMEOUT, Search, State
from evaluators.branching.tuning import Tuning
from evaluators.evaluator import Evaluator
from evaluators.falsification.pgd import PGD
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.verdicts import BATCH, verdicts
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.interior_point import raised
from evaluators.unrolled.intermediate_bounds import Refiner, UnrollingError
from evaluators.unrolled.unrolled_problem import UnrolledProblem

Opening = Callable[[Problem, Asked], Search | Verdict]
"""Makes a search of what is asked about the only example, or answers it."""

DEEP = 4
"""Layers with unstable neurons from which on a perceptron's neurons are searched, too."""

PAUSE, NEURONS = 1 / 10, 1 / 3
"""Shares of the time that is left: of a search before that, at most, and of searches of neurons."""


@dataclass(frozen=True)
class BranchAndBound(Evaluator):
    """β-CROWN branch and bound (Wang et al. 2021, arXiv 2103.06624).

    All examples are first tried cheaply, in one batch: intervals, an attack, CROWN, and more of the
    attack. For the examples that remain, the network is unrolled with CROWN's bounds of neurons and
    then, unless α-CROWN proves all margins with these, with optimised bounds of the neurons that
    matter. Margins still open are split at unstable ReLUs (filtered smart branching, De Palma et
    al. 2021, arXiv 2104.06718), all open domains of all margins of an example in common batches,
    and those of several examples, too, while they are few. Domains near a proof are clipped: the
    half-space in which their counterexamples lie narrows the bounds of the units that matter
    (Clip-and-Verify, Zhou et al. 2025, arXiv 2512.11087), for them and their parts. Of a deep
    perceptron that is still open after as long again as all before took, the bounds of neurons are
    searched (`branching/neuron_bounds.py`), with few splits each, later with more; not where
    evidence is asked for, which could not hold them. A domain without unstable ReLUs is decided by
    a linear program. In balls of l2 and l1, margins that linear bounds leave open are tried with
    quadratic constraints on all inputs and neurons together before anything is split (the
    semidefinite relaxation of Raghunathan et al. 2018, arXiv 1811.01057, by an interior point
    method, `unrolled/quadratic.py`), if the network has no functions but ReLUs and no evidence is
    asked for, which could not hold them. Boxes of few inputs are first split along the inputs.
    Minimisers of the relaxed domains are starting points of further attacks.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`). The search runs in float32; every domain is
    closed by a bound in float64, lowered by its rounding error; so are the margins that quadratic
    constraints prove, whatever multipliers they are proved with. On balls of l2 and l1, and on
    networks with other functions than (leaky) ReLU and max-pooling, it may end without an answer.
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not the ascent, the
    branching, the interior point method, or the solver of linear programs.
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

    title = "Branch and bound"
    node = "branch-and-bound"
    version = "12"
    cascade = 50
    complete = True
    split_inputs_up_to: ClassVar[int] = LOW_DIMENSION
    tuning: ClassVar[Tuning] = Tuning()

    def solve(self, problem: Problem) -> list[Verdict]:
        """Ask what is cheap of many examples at once, then search, several at a time."""
        with torch.no_grad():
            found = dict(self._decided(problem))
        return [found[row] for row in range(len(problem))]

    def _decided(self, problem: Problem) -> Iterator[tuple[int, Verdict]]:
        """Yield each example's row and verdict, in the order in which they are found."""
        at_once, paused = list[tuple[int, Verdict]](), list[tuple[int, Asked]]()
        places = dict[Search, tuple[int, Asked]]()

        def searches(found: Iterable[tuple[int, Asked]], open_: Opening) -> Iterator[Search]:
            for row, asked in found:
                opened: Search | Verdict | None = asked.verdict
                if opened is None:
                    with asked.deadline.running():
                        opened = open_(problem.select([row]), asked)
                if isinstance(opened, Search):
                    places[opened] = row, asked
                    yield opened
                else:
                    at_once.append((row, asked.answered(opened)))

        def attack(asked: Sequence[Search], points: Sequence[Tensor]) -> list[Tensor | None]:
            return falsify(problem.select([places[search][0] for search in asked]), points)

        part = searches(self._asked(problem), self._opened)
        for _ in range(1 + len(self.tuning.neuron_rounds)):
            for state in take_turns(part, attack):
                row, asked = places.pop(state.search)
                if _is_pause(state, asked):
                    paused.append((row, asked))
                    continue
                with asked.deadline.running():
                    verdict = _verdict(state, asked)
                del state  # its domains, before the next search goes on
                yield row, asked.answered(verdict)
            part, paused = searches(paused, self._again), []
        yield from at_once

    def _asked(self, problem: Problem) -> Iterator[tuple[int, Asked]]:
        """Yield each example's row and what cheap methods say of it, a batch at a time."""
        # Another stream than that of the attack which the cascade begins with.
        problem, attack = replace(problem, seed=problem.seed + 1), PGD(restarts=self.restarts)
        for first in range(0, len(problem), BATCH):
            rows = range(first, min(first + BATCH, len(problem)))
            yield from zip(rows, CheapBounds(problem.select(rows), attack)(), strict=True)

    def _opened(self, problem: Problem, asked: Asked) -> Search | Verdict:
        """What to split around the only example; or its verdict, if that needs no search of it."""
        few = problem.x[0].numel() <= self.split_inputs_up_to and problem.region.norm is Norm.LINF
        if few and not problem.evidence:
            verdict = self._split_inputs(problem, asked.deadline)
            if verdict.status is not Status.UNKNOWN:
                return verdict
        note, chosen = "", None
        try:
            if asked.known:
                loose = self._search(problem, 0, asked)
                (state,) = start([loose])
                if not state.over and not problem.evidence:
                    asked.margins = torch.fmax(asked.margins, state.lower_bounds())
                    asked.margins = raised(loose.around, asked.margins, asked.deadline)
                if state.over or bool((asked.margins > 0).all()):
                    return _verdict(state, asked)
                chosen = influential(state)
            return self._search(problem, self.intermediate_steps, asked, chosen)
        except UnrollingError as error:
            note = str(error)
        if chosen is not None:
            return _verdict(replace(state, note=note), asked)
        return replace(verdicts(problem, asked.margins[None])[0], note=note)

    def _again(self, problem: Problem, asked: Asked) -> Search | Verdict:
        """What to split after a pause, with bounds of neurons by searches of their own."""
        rounds = self.tuning.neuron_rounds[asked.passes]
        refine = NeuronSearch(asked.deadline.part(NEURONS), rounds)
        asked.passes += 1
        try:
            return self._search(problem, self.intermediate_steps, asked, refine=refine)
        except UnrollingError as error:
            return replace(verdicts(problem, asked.margins[None])[0], note=str(error))

    def _search(
        self,
        problem: Problem,
        steps: int,
        asked: Asked,
        chosen: Mapping[int, Tensor] | None = None,
        refine: Refiner | None = None,
    ) -> Search:
        """What is left to search, with bounds of the chosen neurons by an ascent of many steps."""
        near = UnrolledProblem.of(
            problem,
            steps,
            asked.deadline,
            known=asked.known,
            chosen=chosen,
            products=True,
            refine=refine,
        )
        tuning = replace(
            self.tuning,
            root=Rates(self.root_steps),
            child=replace(self.tuning.child, steps=self.steps),
        )
        search = Search(near, asked.deadline, tuning, asked.margins)
        if steps and asked.passes < len(self.tuning.neuron_rounds) and _is_deep(search):
            search = replace(search, deadline=_until_pause(asked.deadline))
        return search

    def _split_inputs(self, problem: Problem, deadline: Deadline) -> Verdict:
        # Half of the time, for what it cannot decide may have few units.
        half = deadline.part(1 / 2)
        search = InputSearch(problem, half, lambda points: falsify(problem, [points])[0])
        witness = search()
        if witness is not None:
            return Verdict(Status.FALSIFIED, None, witness=witness)
        return verdicts(problem, search.lower_bounds[None])[0]


def _is_deep(search: Search) -> bool:
    """Whether searches of neurons' bounds are worth their time."""
    around = search.around
    matrix = around.unrolled.network.first_matrix
    deep = len(around.unrolled.layers) >= DEEP
    return deep and bool(matrix) and search.small and not around.problem.evidence


def _until_pause(deadline: Deadline) -> Deadline:
    """As long again as everything so far took, but no more than a share of what is left."""
    seconds = min(PAUSE * deadline.left, deadline.spent)
    first = Deadline(seconds, deadline.clock, deadline.until)
    first.halt()
    return first


def _is_pause(state: State, asked: Asked) -> bool:
    """Whether a search shall go on with other bounds of neurons; what it proved is kept."""
    first = state.search.deadline
    if first is asked.deadline:
        return False
    asked.deadline.charge(first.spent)
    if state.note != TIMEOUT or asked.deadline.passed:
        return False
    with asked.deadline.running():
        asked.margins = torch.fmax(asked.margins, state.lower_bounds())
    if asked.known:
        unrolled = state.search.around.unrolled
        asked.known = {place: unrolled.bounds[place] for place in asked.known}
    return True


def _verdict(state: State, asked: Asked) -> Verdict:
    """What a search that is over found out, and what was known before."""
    if state.witness is not None:
        return Verdict(Status.FALSIFIED, None, witness=state.witness)
    around = state.search.around
    proved = torch.fmax(state.lower_bounds(), asked.margins)
    (verdict,) = verdicts(around.problem, proved[None])
    if verdict.status is Status.CERTIFIED:
        return replace(verdict, certificate=around.certificate(state.proof()))
    return replace(verdict, note=state.note or verdict.note)
