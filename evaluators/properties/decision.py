"""Decide a specification: certified for all its boxes, or falsified by an exact counterexample.

An exact box is asked about as the smallest float64 box that holds it, made wider where it would
hold no float32; what is proved there is proved for the exact one. Candidates for counterexamples
are replayed in the exact box (`counterexample.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.branching.pieces import in_pieces
from evaluators.cascade import default_stages
from evaluators.evaluator import Evaluator
from evaluators.falsification.pgd import PGD
from evaluators.network.constraint import Disjunct
from evaluators.network.network import Network
from evaluators.network.specification import Case, Specification, specified
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.errors import UnsupportedSpecificationError
from evaluators.onnx.runtime import products
from evaluators.properties.boxes import enclosing_floats
from evaluators.properties.counterexample import Counterexample, replay
from evaluators.properties.exact_edge import closes
from evaluators.question.problem import Problem
from evaluators.question.region import Box
from evaluators.question.verdict import Status, Verdict

BOXES_AT_ONCE = 128
"""512 boxes of a network of 5 inputs take over 6 s one by one, 1.5 s by 16, 0.27 s by 128, 0.16 s
at once; the memory they need grows with their number, and little time is left to gain."""

FEW_BOXES = 16
"""With at most so many boxes open, each is attacked widely and cut into pieces."""

WIDE_ATTACK = PGD(steps=100, restarts=3)
"""From many points at once: where there are few inputs, one start meets little of the box."""
MOST_STARTS = 64
"""In 24 networks of 3 to 10 inputs, asked about a value 0.1 % below the largest known, 64 starts
met all counterexamples; 1,024 took twice the time and met the 21 that the other stages meet too."""
STEP_PRODUCTS = 10**7
"""Multiplications that one step of all starts may take."""
ATTACK_SHARE = 0.1
"""Share of the time left that the wide attack of one box may take."""
PIECE_SHARE = 0.75
"""Share of the time left that a piece may take: without it, what the others prove is nothing."""

EDGE_SHARE = 0.05
"""Share of the time left that exact intervals may take, for one box."""

MARGINS = tuple(Fraction(1, 10**digits) for digits in (6, 5, 4, 3, 2))
"""By how much more a second candidate must break the property, in units of its largest output."""

Deployed = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""The network as it is deployed: one input in row-major order to its outputs."""


@dataclass(frozen=True)
class PropertyDecision:
    """The answer to a specification.

    Attributes:
        status: certified, falsified, or unknown.
        counterexample: of a falsified specification.
        note: why it is unknown, if more is to say than that nothing was proved.
    """

    status: Status
    counterexample: Counterexample | None = None
    note: str = ""


def decide(
    network: Network,
    deployed: Deployed,
    specification: Specification,
    deadline: Deadline,
    stages: Sequence[Evaluator] | None = None,
) -> PropertyDecision:
    """Decide whether any case of a specification has a counterexample.

    Guarantee: "certified" only if no input of any case's exact box has an output, in real
    arithmetic or in any float32 run of the network, that meets a disjunct. "Falsified" only with an
    input of the exact box whose outputs meet a disjunct, exactly, both in the deployed run and in
    float64.

    Trusted: the evaluators' own guarantees, for each box and each piece of it, and that the boxes
    asked about hold the exact ones. `deployed` decides only about counterexamples.

    Args:
        network: what is asked about.
        deployed: the same network as others run it, in float32.
        specification: boxes of inputs, and what their outputs must not meet.
        deadline: kept as far as the evaluators keep to their time.
        stages: the evaluators to ask, in order; the default cascade's if None, and then exact
            intervals, too (`exact_edge.py`).

    Raises:
        UnsupportedSpecificationError: numbers beyond floating point, or another network's sizes.
        ContradictionError: an evaluator contradicts itself, or the network's own outputs.
    """
    sizes = prod(network.input_shape), network.classes
    if sizes != (specification.inputs, specification.outputs):
        raise UnsupportedSpecificationError(
            f"The network has {sizes[0]} inputs and {sizes[1]} outputs, the property"
            f" {specification.inputs} and {specification.outputs}."
        )
    if specification.shape is not None:
        asked, here = (
            [size for size in shape if size != 1]
            for shape in (specification.shape, network.input_shape)
        )
        if asked != here:
            raise UnsupportedSpecificationError(
                f"The network's inputs have the shape {list(network.input_shape)}, the property's"
                f" {list(specification.shape)}."
            )
    decision = _Decision(network, deployed, specification, deadline, edges=stages is None)
    return decision.answer(default_stages() if stages is None else stages)


