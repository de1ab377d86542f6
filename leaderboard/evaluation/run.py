"""`certboard run`: submissions in their settings, by the same workers."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from leaderboard.common.errors import InputError, TimeUpError
from leaderboard.common.progress import RunProgress, tell
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.evaluation.evidence import beside
from leaderboard.evaluation.execution import AT_ONCE, Job, Told, begun, compute
from leaderboard.evaluation.forecast import announce
from leaderboard.evaluation.log import RunLog, logged
from leaderboard.evaluation.plan import Plan, Request, make_plan
from leaderboard.results.claims import judge
from leaderboard.results.store import read, results_path
from leaderboard.settings.setting import find_setting, load_settings
from leaderboard.submissions.catalogue import chosen_submissions
from leaderboard.submissions.manifest import Contest, settings_for

QUICK_EXAMPLES, QUICK_SECONDS, QUICK_SAMPLES = 20, 5.0, 1000
"""What `--quick` spends: examples of a setting, seconds for each, samples of a smoothed model."""


def chosen_pairs(project: Project, slugs: Sequence[str], ids: Sequence[str]) -> list[Contest]:
    """List each submission in each of its settings; of all where none is named.

    Raises:
        InputError: there is no such submission or setting, or nothing to run.
    """
    chosen = chosen_submissions(project, slugs)
    wanted = {id: find_setting(id) for id in ids} or load_settings()
    pairs = []
    for submission in chosen.values():
        fitting = settings_for(submission, wanted)
        if slugs and ids and not fitting:
            raise InputError(
                f"The submission '{submission.slug}' is not for {', '.join(ids)}; its settings are"
                f" {', '.join(s.id for s in settings_for(submission, load_settings()))}."
            )
        pairs += [(submission, setting) for setting in fitting]
    if not pairs:
        raise InputError("There is nothing to run: no submission fits these settings.")
    return pairs


def deadline(hours: float | None, workers: str) -> float:
    """Work out when the time given is over, on the monotonic clock.

    Raises:
        InputError: it is no time, or somebody else keeps it.
    """
    if hours is None:
        return math.inf
    if not 0 < hours < math.inf:
        raise InputError(f"--hours is {hours:g}; it must be positive and finite.")
    if not workers.isdecimal():
        raise InputError("--hours needs a number of --workers: a cluster keeps its own time.")
    return time.monotonic() + 3600 * hours


def quick_request(request: Request) -> Request:
    """Cut a request down to a first look: few examples, small budgets, always measured anew."""
    return replace(
        request,
        examples=min(request.examples or QUICK_EXAMPLES, QUICK_EXAMPLES),
        seconds=min(request.seconds or QUICK_SECONDS, QUICK_SECONDS),
        samples=min(request.samples or QUICK_SAMPLES, QUICK_SAMPLES),
        fresh=True,
    )


def _unproved(plan: Plan) -> str:
    """How evidence that is wanted is made of rows that are there already."""
    if plan.question.evidence is None or beside(plan.target).exists():
        return ""
    command = f"certboard recheck {plan.submission} --setting {plan.setting} --save"
    return f", and its evidence is made by: {command}"


def run_all(
    project: Project,
    pairs: Sequence[Contest],
    request: Request,
    workers: str,
    until: float = math.inf,
    log: Path | None = None,
) -> list[pd.DataFrame]:
    """Evaluate each pair; what cannot be evaluated is told at the end, the others still run.

    What happens is written to the end of the file `log`, if one is named.

    Raises:
        InputError: of pairs that could not be evaluated, or the log cannot be written.
        TimeUpError: `until`, on the monotonic clock, there was no time for all of them.
    """
    with logged(log) as logging:
        try:
            return _run_all(project, pairs, request, workers, until, logging)
        finally:
            logging.end()


def _run_all(
    project: Project,
    pairs: Sequence[Contest],
    request: Request,
    workers: str,
    until: float,
    log: RunLog,
) -> list[pd.DataFrame]:
    problems: list[str] = []
    tables: list[pd.DataFrame] = []
    measured = False
    left = [*pairs]
    # In little time, cheap methods come first in all of them: they decide the most.
    for cheap in (True, False) if until < math.inf and len(pairs) > AT_ONCE else (False,):
        waiting, left = left, []
        for first in range(0, len(waiting), AT_ONCE):
            run = _Run(project, request, workers, log, alone=len(pairs) == 1)
            left += run.all_of(waiting[first : first + AT_ONCE], until, cheap)
            measured |= run.measured
            tables += run.tables
            problems += run.problems
            if run.late:
                for problem in problems:
                    tell(problem)
                if not measured:
                    raise InputError(
                        f"{run.late}, and no more could be in the time given: give more --hours."
                    )
                raise TimeUpError(run.late)
        request = replace(request, fresh=False)
    if problems:
        raise InputError(*problems)
    return tables


class _Run:
    """Some pairs, evaluated by the same workers.

    Attributes:
        tables: the rows of those that are complete.
        problems: why others are not, in sentences.
        late: of the first that there was no time for; empty if there is none.
        measured: whether anything was computed.
    """

    def __init__(
        self, project: Project, request: Request, workers: str, log: RunLog, *, alone: bool
    ) -> None:
        self._project, self._request, self._workers = project, request, workers
        self._log, self._alone = log, alone
        self.tables: list[pd.DataFrame] = []
        self.problems: list[str] = []
        self.late = ""
        self.measured = False

    def all_of(self, pairs: Sequence[Contest], until: float, cheap: bool) -> list[Contest]:
        """Evaluate pairs, perhaps by cheap methods only; return those left to complete ones.

        What is wrong with one of them does not stop the others.
        """
        with ExitStack() as stack:
            plans = {plan: pair for pair in pairs for plan in self._planned(pair)}
            if not plans:
                return []
            title = _title(next(iter(plans))) if len(plans) == 1 else f"{len(plans)} evaluations"
            examples = sum(len(plan.asked) for plan in plans)
            progress = stack.enter_context(RunProgress(title, examples))
            jobs: list[Job] = []
            for plan in plans:
                told = partial(self._told, plan, progress.advance)
                beginning = begun(plan, self._workers, self._request.fresh, told)
                with self._problems_of(_title(plan)):
                    jobs.append(stack.enter_context(beginning))
            # A single evaluation is named by the line of its progress.
            finished = partial(self._measured, len(plans) > 1)
            compute(jobs, self._workers, until, finished, cheap)
            left = [job for job in jobs if cheap and job.half_done()]
            for job in jobs:
                if job not in left:
                    self._answered(job)
            return [plans[job.plan] for job in left]

    def _planned(self, pair: Contest) -> Iterator[Plan]:
        """Yield the plan of a pair that is still to be measured."""
        submission, setting = pair
        with self._problems_of(f"{submission.slug} · {setting.id}"):
            plan = make_plan(self._project, submission, setting, self._request)
            if plan.stored is None:
                waiting = plan.waiting(self._request.fresh)
                self._log.note("begin", plan, examples=len(plan.asked), left=len(waiting))
                announce(_title(plan), plan.question, waiting, self._workers)
                yield plan
            else:
                tell(f"{_title(plan)}: already measured; --fresh repeats it{_unproved(plan)}")
                plan.clear()
                self.tables.append(plan.stored.rows)

    def _told(self, plan: Plan, advance: Told, rows: pd.DataFrame, resumed: bool) -> None:
        """Show a shard, and log it."""
        self.measured |= not resumed
        self._log.shard(plan, rows, resumed)
        advance(rows, resumed)

    def _measured(self, several: bool, job: Job) -> None:
        self._log.note("complete", job.plan)
        if several:
            tell(f"{_title(job.plan)}: measured")

    def _answered(self, job: Job) -> None:
        title = _title(job.plan)
        if job.failure is not None:
            self._log.note("failed", job.plan, problem=str(job.failure))
        with self._problems_of(title):
            try:
                self.tables.append(job.answer().rows)
            except TimeUpError as error:
                self.late = self.late or f"{title}: {error}"

    @contextmanager
    def _problems_of(self, title: str) -> Iterator[None]:
        """Note what is wrong with one of several pairs."""
        try:
            yield
        except InputError as error:
            if self._alone:
                raise
            self.problems += [f"{title}: {problem}" for problem in error.problems]


def _title(plan: Plan) -> str:
    return f"{plan.submission} · {plan.setting}"


def first_look(
    project: Project, pairs: Sequence[Contest], evaluator: str | None
) -> tuple[list[dict[str, object]], list[str]]:
    """Sum up a first look: a record for each pair, and a sentence for each claim."""
    table: list[dict[str, object]] = []
    sentences: list[str] = []
    for submission, setting in pairs:
        tally = read(results_path(project, setting.id, submission.slug, evaluator)).tally
        row: dict[str, object] = {
            "submission": submission.slug,
            "setting": setting.id,
            "examples": tally.examples,
            "right": tally.correct,
            "certified": tally.certified(setting.radius),
        }
        table.append(row | {name: tally.of_status(name) for name in ("falsified", "unknown")})
        data = find_dataset(setting.dataset)
        if tally.correct * len(data.classes) < 2 * tally.examples:
            sentences.append(
                f"{submission.slug} · {setting.id}: {tally.correct} of {tally.examples} are right,"
                " hardly more than by guessing. Pixels come in [0, 1]: is normalisation inside the"
                " graph, once?"
            )
        sentences += [
            f"{submission.slug} · {setting.id} · {judged.sentence}"
            for claim in submission.claims
            if claim.setting == setting.id
            for judged in judge(claim, tally, setting.radius, data.test_size)
        ]
    return table, sentences
