"""A short attack on rows from elsewhere, at random: no certified one may fall, and few open ones.

It looks at far more than can be proved again in the same time, and most of what nobody can prove
is wrong.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from leaderboard.evaluation.forecast import cut
from leaderboard.evaluation.shard import evaluate
from leaderboard.intake.acceptance.known import Known
from leaderboard.recheck.withstood import ATTACK, hides

_BATCH = 100
_LEAST = 10
"""Examples that are attacked whatever the time is."""


def broken(certified: pd.DataFrame, known: Known, seconds: float) -> Iterator[str]:
    """Certified examples that the attack breaks, a sentence each."""
    for example, fell in _attacked(certified, known, seconds):
        if fell:
            yield f"example {example}: it is certified, but an attack breaks it."


def hidden(opened: pd.DataFrame, known: Known, seconds: float) -> Iterator[str]:
    """Say so if the attack breaks more open examples than another machine might."""
    if ATTACK not in known.stages:
        return
    fell = [fell for _, fell in _attacked(opened, known, seconds)]
    if reason := hides(sum(fell), len(fell)):
        yield f"{reason}."


def _attacked(rows: pd.DataFrame, known: Known, seconds: float) -> Iterator[tuple[int, bool]]:
    """Examples in a random order until the time is used up, a few at least; whether each fell."""
    question = replace(known.question, evaluator=ATTACK)
    waiting = [int(example) for example in rows["example"]]
    secrets.SystemRandom().shuffle(waiting)
    began, left, count, done = time.perf_counter(), seconds, _LEAST, 0
    while waiting and (left > 0 or not done):
        for shard in cut(question, sorted(waiting[:count])):
            for row in evaluate(shard).to_dict("records"):
                yield int(row["example"]), row["status"] == "falsified"
        done += count
        del waiting[:count]
        spent = time.perf_counter() - began
        left = seconds - spent
        # As many as fit, for of a large network a hundred take half an hour.
        count = max(1, min(_BATCH, int(done * left / max(spent, 1e-9))))
