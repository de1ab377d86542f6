"""Certificates from elsewhere, measured again as far as there is time: in an order nobody foresees.

A bound that was never proved looks like one that was. So certified examples are evaluated once
more, by the evaluator that is said to have decided them, chosen at random; of a smoothed model all
that are read rightly, for its accuracy and its radii are sampled, too. Whoever forged one in ten is
found out by twenty of them with probability 0.88. Time that runs out decides nothing. Before that a
part of the time goes into a short attack on them: it looks at far more, and most of what nobody can
prove is wrong.
"""

import json
import math
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from leaderboard.evaluation.evaluator import uses_time
from leaderboard.evaluation.forecast import cut
from leaderboard.evaluation.shard import evaluate
from leaderboard.intake.acceptance.known import Known
from leaderboard.recheck.splitting import CROSSED
from leaderboard.results.store import Results
from leaderboard.settings.question import Question

_BATCH = 100
_ATTACK, _ATTACKED = "pgd", 0.25
"""The attack, and the part of the time that it may take."""
_FIRST = 10
"""Examples that are attacked whatever the time is."""
_MOST_TOLD = 20
_ROUNDED = 1e-4
"""Relative and absolute: margins are sums in float64, in another order on another machine, and
their bounds may have been improved by many small steps."""
_CHANGED = 0.005
"""Part of the noisy samples that another machine may read differently."""
_FEW, _TURNED = 3, 0.05
"""So many samples more for the class, and this part of those that vote for others here: only they
can have voted for it there, and few of them lie next to the boundary."""
_DEVIATIONS = 4
"""Samples that are read differently turn either way: of so many the sum is that many roots of their
number at most. One way alone they would lift every bound above what its confidence allows."""
_SUMMED = 0.01
"""Relative: by how much a bound of the gradient is smaller where some samples turned."""
_ENDING = ("sequential", "input-specific")
"""Procedures whose `n` is the number that they drew."""


@dataclass(frozen=True)
class Measured:
    """What came of it: how many certificates were not measured again, and what was not found."""

    left: int
    problems: list[str]


def measure_again(found: Results, known: Known, seconds: float) -> Measured:
    """Measure certified examples of a result again until the time is used up.

    Some at least, unless there are no seconds at all, or no data.
    """
    rows = found.rows.set_index("example", drop=False)
    right = (rows["prediction"] == rows["label"]).fillna(False).astype(bool)
    certified = rows[right if known.smoothed else rows["status"] == "certified"]
    if seconds <= 0 or known.split is None:
        return Measured(len(certified), [])
    ends = time.perf_counter() + seconds
    problems = [] if known.smoothed else [*_broken(certified, known, _ATTACKED * seconds)]
    tried = done = 0
    sums = _Sums()
    for question, examples in _batches(certified, known):
        if problems or (tried and time.perf_counter() > ends):
            break
        tried += len(examples)
        for shard in cut(question, examples):
            for row in evaluate(shard).to_dict("records"):
                late = row["status"] == "unknown" and "timeout" in row["note"]
                done += not late
                before = certified.loc[row["example"]]
                if not late and (reason := different(before, row, slow=uses_time(question))):
                    problems.append(f"example {row['example']}: {reason}.")
                elif not late and (reason := sums.add(before, row)):
                    problems.append(reason)
    return Measured(len(certified) - done, problems[:_MOST_TOLD])


def _broken(certified: pd.DataFrame, known: Known, seconds: float) -> Iterator[str]:
    """Certified examples that a short attack breaks, at random; of a few at least."""
    question = replace(known.question, evaluator=_ATTACK)
    waiting = [int(example) for example in certified["example"]]
    secrets.SystemRandom().shuffle(waiting)
    began, left, count, done = time.perf_counter(), seconds, _FIRST, 0
    while waiting and (left > 0 or not done):
        for shard in cut(question, sorted(waiting[:count])):
            for row in evaluate(shard).to_dict("records"):
                if row["status"] == "falsified":
                    yield f"example {row['example']}: it is certified, but an attack breaks it."
        done += count
        del waiting[:count]
        spent = time.perf_counter() - began
        left = seconds - spent
        # As many as fit, for of a large network a hundred take half an hour.
        count = max(1, min(_BATCH, int(done * left / max(spent, 1e-9))))


