"""Each example is decided by the first stage that can."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
import torch

from evaluators.cascade import SPENT, Cascade, default_stages
from evaluators.evaluator import Evaluator
from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from tests.fixtures.networks import linear

RADIUS = Fraction(1, 100)


@dataclass(frozen=True)
class Stage(Evaluator):
    """Certifies the examples of its list, breaks none, and proves a margin of all."""

    proves: tuple[int, ...]
    margin: float | None
    asked: Callable[[tuple[int, ...]], None]

    title = "A stage"
    version = "1"

    def solve(self, problem: Problem) -> list[Verdict]:
        self.asked(problem.examples)
        return [
            Verdict(Status.CERTIFIED, None, RADIUS, margin=1.0, seconds=2.0, stage=str(self.margin))
            if example in self.proves
            else Verdict(Status.UNKNOWN, None, margin=self.margin, seconds=2.0, note="too loose")
            for example in problem.examples
        ]


def question(*xs: float) -> Problem:
    network = linear([[0.0], [1.0]], [0.5, 0.0])
    x = torch.tensor(xs)[:, None]
    return Problem(network, x, torch.ones(len(xs), dtype=torch.long), Ball(Norm.LINF, RADIUS))


def test_later_stages_see_only_what_is_open() -> None:
    asked: list[tuple[int, ...]] = []
    stages = (
        Stage((1,), -3.0, asked.append),
        Stage((2, 4), -1.0, asked.append),
        Stage((), -2.0, asked.append),
    )
    found = Cascade(stages)(question(0.9, 0.9, 0.9, 0.1, 0.9))
    assert asked == [(0, 1, 2, 4), (0, 2, 4), (0,)]
    statuses = [v.status for v in found]
    c, f, u = Status.CERTIFIED, Status.FALSIFIED, Status.UNKNOWN
    assert statuses == [u, c, c, f, c]
    seconds = [v.seconds for v in found if v.stage != "prediction"]
    assert seconds == pytest.approx([6.0, 2.0, 4.0, 4.0], abs=1)
    assert found[0].margin == -1.0
    assert found[0].note == "too loose"
    assert {v.prediction for v in found} == {0, 1}


def test_it_stops_when_nothing_is_open() -> None:
    asked: list[tuple[int, ...]] = []
    stages = (Stage((0,), None, asked.append), Stage((), None, asked.append))
    Cascade(stages)(question(0.9))
    assert asked == [(0,)]


def test_nothing_more_is_asked_about_an_example_whose_time_is_used_up() -> None:
    asked: list[tuple[int, ...]] = []
    stages = tuple(Stage((2,), float(-n), asked.append) for n in range(1, 4))
    problem = replace(question(0.9, 0.9, 0.9), seconds=3.0)
    found = Cascade(stages)(problem)
    assert asked == [(0, 1, 2), (0, 1)]
    assert [v.note for v in found] == [SPENT, SPENT, ""]
    assert [v.status for v in found] == [Status.UNKNOWN, Status.UNKNOWN, Status.CERTIFIED]


def test_no_question_no_answer() -> None:
    assert Cascade(default_stages())(question()) == []


def test_the_default_stages_are_those_with_a_place() -> None:
    stages = default_stages()
    places = [stage.cascade for stage in stages]
    assert places == sorted(places)  # type: ignore[type-var]
    assert len(set(places)) == len(places)
    expected = {
        name
        for name, evaluator in catalogue().items()
        if evaluator.cascade is not None and evaluator.accepts is not SmoothedNetwork
    }
    assert {stage.name() for stage in stages} == expected
    cascade = Cascade(stages)
    assert set(cascade.options()) == expected
    assert all(f"{stage.name()}-{stage.version}" in cascade.version for stage in stages)


def test_nobody_attacks_what_two_forward_passes_prove() -> None:
    """An attack is dozens of passes forward and backward, in vain for every robust example."""
    names = [stage.name() for stage in default_stages()]
    assert names.index("ibp") < names.index("lipschitz-margin") < names.index("pgd")
    assert names.index("pgd") < names.index("crown")


def test_the_cascade_may_leave_out_what_uses_up_the_time() -> None:
    every, cheap = Cascade(default_stages()), Cascade(default_stages(complete=False))
    assert (every.complete, cheap.complete) == (True, False)
    left_out = [stage.name() for stage in every.stages if stage not in cheap.stages]
    assert left_out == ["branch-and-bound"]
    assert every.version.startswith(cheap.version + "+")


@pytest.mark.parametrize("stage", [s.name() for s in default_stages()])
def test_the_stage_that_decided_is_recorded(stage: str) -> None:
    """Each stage alone signs what it decides."""
    (evaluator,) = [s for s in default_stages() if s.name() == stage]
    found = Cascade((evaluator,))(question(0.9, 0.505, 0.1))
    assert found[2].stage == "prediction"
    assert found[0].stage == found[1].stage == stage
