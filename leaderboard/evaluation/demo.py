"""The embedded submissions, evaluated again on embedded data and compared with what is stored."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.plan import Request
from leaderboard.evaluation.run import run_all
from leaderboard.results.store import read, results_path
from leaderboard.settings.setting import load_settings
from leaderboard.submissions.catalogue import load_submissions
from leaderboard.submissions.manifest import Contest, settings_for

DEMO_DATASET = "digits"


@dataclass(frozen=True)
class Repetition:
    """What the demo measured: its project, how much it is, and the comparison in words."""

    project: Project
    verdicts: int
    evaluations: int
    comparison: str


def re_evaluate(stored: Project) -> Repetition:
    """Evaluate every submission for the embedded dataset anew, into `build/demo/`.

    The folder begins as a copy of the stored results, which do not change.

    Raises:
        InputError: there is no such submission, or the folder cannot be written.
    """
    folder = stored.root / "build" / "demo"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(stored.results, folder, ignore=shutil.ignore_patterns("*.parts", ".*"))
        if stored.checks.is_dir():
            shutil.copytree(stored.checks, folder / "checks")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}).") from error
    project = replace(stored, results_folder=folder)
    settings = {id: s for id, s in load_settings().items() if s.dataset == DEMO_DATASET}
    pairs = [
        (submission, setting)
        for submission in load_submissions(project).values()
        if submission.model.dataset == DEMO_DATASET
        for setting in settings_for(submission, settings)
    ]
    if not pairs:
        raise InputError(f"There is no submission for the dataset '{DEMO_DATASET}'.")
    tables = run_all(project, pairs, Request(fresh=True), "1")
    words = _comparison(stored, zip(pairs, tables, strict=True))
    return Repetition(project, sum(map(len, tables)), len(pairs), words)


def _comparison(stored: Project, measured: Iterable[tuple[Contest, pd.DataFrame]]) -> str:
    """How many of the verdicts are the stored ones."""
    same = total = 0
    for (submission, setting), rows in measured:
        path = results_path(stored, setting.id, submission.slug)
        if not path.exists():
            continue
        before = read(path).rows.set_index("example")["status"]
        now = rows.set_index("example")["status"]
        total += len(now)
        same += int((before.reindex(now.index) == now).sum())
    if total == 0:
        return "no stored verdicts to compare with"
    return f"{same:,} of {total:,} verdicts are those stored in site/data/results"
