"""Verify: an ONNX network and a VNN-LIB property in, VNN-COMP's answer out.

The second place where the two packages meet: `run.py` asks about balls around a dataset's examples
and stores rows, this module asks about the boxes of a property's file and keeps no rows.

A box of exact numbers is asked about as the smallest box of float64 numbers that holds it, made
wider where it would hold no float32; what is proved there is proved for the exact one. Candidates
for counterexamples are replayed in the exact box (`counterexample.py`).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.branching.pieces import in_pieces
from evaluators.cascade import Cascade, default_stages
from evaluators.evaluator import Evaluator
from evaluators.falsification.pgd import PGD
from evaluators.listing import catalogue
from evaluators.network.constraint import Disjunct
from evaluators.network.network import Network
from evaluators.network.specification import specified
from evaluators.numerics.errors import (
    ContradictionError,
    UnsupportedModelError,
    UnsupportedSpecificationError,
)
from evaluators.numerics.rounding import float_above, float_below
from evaluators.onnx.file import MAX_BYTES
from evaluators.onnx.reader import import_free
from evaluators.onnx.runtime import Runtime, products
from evaluators.question.problem import Problem
from evaluators.question.region import Box
from evaluators.question.verdict import Status, Verdict
from leaderboard.common.errors import BugError, InputError, unknown_name
from leaderboard.common.packed import read_packed
from leaderboard.vnncomp.counterexample import Counterexample, float32_between, replay
from leaderboard.vnncomp.instance import Answer, Instance, Word
from leaderboard.vnncomp.property import Case, InputBox, Specification, read_vnnlib

BOXES_AT_ONCE = 128

BEGUN_ANYWAY = "crown"
"""The stage that the last one begins with; by itself it pays where a batch shares it."""

MANY_STARTS = PGD(steps=100, restarts=3)
"""From many points at once: where there are few inputs, one start meets little of the box."""
MOST_STARTS = 1024
_PRODUCTS = 10**7
"""Products of one step of all starts; some seconds for the whole attack."""
_MOST_PRODUCTS = 10**8
"""Of one step of two starts, which are the least."""
_MANY_BOXES = 16
_PIECE = 0.75
"""Share of the time left that a piece may take: without it, what the others prove is nothing."""
_TRIED = 20

SHARPER = tuple(Fraction(1, 10**digits) for digits in (6, 5, 4, 3, 2))
"""By how much more a second candidate must break the property, in units of its largest output."""


def verify(instance: Instance, deadline: float) -> Answer:
    """Answer one instance; the deadline is kept as far as the evaluators keep to their time.

    Raises:
        InputError: the files cannot be used.
        BugError: two evaluators contradict each other.
    """
    stages = find_stages(instance.evaluator)
    specification = read_vnnlib(instance.specification)
    try:
        return _Search(instance.model, specification, deadline).answer(stages)
    except UnsupportedSpecificationError as error:
        raise InputError(f"{instance.specification.name}: {error}") from error
    except ContradictionError as error:
        raise BugError(str(error)) from error


def find_stages(name: str | None) -> tuple[Evaluator, ...]:
    """The evaluators to ask, in order.

    Raises:
        InputError: there is none of this name for plain networks.
    """
    if name is None or name == Cascade.name():
        return tuple(stage for stage in default_stages() if stage.name() != BEGUN_ANYWAY)
    fitting = {n: e for n, e in catalogue().items() if e.accepts is Network}
    if name not in fitting:
        raise unknown_name("evaluator for plain networks", name, [*fitting, Cascade.name()])
    return (fitting[name](),)


@dataclass
class _Group:
    """All boxes that are asked about the same disjuncts, as questions about one network.

    Attributes:
        whole: whether the boxes are the property's, not their pieces.
    """

    cases: list[Case]
    problem: Problem
    whole: bool = True
    open: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = list(range(len(self.cases)))


class _Search:
    """One instance while it is being decided."""

    def __init__(self, model: Path, specification: Specification, deadline: float) -> None:
        self.deadline = deadline
        data = read_packed(model, MAX_BYTES)
        samples = _samples(specification.cases[0].box)
        try:
            self.network = import_free(data, model, samples)
        except UnsupportedModelError as error:
            raise InputError(*error.problems) from error
        sizes = prod(self.network.input_shape), self.network.classes
        if sizes != (specification.inputs, specification.outputs):
            raise InputError(
                f"{model.name}: it has {sizes[0]} inputs and {sizes[1]} outputs, the property"
                f" {specification.inputs} and {specification.outputs}."
            )
        self.runtime = Runtime(data)
        self.groups = [self.group(cases) for cases in _grouped(specification.cases)]
        self.notes: list[str] = []

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def group(self, cases: list[Case]) -> _Group:
        lower, upper, x = (
            torch.from_numpy(np.stack(values)).reshape(-1, *self.network.input_shape)
            for values in zip(*(_floats(case.box) for case in cases), strict=True)
        )
        return _Group(cases, self.problem(cases[0].disjuncts, Box(lower, upper), x))

    def problem(
        self, disjuncts: Sequence[Disjunct], box: Box, x: Tensor, sharper: Fraction = Fraction(0)
    ) -> Problem:
        """Whether no disjunct holds anywhere; `sharper` asks for counterexamples by a margin."""
        rows = [
            [row._replace(constant=row.constant + sharper) for row in disjunct]
            for disjunct in disjuncts
        ]
        labels = torch.zeros(len(x), dtype=torch.long)
        return Problem(specified(self.network, rows), x, labels, box)

    def answer(self, stages: Sequence[Evaluator]) -> Answer:
        """Ask stage after stage about all open boxes, until one has a counterexample."""
        for stage in stages:
            waiting = sum(len(group.open) for group in self.groups)
            dearest = stage is stages[-1] and len(stages) > 1
            if dearest and waiting <= _MANY_BOXES:
                if found := self.attack_widely():
                    return Answer(Word.SAT, found)
                self.groups = [part for group in self.groups for part in _pieces(group)]
                waiting = sum(len(group.open) for group in self.groups)
            for group in self.groups:
                for rows in _parts(group.open, BOXES_AT_ONCE if group.whole else 1):
                    if self.left <= 0:
                        return Answer(Word.TIMEOUT)
                    share = 1 / waiting if group.whole else max(1 / waiting, _PIECE)
                    problem = replace(group.problem.select(rows), seconds=self.left * share)
                    waiting -= len(rows)
                    for row, verdict in zip(rows, stage(problem), strict=True):
                        if found := self.settle(group, row, verdict):
                            return Answer(Word.SAT, found)
        if not self.notes and not any(group.open for group in self.groups):
            return Answer(Word.UNSAT)
        word = Word.UNKNOWN if self.left > 0 else Word.TIMEOUT
        return Answer(word, note=self.notes[0] if self.notes else "")

    def settle(self, group: _Group, row: int, verdict: Verdict) -> Counterexample | None:
        """Take a verdict on one box; the counterexample, if it is one."""
        if verdict.status is Status.CERTIFIED:
            group.open.remove(row)
        elif verdict.status is Status.FALSIFIED:
            group.open.remove(row)
            assert verdict.witness is not None
            found = self.replayed(group.cases[row], verdict.witness)
            if isinstance(found, str):
                found = self.clearer(group, row) or found
            if isinstance(found, Counterexample):
                return found
            # Not open any more, for it cannot be proved, and not decided either.
            self.notes.append(found)
        return None

    def attack_widely(self) -> Counterexample | None:
        """Attack each open box from as many starts as its network is small."""
        one = max(1, products(self.network))
        count = max(2, min(MOST_STARTS, _PRODUCTS // one))
        if count * one > _MOST_PRODUCTS:
            return None
        for group in self.groups:
            for row in list(group.open):
                every = replace(
                    group.problem.select([row] * count),
                    examples=tuple(range(count)),
                    seconds=max(0.0, self.left / 10 / count),
                )
                verdicts = MANY_STARTS(every)
                broken = [v for v in verdicts if v.status is Status.FALSIFIED]
                for verdict in broken[:_TRIED]:
                    assert verdict.witness is not None
                    found = self.replayed(group.cases[row], verdict.witness)
                    if isinstance(found, Counterexample):
                        return found
        return None

    def clearer(self, group: _Group, row: int) -> Counterexample | None:
        """A counterexample by a margin that survives the runtime's rounding, where one is met."""
        one, case = group.problem.select([row]), group.cases[row]
        assert isinstance(one.region, Box)
        largest = float(self.network(one.x.double()).abs().max())
        attacks = [stage for stage in default_stages() if not stage.certifies]
        for share in SHARPER:
            sharper = share * (1 + Fraction(largest))
            problem = self.problem(case.disjuncts, one.region, one.x, sharper)
            for attack in attacks:
                if self.left <= 0:
                    return None
                (verdict,) = attack(replace(problem, seconds=self.left))
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
            outputs: list[float] = self.runtime(x.astype(np.float32)).reshape(-1).tolist()
            return outputs

        return replay(case, witness.float().numpy(), deployed, exact)