@dataclass
class _Group:
    """All boxes that are asked about the same disjuncts, as one problem.

    Attributes:
        whole: whether the boxes are the specification's, not their pieces.
    """

    cases: list[Case]
    problem: Problem
    whole: bool = True
    open: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = list(range(len(self.cases)))


class _Decision:
    """A specification while it is being decided."""

    def __init__(
        self,
        network: Network,
        deployed: Deployed,
        specification: Specification,
        deadline: Deadline,
        *,
        edges: bool,
    ) -> None:
        self.network, self.deployed, self.deadline = network, deployed, deadline
        self.edges = edges
        self.groups = [self.group(cases) for cases in _grouped(specification.cases)]
        self.notes: list[str] = []
        # With the case itself, so that no other gets its identity meanwhile.
        self.at_edge: dict[int, tuple[Case, bool]] = {}

    def group(self, cases: list[Case]) -> _Group:
        lower, upper, x = (
            torch.from_numpy(np.stack(values)).reshape(-1, *self.network.input_shape)
            for values in zip(*(enclosing_floats(case.box) for case in cases), strict=True)
        )
        return _Group(cases, self.problem(cases[0].disjuncts, Box(lower, upper), x))

    def problem(
        self, disjuncts: Sequence[Disjunct], box: Box, x: Tensor, margin: Fraction = Fraction(0)
    ) -> Problem:
        """Ask whether no disjunct holds anywhere, or none by a margin."""
        constraints = [
            [row._replace(constant=row.constant + margin) for row in disjunct]
            for disjunct in disjuncts
        ]
        labels = torch.zeros(len(x), dtype=torch.long)
        return Problem(specified(self.network, constraints), x, labels, box)

    def timed(self, problem: Problem, share: float) -> Problem:
        """The same question, with a share of the time left for each example."""
        seconds = max(0.0, self.deadline.left * share)
        return replace(problem, seconds=seconds, until=self.deadline.until)

    def waiting(self) -> int:
        """Count the open boxes of all groups."""
        return sum(len(group.open) for group in self.groups)

    def answer(self, stages: Sequence[Evaluator]) -> PropertyDecision:
        """Ask stage after stage about all open boxes, until one has a counterexample."""
        for stage in stages:
            if self.deadline.passed:
                break
            if stage is stages[-1] and len(stages) > 1 and self.waiting() <= FEW_BOXES:
                if found := self.attack_widely():
                    return PropertyDecision(Status.FALSIFIED, found)
                self.close_edges()
                self.groups = [part for group in self.groups for part in _pieces(group)]
            if found := self.ask(stage):
                return PropertyDecision(Status.FALSIFIED, found)
        self.close_edges()
        if not self.notes and not self.waiting():
            return PropertyDecision(Status.CERTIFIED)
        return PropertyDecision(Status.UNKNOWN, note=self.notes[0] if self.notes else "")

    def ask(self, stage: Evaluator) -> Counterexample | None:
        """Ask one stage about all open boxes; return its first counterexample."""
        waiting = self.waiting()
        for group in self.groups:
            for rows in _batches(group.open, BOXES_AT_ONCE if group.whole else 1):
                if self.deadline.passed:
                    return None
                share = 1 / waiting if group.whole else max(1 / waiting, PIECE_SHARE)
                problem = self.timed(group.problem.select(rows), share)
                waiting -= len(rows)
                for row, verdict in zip(rows, stage(problem), strict=True):
                    if found := self.settle(group, row, verdict):
                        return found
        return None

    def settle(self, group: _Group, row: int, verdict: Verdict) -> Counterexample | None:
        """Take a verdict on one box; return the counterexample, if it is one."""
        if verdict.status is Status.CERTIFIED:
            group.open.remove(row)
        elif verdict.status is Status.FALSIFIED:
            group.open.remove(row)
            assert verdict.witness is not None
            found = self.replayed(group.cases[row], verdict.witness)
            if isinstance(found, str):
                if self.closes(group.cases[row]):
                    return None
                found = self.by_a_margin(group, row) or found
            if isinstance(found, Counterexample):
                return found
            # Not open any more, for it cannot be proved, and not decided either.
            self.notes.append(found)
        return None

    def close_edges(self) -> None:
        """Close the open boxes that exact intervals decide."""
        for group in self.groups:
            group.open = [row for row in group.open if not self.closes(group.cases[row])]

    def closes(self, case: Case) -> bool:
        """Tell whether exact intervals, which are charged for no rounding, close a box."""
        if not self.edges:
            return False
        if id(case) not in self.at_edge:
            found = closes(self.network, case, self.deadline.part(EDGE_SHARE))
            self.at_edge[id(case)] = case, found
        return self.at_edge[id(case)][1]

    def attack_widely(self) -> Counterexample | None:
        """Attack each open box from as many starts as its network is small."""
        count = min(MOST_STARTS, STEP_PRODUCTS // max(1, products(self.network)))
        if count < 2:
            return None
        for group in self.groups:
            for row in list(group.open):
                problem = self.timed(group.problem.select([row] * count), ATTACK_SHARE / count)
                problem = replace(problem, examples=tuple(range(count)))
                for verdict in WIDE_ATTACK(problem):
                    if verdict.witness is not None:
                        found = self.replayed(group.cases[row], verdict.witness)
                        if isinstance(found, Counterexample):
                            return found
        return None

    def by_a_margin(self, group: _Group, row: int) -> Counterexample | None:
        """Look for a counterexample by a margin, which survives the runtime's rounding."""
        one, case = group.problem.select([row]), group.cases[row]
        assert isinstance(one.region, Box)
        largest = float(self.network(one.x.double()).abs().max())
        attacks = [stage for stage in default_stages() if not stage.certifies]
        for share in MARGINS:
            margin = share * (1 + Fraction(largest))
            problem = self.problem(case.disjuncts, one.region, one.x, margin)
            for attack in attacks:
                if self.deadline.passed:
                    return None
                (verdict,) = attack(self.timed(problem, 1.0))
                if verdict.witness is not None:
                    found = self.replayed(case, verdict.witness)
                    if isinstance(found, Counterexample):
                        return found
        return None

    def replayed(self, case: Case, witness: Tensor) -> Counterexample | str:
        def exact(x: NDArray[np.float64]) -> list[float]:
            shaped = torch.from_numpy(x).reshape(1, *self.network.input_shape)
            outputs: list[float] = self.network(shaped)[0].tolist()
            return outputs

        def deployed(x: NDArray[np.float64]) -> list[float]:
            outputs: list[float] = self.deployed(x.astype(np.float32)).reshape(-1).tolist()
            return outputs

        return replay(case, witness.float().numpy(), deployed, exact)


def _batches(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield rows in batches; of a copy, for rows are taken out on the way."""
    every = list(rows)
    for first in range(0, len(every), size):
        yield every[first : first + size]


def _pieces(group: _Group) -> Iterator[_Group]:
    """Cut the open boxes of a group into pieces where that pays; the others stay together."""
    whole = []
    for row in group.open:
        problem = in_pieces(group.problem.select([row]))
        if len(problem) > 1:
            yield _Group([group.cases[row]] * len(problem), problem, whole=False)
        else:
            whole.append(row)
    group.open = whole
    yield group


def _grouped(cases: Sequence[Case]) -> list[list[Case]]:
    """Put cases with the same disjuncts together."""
    groups: dict[object, list[Case]] = {}
    for case in cases:
        key = tuple(
            tuple((tuple(sorted(row.coefficients.items())), row.constant) for row in disjunct)
            for disjunct in case.disjuncts
        )
        groups.setdefault(key, []).append(case)
    return list(groups.values())
