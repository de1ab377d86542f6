"""Certificates from elsewhere, measured again as far as there is time: in an order nobody foresees.

A bound that was never proved looks like one that was. So certified examples are evaluated once
more, by the evaluator that is said to have decided them, chosen at random; of a smoothed model all
that are read rightly, for its accuracy and its radii are sampled, too. Whoever forged one in ten is
found out by twenty of them with probability 0.88. A search has three times its budget, for machines
differ; what it does not find even so is stored as unknown, and most of them together refuse a file.
Before that a part of the time goes into a short attack (`attacked`).
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from leaderboard.evaluation.evaluator import uses_time
from leaderboard.evaluation.forecast import cut
from leaderboard.evaluation.shard import evaluate
from leaderboard.intake.acceptance.attacked import broken, hidden
from leaderboard.intake.acceptance.difference import Sums, different
from leaderboard.intake.acceptance.known import LONGER, Known
from leaderboard.results.store import Results
from leaderboard.settings.question import Question

_BATCH = 100
_ATTACKED = 0.2
"""The part of the time in which certified examples are attacked, and that for open ones."""
_LATE = 3
"""So many searches that end with their time, and more than half, are not a matter of machines."""
_MOST_TOLD = 20
_ENDING = ("sequential", "input-specific")
"""Procedures whose `n` is the number that they drew."""


@dataclass(frozen=True)
class Measured:
    """What came of it: certificates that were not measured again, and what was found otherwise.

    Attributes:
        left: how many there was no time for.
        problems: what was found otherwise, a sentence each.
        late: examples that were not found again in `LONGER` times their budget.
    """

    left: int
    problems: list[str]
    late: tuple[int, ...] = ()


def measure_again(found: Results, known: Known, seconds: float) -> Measured:
    """Measure certified examples of a result again until the time is used up.

    Some at least, unless there are no seconds at all, or no data. Open ones are attacked.
    """
    rows = found.rows.set_index("example", drop=False)
    right = (rows["prediction"] == rows["label"]).fillna(False).astype(bool)
    certified = rows[right if known.smoothed else rows["status"] == "certified"]
    if seconds <= 0 or known.split is None:
        return Measured(len(certified), [])
    ends = time.perf_counter() + seconds
    if not known.smoothed:
        misread = (rows["prediction"] != rows["label"]).fillna(False).astype(bool)
        opened = rows[(rows["status"] == "unknown") & ~misread]
        problems = [
            *broken(certified, known, _ATTACKED * seconds),
            *hidden(opened, known, _ATTACKED * seconds),
        ]
        if problems:
            return Measured(len(certified), problems[:_MOST_TOLD])
    return _proved(certified, known, ends)


def _proved(certified: pd.DataFrame, known: Known, ends: float) -> Measured:
    """Certified examples evaluated again, until the clock says `ends`."""
    problems: list[str] = []
    late: list[int] = []
    searched = vain = done = 0
    sums = Sums()
    for question, examples in _batches(certified, known):
        if problems or (done and time.perf_counter() > ends):
            break
        slow = uses_time(question)
        searched += len(examples) if slow else 0
        done += len(examples)
        for shard in cut(question, examples):
            for row in evaluate(shard).to_dict("records"):
                if row["status"] == "unknown" and "timeout" in row["note"]:
                    late.append(int(row["example"]))
                    vain += slow
                    continue
                before = certified.loc[row["example"]]
                if reason := different(before, row, slow=slow):
                    problems.append(f"example {row['example']}: {reason}.")
                elif reason := sums.add(before, row):
                    problems.append(reason)
    if vain >= _LATE and 2 * vain > searched:
        problems.append(
            f"{vain} of {searched} certificates that took a search are not found again in"
            f" {LONGER} times the budget."
        )
    left, problems = len(certified) - done, problems[:_MOST_TOLD]
    # Without all of its samples nothing can be said of counts: what they prove is derived anyway.
    return (
        Measured(left + len(late), problems)
        if known.smoothed
        else Measured(left, problems, tuple(late))
    )


def _batches(certified: pd.DataFrame, known: Known) -> Iterator[tuple[Question, Sequence[int]]]:
    """Examples at random, a few at a time, each with the evaluator that decided it."""
    asked = {str(stage): _asked_of(stage, known) for stage in certified["stage"].unique()}
    waiting = {
        stage: [int(one) for one in certified["example"][certified["stage"] == stage]]
        for stage in asked
    }
    chance = secrets.SystemRandom()
    for examples in waiting.values():
        chance.shuffle(examples)
    while left := {stage: examples for stage, examples in waiting.items() if examples}:
        for stage, examples in left.items():
            slow = known.smoothed or uses_time(asked[stage])
            count = 1 if slow else _BATCH
            some = sorted(examples[:count])
            yield _of_as_many(asked[stage], certified["n"].loc[some[0]]), some
            del examples[:count]


def _asked_of(stage: str, known: Known) -> Question:
    """The question as it is put to the evaluator that decided, with more time."""
    question = replace(known.question, seconds=LONGER * known.question.seconds)
    if known.smoothed:
        return question
    return replace(question, evaluator=str(stage), complete=True)


def _of_as_many(question: Question, n: Any) -> Question:
    """The question with as many samples as were counted, where a procedure may choose how many.

    A procedure that ends by itself may end elsewhere for one sample that was read differently, and
    counts of different numbers of samples cannot be compared closely. Its samples are the first of
    one stream: those of the fixed procedure with that number.
    """
    options = dict(question.options)
    if options.get("procedure") not in _ENDING or pd.isna(n):
        return question
    options |= {"procedure": "fixed", "n": int(n)}
    return replace(question, options=tuple(sorted(options.items())))