def _parts(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    """Rows in batches; a copy, for rows are taken out on the way."""
    every = list(rows)
    for first in range(0, len(every), size):
        yield every[first : first + size]


def _pieces(group: _Group) -> Iterator[_Group]:
    """A group whose open boxes are in pieces, where that pays; those that are not stay together."""
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
    """Cases with the same disjuncts together."""
    groups: dict[object, list[Case]] = {}
    for case in cases:
        key = tuple(
            tuple((tuple(sorted(row.coefficients.items())), row.constant) for row in disjunct)
            for disjunct in case.disjuncts
        )
        groups.setdefault(key, []).append(case)
    return list(groups.values())


Doubles = NDArray[np.float64]


def _floats(box: InputBox) -> tuple[Doubles, Doubles, NDArray[np.float32]]:
    """`(lower, upper, x)`: a float64 box that holds the exact one, and a float32 point of it."""
    largest = float(np.finfo(np.float32).max)
    if max(max(map(abs, box.lower)), max(map(abs, box.upper))) > largest:
        raise InputError("A bound of an input is beyond the range of float32.")
    lower = np.array([float_below(value) for value in box.lower])
    upper = np.array([float_above(value) for value in box.upper])
    x = ((lower + upper) / 2).astype(np.float32)
    for index in np.flatnonzero((x <= lower) | (x >= upper)):
        least, most = box.lower[index], box.upper[index]
        single = float32_between(least, most, (least + most) / 2)
        # No float32 lies between them, such as for a fixed 0.1: its neighbour has to serve.
        x[index] = np.float32(float(least)) if single is None else single
        lower[index] = min(lower[index], float(x[index]))
        upper[index] = max(upper[index], float(x[index]))
    return lower, upper, x


def _samples(box: InputBox) -> NDArray[np.float32]:
    """A few inputs of a box, on which to compare the imported network with the runtime."""
    lower, upper, x = _floats(box)
    shares = np.random.Generator(np.random.Philox(key=21)).random((3, len(x)))
    return np.concatenate((x[None], (lower + shares * (upper - lower)).astype(np.float32)))
