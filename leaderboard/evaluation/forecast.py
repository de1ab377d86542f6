"""How long a question takes, as far as is known beforehand, and the shards that follow."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from evaluators.evaluator import Evaluator
from evaluators.numerics.errors import ContradictionError
from evaluators.question.verdict import Status
from leaderboard.common.devices import devices_of
from leaderboard.common.formatting import plural
from leaderboard.common.formatting import seconds as seconds_text
from leaderboard.common.progress import tell
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.evaluation.evaluator import (
    evaluator_for,
    evaluator_of,
    has_halves,
    uses_time,
)
from leaderboard.evaluation.shard import problem_of
from leaderboard.settings.question import (
    LARGEST_SHARD,
    LONGEST_OPEN,
    LONGEST_SHARD,
    Open,
    Question,
    Shard,
    shards,
)

LONG = 30.0
"""Seconds: a run that may take longer is announced with what it may cost."""
_PROBED, _WORTH = 16, 200
"""Examples on which a plain network's cost is measured, and those for which that is worth it."""


def cut(question: Question, examples: Sequence[int]) -> list[Shard]:
    """List the shards in which a question is asked about examples."""
    shape = find_dataset(question.dataset).shape
    return list(shards(question, examples, shape, _longest(question)))


def cut_cheap(question: Question, examples: Sequence[int]) -> list[Shard]:
    """List the shards in which it is asked of cheap methods alone, of as many as fit at once."""
    shape = find_dataset(question.dataset).shape
    return [replace(one, stages="cheap") for one in shards(question, examples, shape, 0.0)]


def cut_open(question: Question, opened: Sequence[Open]) -> list[Shard]:
    """List the shards in which it is asked of complete methods, of a few open examples each."""
    size = max(1, int(min(LONGEST_OPEN / question.seconds, LARGEST_SHARD)))
    batches = (opened[first : first + size] for first in range(0, len(opened), size))
    return [
        Shard(question, tuple(one.example for one in batch), "complete", tuple(batch))
        for batch in batches
    ]


def in_halves(question: Question, examples: Sequence[int]) -> bool:
    """Say whether cheap methods are asked of many examples first, since all may take long."""
    return has_halves(question) and question.seconds * len(examples) > LONGEST_SHARD


def _longest(question: Question) -> float:
    """Seconds that an example may take, as far as they are known beforehand; else 0."""
    if uses_time(question):
        return question.seconds
    cost = forecast(question, load_split(question.dataset).examples[:1])
    return 0.0 if cost is None else cost[1]


def forecast(question: Question, examples: Sequence[int]) -> tuple[int, float] | None:
    """Estimate the most samples that a smoothed model needs, and their seconds in this process.

    Measured on one block of noisy copies of one example; None where nothing is sampled.
    """
    if question.sigma is None or not examples or not devices_of(question.device):
        return None
    one = _forecast_of_one(question)
    return None if one is None else (one[0] * len(examples), one[1] * len(examples))


@lru_cache(maxsize=4)
def _forecast_of_one(question: Question) -> tuple[int, float] | None:
    from evaluators.sampling.cost import estimate

    evaluator = evaluator_of(question)
    assert isinstance(evaluator, Evaluator)
    first = load_split(question.dataset).examples[:1]
    # On one device: that is the unit in which the cost is told.
    problem = replace(problem_of(Shard(question, tuple(first))), devices=())
    cost = estimate(problem, evaluator)
    return None if cost is None else (cost.samples, cost.seconds)


def announce(title: str, question: Question, examples: Sequence[int], workers: str) -> None:
    """Say, before a long evaluation, how long it may be.

    Args:
        title: what is evaluated, in words.
        question: what is asked.
        examples: those that are still to be evaluated.
        workers: a number of processes, which share the work, or `ray`.
    """
    shared = int(workers) if workers.isdecimal() else 1
    told = _in_samples if question.sigma is not None else _in_stages
    if examples and (sentence := told(question, examples, shared)):
        tell(f"{title}: {sentence}")


def _in_samples(question: Question, examples: Sequence[int], shared: int) -> str:
    if (cost := forecast(question, examples)) is None:
        return ""
    samples, alone = cost
    if alone / shared <= LONG:
        return ""
    rate = f"{samples / alone:,.0f} a second" + (" in each worker" if shared > 1 else "")
    return (
        f"at most {samples:,} samples of {plural(len(examples), 'example')}, {rate}:"
        f" up to {seconds_text(alone / shared)}"
    )


def _in_stages(question: Question, examples: Sequence[int], shared: int) -> str:
    """What a plain network costs, as far as a few of its examples tell."""
    count = plural(len(examples), "example")
    halves, most = has_halves(question), question.seconds * len(examples) / shared
    if uses_time(question) and not halves:
        each = seconds_text(question.seconds)
        return f"at most {each} for each of {count}: up to {seconds_text(most)}" * (most > LONG)
    if len(examples) < _WORTH or not devices_of(question.device):
        return ""
    cost = _probed(question, examples[:1])
    if not halves and cost.seconds * len(examples) / shared <= LONG:
        return ""
    cost = _probed(question, examples[:: len(examples) // _PROBED][:_PROBED])
    cheap = cost.seconds * len(examples) / shared
    left = most * cost.opened / _PROBED if halves else 0.0
    if cheap + left <= LONG:
        return ""
    told = f"about {seconds_text(cheap)} for cheap methods on {count}"
    if not left:
        return told
    return (
        f"{told}; these left {cost.opened} of {_PROBED} undecided, and if they leave the same share"
        f" of all, complete methods take up to {seconds_text(left)} more"
    )


class _Probed(NamedTuple):
    """Seconds of cheap methods for an example, and how many examples they left open."""

    seconds: float
    opened: int


def _probed(question: Question, examples: Sequence[int]) -> _Probed:
    problem = replace(problem_of(Shard(question, tuple(examples))), devices=())
    work = problem.stopwatch()
    try:
        verdicts = evaluator_for(question, "cheap" if has_halves(question) else "all")(problem)
    except ContradictionError:  # which the evaluation itself will tell
        return _Probed(0.0, 0)
    opened = sum(verdict.status is Status.UNKNOWN for verdict in verdicts)
    return _Probed(work.spent / len(examples), opened)
