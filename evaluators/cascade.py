"""The cascade: cheap methods first, so that each example is decided by the first one that can."""

from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from evaluators.evaluator import Evaluator
from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict, charged_in_all

SPENT = "timeout: the time was used up before every method was asked"
"""The note of an example whose time budget was used up before every stage was asked."""


def default_stages(complete: bool = True) -> tuple[Evaluator, ...]:
    """The evaluators for deterministic networks that have a place in the cascade, in order.

    Args:
        complete: with those that go on until the time budget is used up. Without them no verdict
            depends on a clock where the budget is enough for all.
    """
    chosen = [
        evaluator
        for evaluator in catalogue().values()
        if evaluator.cascade is not None
        and evaluator.accepts is Network
        and (complete or not evaluator.complete)
    ]
    return tuple(evaluator() for evaluator in sorted(chosen, key=lambda e: e.cascade or 0))


@dataclass(frozen=True)
class Cascade:
    """Asks each stage about what the stages before left open.

    A verdict says which stage gave it; its seconds are those of all stages tried, and an example
    that none decides keeps the best margin proved and the last stage's note. Nothing more is asked
    about an example that has used up its time budget: what is cheap on most networks takes a minute
    on some.
    """

    stages: tuple[Evaluator, ...] = field(default_factory=default_stages)

    @staticmethod
    def name() -> str:
        """Name on the command line and in results."""
        return "cascade"

    @property
    def version(self) -> str:
        """Versions of all stages."""
        return "+".join(f"{stage.name()}-{stage.version}" for stage in self.stages)

    @property
    def complete(self) -> bool:
        """Whether a stage may use up an example's time budget."""
        return any(stage.complete for stage in self.stages)

    def halves(self) -> tuple["Cascade", "Cascade"]:
        """Return the stages that need little time, and those that may use up an example's budget.

        What the first leaves open can be put to the second, elsewhere and in other batches: `after`
        then makes of both verdicts the one of the whole cascade.
        """
        cheap = tuple(takewhile(lambda stage: not stage.complete, self.stages))
        return Cascade(cheap), Cascade(self.stages[len(cheap) :])

    def options(self) -> dict[str, Any]:
        """Options of all stages, by stage."""
        return {stage.name(): stage.options() for stage in self.stages}

    def __call__(self, problem: Problem) -> list[Verdict]:
        """One checked verdict for each example, in order."""
        verdicts: list[Verdict] = []
        open_rows = list(range(len(problem)))
        for stage in self.stages:
            if not open_rows:
                break
            work = problem.stopwatch()
            found = charged_in_all(stage(problem.select(open_rows)), work.spent)
            if not verdicts:
                verdicts = found
            else:
                for row, verdict in zip(open_rows, found, strict=True):
                    verdicts[row] = after(verdicts[row], verdict)
            open_rows = [row for row in open_rows if verdicts[row].status is Status.UNKNOWN]
            if not stage.complete:
                for row in open_rows:
                    if verdicts[row].seconds >= problem.seconds:
                        verdicts[row] = replace(verdicts[row], note=SPENT)
                open_rows = [row for row in open_rows if verdicts[row].note != SPENT]
        return verdicts


def after(before: Verdict, now: Verdict) -> Verdict:
    """Return a later stage's verdict with what the earlier ones spent and proved."""
    margins = [verdict.margin for verdict in (before, now) if verdict.margin is not None]
    return replace(
        now,
        seconds=before.seconds + now.seconds,
        margin=max(margins) if margins else None,
        prediction=now.prediction if now.prediction is not None else before.prediction,
    )
