"""The command that evaluates submissions: run."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from leaderboard.commands import app
from leaderboard.commands.evaluating import (
    DeviceOption,
    WorkersOption,
    announce,
    check_sandbox,
)
from leaderboard.commands.inspecting import inspect_one, show_flags
from leaderboard.common.devices import check_device
from leaderboard.common.errors import InputError, TimeUpError
from leaderboard.common.formatting import plural
from leaderboard.common.progress import RunProgress, show_table, tell
from leaderboard.common.project import Project, find_project
from leaderboard.settings.setting import find_setting, load_settings
from leaderboard.submissions.catalogue import load_submissions
from leaderboard.submissions.manifest import Pair, load_submission, settings_for

if TYPE_CHECKING:
    from leaderboard.evaluation.plan import Plan, Request

QUICK_EXAMPLES, QUICK_SECONDS, QUICK_SAMPLES = 20, 5.0, 1000
"""What `--quick` spends: examples of a setting, seconds for each, samples of a smoothed model."""


@app.command()
def run(
    slugs: Annotated[list[str] | None, typer.Argument(help="Submissions; default: all")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Settings; default: all")] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="Instead of the setting's protocol; kept beside, not ranked")
    ] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Only the first N examples")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time budget of an example")] = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = "1",
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there")] = False,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Of a smoothed model, at most; default: the setting's")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A first look at few examples; decides nothing"),
    ] = False,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Keep what proves the rows beside them, too")
    ] = False,
    results: Annotated[
        Path | None, typer.Option(help="Keep results here instead of site/data/results")
    ] = None,
    sandbox: Annotated[
        str,
        typer.Option(help="off; best: confine models as far as possible; required"),
    ] = "off",
    minutes: Annotated[
        float | None,
        typer.Option(help="Stop before this is over, with exit code 4; run again to go on"),
    ] = None,
) -> None:
    """Evaluate submissions and store every example's verdict; goes on where it stopped."""
    from leaderboard.evaluation.plan import Request
    from leaderboard.evaluation.workers import check_workers

    check_device(device)
    check_workers(workers)
    check_sandbox(sandbox)
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"--seconds is {seconds:g}; it must be positive and finite.")
    until = _until(minutes, workers)
    if evidence and sandbox != "off":
        raise InputError("--evidence: a confined model's rows are proved by `certboard recheck`.")
    project = find_project()
    pairs = _pairs(project, slugs, setting)
    request = Request(evaluator, examples, seconds, device, fresh, samples, evidence)
    if quick:
        request = _quick(request)
        results = results or project.root / "build" / "quick"
    project = replace(project, results_folder=results)
    if sandbox == "off":
        tables = run_all(project, pairs, request, workers, until)
    else:
        from leaderboard.intake.confinement import run_all_confined

        tables = run_all_confined(project, pairs, request, workers, sandbox, until)
    if quick:
        _show_quick(project, pairs, evaluator)
        return
    print(f"{plural(sum(map(len, tables)), 'verdict')} in {project.results}")
    chosen = {submission.slug: submission for submission, _ in pairs}
    if sandbox == "off":
        for submission in chosen.values():
            inspect_one(project, submission)
    show_flags(project, list(chosen))
    if results is None:
        print("The website is made of them by: certboard build")


def _until(minutes: float | None, workers: str) -> float:
    """When the time given is over, on the monotonic clock."""
    if minutes is None:
        return math.inf
    if not 0 < minutes < math.inf:
        raise InputError(f"--minutes is {minutes:g}; it must be positive and finite.")
    if not workers.isdecimal():
        raise InputError("--minutes needs a number of --workers: a cluster keeps its own time.")
    return time.monotonic() + 60 * minutes


def _quick(request: "Request") -> "Request":
    return replace(
        request,
        examples=min(request.examples or QUICK_EXAMPLES, QUICK_EXAMPLES),
        seconds=min(request.seconds or QUICK_SECONDS, QUICK_SECONDS),
        samples=min(request.samples or QUICK_SAMPLES, QUICK_SAMPLES),
        fresh=True,
    )


def _show_quick(project: Project, pairs: list[Pair], evaluator: str | None) -> None:
    """What a first look found, beside what was claimed."""
    from leaderboard.datasets.catalogue import find_dataset
    from leaderboard.results.claims import judge
    from leaderboard.results.store import read, results_path

    table, sentences = [], []
    for submission, place in pairs:
        tally = read(results_path(project, place.id, submission.slug, evaluator)).tally
        row = {
            "submission": submission.slug,
            "setting": place.id,
            "examples": tally.examples,
            "right": tally.correct,
            "certified": tally.certified(place.radius),
        }
        table.append(row | {name: tally.of_status(name) for name in ("falsified", "unknown")})
        total = find_dataset(place.dataset).test_size
        sentences += [
            f"{submission.slug} · {place.id} · {judged.sentence}"
            for claim in submission.claims
            if claim.setting == place.id
            for judged in judge(claim, tally, place.radius, total)
        ]
    show_table(table)
    print()
    for sentence in sentences:
        print(sentence)
    print("A first look at few examples with small budgets: it decides nothing.")


def _pairs(project: Project, slugs: list[str] | None, ids: list[str] | None) -> list[Pair]:
    """Which submission meets which setting."""
    submissions = load_submissions(project) if not slugs else {}
    chosen = [load_submission(project, slug) for slug in slugs or []] or list(submissions.values())
    wanted = {id: find_setting(id) for id in ids or []} or load_settings()
    pairs = []
    for submission in chosen:
        fitting = settings_for(submission, wanted)
        if slugs and ids and not fitting:
            raise InputError(
                f"The submission '{submission.slug}' is not for {', '.join(ids)}; its settings are"
                f" {', '.join(s.id for s in settings_for(submission, load_settings()))}."
            )
        pairs += [(submission, one) for one in fitting]
    if not pairs:
        raise InputError("There is nothing to run: no submission fits these settings.")
    return pairs


def _count(
    shards: Counter[bool],
    advance: Callable[[pd.DataFrame, bool], None],
    rows: pd.DataFrame,
    resumed: bool,
) -> None:
    """Show a shard, and count it among those that were there and those that were not."""
    shards[resumed] += 1
    advance(rows, resumed)


def _unproved(plan: "Plan") -> str:
    """How evidence that is wanted is made of rows that are there already."""
    from leaderboard.evaluation.evidence import beside

    if plan.question.evidence is None or beside(plan.target).exists():
        return ""
    command = f"certboard recheck {plan.submission} --setting {plan.setting.id} --save"
    return f", and its evidence is made by: {command}"


def run_all(
    project: Project,
    pairs: list[Pair],
    request: "Request",
    workers: str,
    until: float = math.inf,
) -> list[pd.DataFrame]:
    """Evaluate each pair; what cannot be evaluated is told at the end, the others still run.

    Raises:
        InputError: of pairs that could not be evaluated.
        TimeUpError: `until`, on the monotonic clock, there was no time for all of them.
    """
    from leaderboard.evaluation.plan import execute, make_plan

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
