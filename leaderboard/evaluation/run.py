"""`certboard run`: submissions in their settings, one after the other."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from leaderboard.common.errors import InputError, TimeUpError
from leaderboard.common.progress import RunProgress, tell
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.evaluation.evidence import beside
from leaderboard.evaluation.forecast import announce
from leaderboard.evaluation.plan import Plan, Request, execute, make_plan
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


def deadline(minutes: float | None, workers: str) -> float:
    """Work out when the time given is over, on the monotonic clock.

    Raises:
        InputError: it is no time, or somebody else keeps it.
    """
    if minutes is None:
        return math.inf
    if not 0 < minutes < math.inf:
        raise InputError(f"--minutes is {minutes:g}; it must be positive and finite.")
    if not workers.isdecimal():
        raise InputError("--minutes needs a number of --workers: a cluster keeps its own time.")
    return time.monotonic() + 60 * minutes


def quick_request(request: Request) -> Request:
    """Cut a request down to a first look: few examples, small budgets, always measured anew."""
    return replace(
        request,
        examples=min(request.examples or QUICK_EXAMPLES, QUICK_EXAMPLES),
        seconds=min(request.seconds or QUICK_SECONDS, QUICK_SECONDS),
        samples=min(request.samples or QUICK_SAMPLES, QUICK_SAMPLES),
        fresh=True,
    )


def _count(
    shards: Counter[bool],
    advance: Callable[[pd.DataFrame, bool], None],
    rows: pd.DataFrame,
    resumed: bool,
) -> None:
    """Show a shard, and count it among those that were there and those that were not."""
    shards[resumed] += 1
    advance(rows, resumed)


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
) -> list[pd.DataFrame]:
    """Evaluate each pair; what cannot be evaluated is told at the end, the others still run.

    Raises:
        InputError: of pairs that could not be evaluated.
        TimeUpError: `until`, on the monotonic clock, there was no time for all of them.
    """
    problems: list[str] = []
    tables = []
    shards = Counter[bool]()
    for submission, setting in pairs:
        title = f"{submission.slug} · {setting.id}"
        try:
            plan = make_plan(project, submission, setting, request)
            if plan.stored is not None:
                tell(f"{title}: already measured; --fresh repeats it{_unproved(plan)}")
                plan.clear()
                tables.append(plan.stored.rows)
                continue
            announce(title, plan.question, plan.waiting(request.fresh), workers)
            with RunProgress(title, len(plan.examples)) as progress:
                told = partial(_count, shards, progress.advance)
                results = execute(plan, workers, request.fresh, told, until)
            tables.append(results.rows)
        except InputError as error:
            if len(pairs) == 1:
                raise
            problems += [f"{title}: {problem}" for problem in error.problems]
        except TimeUpError as error:
            for problem in problems:
                tell(problem)
            if not shards[False]:
                raise InputError(
                    f"{title}: {error}, and no more could be in the time given: give more"
                    " --minutes."
                ) from None
            raise TimeUpError(f"{title}: {error}") from None
    if problems:
        raise InputError(*problems)
    return tables


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
        total = find_dataset(setting.dataset).test_size
        sentences += [
            f"{submission.slug} · {setting.id} · {judged.sentence}"
            for claim in submission.claims
            if claim.setting == setting.id
            for judged in judge(claim, tally, setting.radius, total)
        ]
    return table, sentences
