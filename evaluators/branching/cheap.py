"""What is asked before anything is unrolled: intervals, an attack, CROWN, and more of the attack.

Each costs more than the one before, and is asked about those examples that the ones before left
open, all of them in one batch. CROWN's bounds of pre-activations go into the unrolling of the
examples that are still open: over windows of the network itself they cost a fraction of what they
cost over unrolled rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from evaluators.evaluator import why_not_witness
from evaluators.falsification.pgd import PGD
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import MaxPool, Network, Product
from evaluators.numerics.deadline import Deadline, shared
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import interval_relaxation, linear_relaxation, margins
from evaluators.propagation.relaxation import ADAPTIVE
from evaluators.propagation.relaxed import Relaxed
from evaluators.propagation.verdicts import verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict

BETWEEN_LOOKS = 8
"""Examples that CROWN bounds between two looks at the clock: two seconds each on a ResNet-4b."""


@dataclass
class Asked:
    """An example, and what is known about it.

    Attributes:
        deadline: of everything; halted.
        verdict: where there is one already.
        margins: proved lower bounds, float64 `[others]`.
        known: bounds of pre-activations, by position; none where pooling has to be rewritten.
        passes: how often the bounds of its neurons were searched.
    """

    deadline: Deadline
    margins: Tensor
    verdict: Verdict | None = None
    known: Mapping[int, Interval] = field(default_factory=dict)
    passes: int = 0

    def answered(self, verdict: Verdict) -> Verdict:
        """The verdict with the seconds that it took."""
        return replace(verdict, seconds=self.deadline.spent)


@dataclass(frozen=True)
class CheapBounds:
    """Asks about all examples of a problem.

    Attributes:
        problem: the question.
        attack: whose runs are tried.
    """

    problem: Problem
    attack: PGD

    def __call__(self) -> list[Asked]:
        """Ask one after the other, each about what is open yet."""
        none = torch.full((self.problem.classes - 1,), -torch.inf, dtype=torch.float64)
        found = [Asked(self.problem.deadline(), none) for _ in range(len(self.problem))]
        for its in found:
            its.deadline.halt()
        bounds = not (self.problem.evidence and _piecewise_linear(self.problem))
        for wanted, ask in (
            (bounds, self._intervals),
            (True, lambda *asked: self._attacked(range(min(1, self.attack.restarts)), *asked)),
            (bounds and not self._missing, self._crown),
            (True, lambda *asked: self._attacked(range(1, self.attack.restarts), *asked)),
        ):
            rows = [row for row, its in enumerate(found) if its.verdict is None]
            if wanted and rows:
                open_ = [found[row] for row in rows]
                with shared([its.deadline for its in open_]):
                    ask(self.problem.select(rows), open_)
        return found

    @property
    def _missing(self) -> bool:
        assert isinstance(self.problem.network, Network)
        return bool(ADAPTIVE.missing(self.problem.network))

    def _intervals(self, problem: Problem, asked: list[Asked]) -> None:
        relaxed = interval_relaxation(problem)
        _bounded(problem, asked, margins(relaxed, problem.labels, to_input=False))

    def _crown(self, problem: Problem, asked: list[Asked]) -> None:
        deadline = problem.deadline(len(problem))
        for first in range(0, len(problem), BETWEEN_LOOKS):
            if deadline.passed:
                break
            rows = range(first, min(first + BETWEEN_LOOKS, len(problem)))
            part, mine = problem.select(rows), asked[rows.start : rows.stop]
            relaxed = linear_relaxation(part, ADAPTIVE)
            _bounded(part, mine, margins(relaxed, part.labels, to_input=True))
            for row, its in enumerate(mine):
                if its.verdict is None:
                    its.known = _pre_activations(relaxed, row)

    def _attacked(self, runs: range, problem: Problem, asked: list[Asked]) -> None:
        with torch.enable_grad():
            found = self.attack.attack(problem, runs)
        for row, its in enumerate(asked):
            # A point that only float32 misclassifies is no answer.
            if not why_not_witness(problem, row, found[row].witness):
                its.verdict = found[row]


def _bounded(problem: Problem, asked: list[Asked], bounds: Tensor) -> None:
    """Keep the margins, and the verdicts of those that are all positive."""
    for its, verdict, mine in zip(asked, verdicts(problem, bounds), bounds.cpu(), strict=True):
        its.margins = torch.fmax(its.margins, mine)
        if verdict.status is Status.CERTIFIED:
            its.verdict = verdict


def _pre_activations(relaxed: Relaxed, row: int) -> dict[int, Interval]:
    """One example's bounds of what feeds its elementwise functions and products."""
    nodes = relaxed.network.nodes
    if any(isinstance(node.operation, MaxPool) for node in nodes):
        return {}
    bent = (node for node in nodes if isinstance(node.operation, Elementwise | Product))
    places = {parent for node in bent for parent in node.parents}
    return {
        place: Interval(*(end[row : row + 1].cpu() for end in relaxed.bounds[place]))
        for place in places
    }


def _piecewise_linear(problem: Problem) -> bool:
    assert isinstance(problem.network, Network)
    operations = [node.operation for node in problem.network.nodes]
    return all(
        isinstance(its, LeakyReLU) for its in operations if isinstance(its, Elementwise | Product)
    )