def _batches(certified: pd.DataFrame, known: Known) -> Iterator[tuple[Question, Sequence[int]]]:
    """Examples at random, a few at a time, each with the evaluator that decided it."""
    asked = {
        str(stage): known.question
        if known.smoothed
        else replace(known.question, evaluator=str(stage), complete=True)
        for stage in certified["stage"].unique()
    }
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


def different(before: "pd.Series[Any]", now: dict[Any, Any], *, slow: bool) -> str:
    """What was measured otherwise; empty if nothing was."""
    if before["status"] == "certified" and now["status"] != "certified":
        return f"it is certified, but measured again here it is {now['status']} ({now['note']})"
    said, found = before["prediction"], now["prediction"]
    if not pd.isna(said) and not pd.isna(found) and said != found:
        return f"its prediction is {said}, but measured again here {found}"
    if not pd.isna(before["n"]):
        return _other_counts(before, now)
    if not pd.isna(said) and pd.isna(found):
        return f"its prediction is {said}, but measured again here none ({now['note']})"
    if CROSSED.search(before["note"]):
        return _other_crossings(before, now)
    margin, again = before["margin"], now["margin"]
    if slow or pd.isna(margin) or margin <= again + _ROUNDED * (1 + abs(again)):
        return ""
    return f"its margin is {margin:.6g}, but measured again here {again:.6g}"


def _turned(samples: float) -> float:
    """How many votes more a class may have of samples that were read differently."""
    return _FEW + _DEVIATIONS * math.sqrt(_CHANGED * samples)


def _other_counts(before: "pd.Series[Any]", now: dict[Any, Any]) -> str:
    """How the samples of an example were counted otherwise."""
    if pd.isna(now["n"]):
        return f"it has counts, but measured again here none ({now['note']})"
    others, most = now["n"] - now["count"], _CHANGED * now["n"]
    more = before["count"] - now["count"]
    allowed = min(most, _turned(now["n"]), _FEW + _TURNED * others)
    if before["n"] != now["n"] or -more > most or more > allowed:
        counts = f"{now['count']:,} of {now['n']:,} samples"
        said = f"{before['count']:,} of {before['n']:,}"
        return f"its count is {said}, but measured again here {counts}"
    bound, again = (_gradient_bound(row["statistics"]) for row in (before, now))
    if bound is not None and again is not None and bound < (1 - _SUMMED) * again:
        return f"its gradient's bound is {bound:.6g}, but measured again here {again:.6g}"
    return ""


def _gradient_bound(statistics: Any) -> float | None:
    """The bound of a row's gradient, if it has one."""
    told = {} if pd.isna(statistics) else json.loads(statistics)
    bound = told.get("gradient_bound")
    return None if bound is None else float(bound)


def _other_crossings(before: "pd.Series[Any]", now: dict[Any, Any]) -> str:
    """How the splits of an example voted otherwise, of which all do."""
    said, found = (CROSSED.search(row["note"]) for row in (before, now))
    crossed, again = (int(one[1]) if one else 0 for one in (said, found))
    if crossed <= again + _FEW:
        return ""
    return f"it may cross {crossed:,} cuts, but measured again here {again:,}"


@dataclass
class _Sums:
    """Votes of all examples together, as they were said to be, less those that were counted."""

    more: int = 0
    samples: int = 0

    def add(self, before: "pd.Series[Any]", now: dict[Any, Any]) -> str:
        """What is wrong with the sum, with one example more; empty if nothing is."""
        if pd.isna(before["n"]) or pd.isna(now["n"]):
            return ""
        self.more += int(before["count"]) - int(now["count"])
        self.samples += int(now["n"])
        if self.more <= _turned(self.samples):
            return ""
        return (
            f"its counts are too high by {self.more:,} of {self.samples:,} samples that were"
            " measured again here."
        )
