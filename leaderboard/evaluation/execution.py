"""Evaluations that are planned, carried out: one queue for all of them, and a file for each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from math import inf

import pandas as pd

from leaderboard.common.errors import BugError, InputError, TimeUpError, WithdrawnError
from leaderboard.common.formatting import plural
from leaderboard.common.places import alone, check_writable
from leaderboard.common.progress import tell
from leaderboard.evaluation.evidence import beside, join
from leaderboard.evaluation.executors.shared import Queue
from leaderboard.evaluation.forecast import cut_open
from leaderboard.evaluation.networks import network_of
from leaderboard.evaluation.plan import FinishedShard, Plan
from leaderboard.evaluation.provenance import describe
from leaderboard.evaluation.shard import shard_of
from leaderboard.evaluation.shared_witness import share_witnesses
from leaderboard.evaluation.workers import run_shards
from leaderboard.results.store import COLUMNS, Results, frame, write
from leaderboard.settings.question import Open, Shard

AT_ONCE = 50
"""Evaluations in one queue: their models are read and their places locked beforehand."""

Told = Callable[[pd.DataFrame, bool], None]
"""Called with rows, and whether they were already there."""


class Job:
    """An evaluation under way.

    Attributes:
        plan: what is to be made.
        results: what was made, when it is complete.
        failure: why it cannot be completed.
    """

    def __init__(self, plan: Plan, workers: str, told: Told) -> None:
        self.plan = plan
        self.results: Results | None = None
        self.failure: Exception | None = None
        self._told = told
        self._names = list[str]()
        self._found = list[pd.DataFrame]()
        self._done = set[int]()
        self._opened = dict[int, Open]()
        network_of(plan.question)  # or why it cannot be used, before processes are started
        self._provenance = describe(
            plan.question,
            submission=plan.submission,
            setting=plan.setting,
            selection=plan.selection,
            fingerprint=plan.fingerprint,
            workers=workers,
            share=plan.share,
        )

    def resume(self) -> None:
        """Take the finished shards that are there."""
        if count := self.plan.of_other_code():
            tell(
                f"{plural(count, 'finished shard')} of other code or libraries cannot be mixed with"
                " what is made now, and will be computed again."
            )
        for kept in self.plan.finished(lambda problem: tell(f"{problem}, and will be made again")):
            self._keep(kept, True)

    def take(self, shard: Shard, rows: pd.DataFrame) -> list[Shard]:
        """Store the rows of a shard; list those in which what it leaves open is asked about.

        Raises:
            InputError: they cannot be written.
        """
        rows = rows.assign(submission=self.plan.submission, setting=self.plan.setting)
        write(self.plan.part(shard), rows, self._provenance)
        kept = FinishedShard.of(shard.name, rows)
        self._keep(kept, False)
        return cut_open(self.plan.question, kept.opened)

    def _keep(self, kept: FinishedShard, resumed: bool) -> None:
        self._names.append(kept.name)
        self._found.append(kept.rows)
        self._done.update(kept.rows["example"])
        self._opened |= {one.example: one for one in kept.opened}
        rows = kept.rows
        # Others' finished shards may lie beside those of a share.
        self._told(rows if self.plan.share is None else self._asked(rows), resumed)

    def _asked(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["example"].isin(self.plan.asked)]

    def missing(self) -> list[Shard]:
        """List the shards that can be computed now; none when it is complete, or has failed."""
        if self.results is not None or self.failure is not None:
            return []
        return self.plan.missing(self._done, self._opened.values())

    def half_done(self) -> bool:
        """Whether cheap methods have done all they can, and complete ones have not."""
        missing = self.missing()
        return bool(missing) and all(shard.stages == "complete" for shard in missing)

    def finish(self) -> bool:
        """Join the shards into the result file if all are there; say whether they are.

        Those of a share stay what they are.
        """
        plan = self.plan
        if not self._done.issuperset(plan.asked):
            return False
        rows = joined(plan.examples, self._found)
        if plan.share is not None:
            self.results = Results(plan.parts, self._asked(rows), self._provenance)
            return True
        rows = share_witnesses(plan.question, rows)
        # What proved other rows would leave some of these without a proof.
        beside(plan.target).unlink(missing_ok=True)
        write(plan.target, rows, self._provenance)
        if plan.question.evidence is not None:
            join(plan.question, self._names, beside(plan.target), refuted=False)
        plan.clear()
        self.results = Results(plan.target, rows[list(COLUMNS)], self._provenance)
        return True

    def fail(self, error: Exception) -> None:
        """Give it up; what was finished stays, but for what contradicts itself."""
        self.failure = error
        if isinstance(error, BugError | WithdrawnError):
            self.plan.forget()

    def answer(self) -> Results:
        """Return the results.

        Raises:
            TimeUpError: it is not complete.
            Exception: why it failed.
        """
        if self.failure is not None:
            raise self.failure
        if self.results is None:
            count, total = len(self._done.intersection(self.plan.asked)), len(self.plan.asked)
            raise TimeUpError(f"{count:,} of {total:,} examples are measured")
        return self.results


def joined(examples: Sequence[int], found: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several shards in the order of an evaluation's examples."""
    if not (some := [one for one in found if len(one)]):
        return frame([]).reindex(columns=COLUMNS)
    rows = pd.concat(some, ignore_index=True)
    places = rows["example"].map({one: place for place, one in enumerate(examples)})
    return rows.iloc[places.argsort()].reset_index(drop=True)


@contextmanager
def begun(plan: Plan, workers: str, fresh: bool, told: Told) -> Iterator[Job]:
    """Begin an evaluation, which no other process of this machine makes in this context.

    Raises:
        InputError: nothing can be written, or another process writes it.
    """
    check_writable(plan.target)
    with alone(plan.lock):
        if fresh:
            plan.forget()
        job = Job(plan, workers, told)
        job.resume()
        yield job


def compute(
    jobs: Sequence[Job],
    workers: str,
    until: float = inf,
    finished: Callable[[Job], None] | None = None,
    cheap: bool = False,
) -> None:
    """Carry out evaluations by the same workers, as far as the time goes.

    Cheap methods come first, in all of them, and are all where `cheap`; then complete ones, the
    hardest examples first, for they may take longest: a worker that finds no more of the cheap ones
    begins with what is known to be open. Where there may not be time for all, those
    evaluations come first that have the least left, for verdicts come out where all are there, and
    of each the hardest examples last. One that fails does not stop the others. `finished` is called
    with each that becomes complete.
    """
    for job in jobs:
        _finish(job, finished)
    while owners := {
        shard: job
        for job in jobs
        for shard in job.missing()
        if not (cheap and shard.stages == "complete")
    }:
        queue = Queue(_in_order(owners, until < inf))
        failed = False
        try:
            with closing(run_shards(queue, workers, until)) as computed:
                for shard, rows in computed:
                    job = owners.pop(shard)
                    opened = _taken(job, shard, rows)
                    _finish(job, finished)
                    if failed := job.failure is not None:
                        break  # and go on without its other shards
                    # Where there may not be time for all, it is known first what each has left.
                    if not cheap and until == inf:
                        owners |= dict.fromkeys(opened, job)
                        queue.put(opened, _rank)
        except (BugError, InputError, WithdrawnError) as error:
            which = shard_of(error)
            alike = [job for shard, job in owners.items() if which and _asked(which, shard)]
            for job in alike or owners.values():
                job.fail(error)
            continue
        if owners and not failed:
            return  # there was no time for them


def _asked(one: Shard, other: Shard) -> bool:
    """Whether it is the same shard, wherever the model lies and whatever the device is called."""

    def key(shard: Shard) -> tuple[object, ...]:
        asked = shard.question
        ball = asked.norm, asked.radius
        return asked.model_sha256, ball, asked.seed, asked.evaluator, shard.examples, shard.stages

    return key(one) == key(other)


def _in_order(owners: Mapping[Shard, Job], limited: bool) -> list[Shard]:
    left = dict.fromkeys(owners.values(), 0.0)
    for shard, job in owners.items():
        left[job] += len(shard.examples) * shard.question.seconds
    if limited:
        return sorted(
            owners, key=lambda one: (one.stages == "complete", left[owners[one]], -_least(one))
        )
    return sorted(owners, key=_rank)


def _rank(shard: Shard) -> tuple[bool, float]:
    return shard.stages == "complete", _least(shard)


def _least(shard: Shard) -> float:
    """The least margin proved of what is open: the less, the harder, as far as anybody knows."""
    margins = [one.margin for one in shard.opened if one.margin is not None]
    return min(margins, default=-inf) if shard.opened else 0.0


def _taken(job: Job, shard: Shard, rows: pd.DataFrame) -> list[Shard]:
    try:
        return job.take(shard, rows)
    except InputError as error:
        job.fail(error)
        return []


def _finish(job: Job, finished: Callable[[Job], None] | None) -> None:
    if job.failure is not None:
        return
    try:
        if job.finish() and finished is not None:
            finished(job)
    except InputError as error:
        job.fail(error)
