"""A result file that came from elsewhere, accepted or refused: it is data until every line fits.

Evaluations run where a foreign model was, so what comes back is not trusted. Nothing is taken from
the file that follows without it: the question, the examples, their labels, the versions and
options, a smoothed model's radii from its counts. Predictions and witnesses are the model's, which
is run again. What is left, whether a bound was proved, is what `unchecked` says beside the row, as
far as it was not measured again. What is stored is written anew.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from leaderboard.acceptance_known import Known, known
from leaderboard.acceptance_origin import of_origin
from leaderboard.acceptance_rows import not_rechecked, of_rows
from leaderboard.errors import InputError
from leaderboard.evaluation import Request
from leaderboard.fingerprints import Checks, load_checks, read_checks, store_checks
from leaderboard.foreign_file import read_foreign
from leaderboard.project import Project
from leaderboard.results import Results, results_path, write
from leaderboard.setting import Setting
from leaderboard.submission import Submission

NO_DATA = (
    "labels and predictions, and how far witnesses are from their examples: the test data are not"
    " on the machine that accepted these rows"
)


def accepted(
    path: Path,
    project: Project,
    submission: Submission,
    setting: Setting,
    request: Request | None = None,
    since: datetime | None = None,
) -> Results:
    """The results in a file, all that can be seen without running the model fits the question.

    Args:
        path: the file.
        project, submission, setting: what was evaluated.
        request: how it was asked for; None for the setting's protocol, as it is ranked.
        since: when the evaluation was started, where that is known.

    Raises:
        InputError: every reason why it is refused, a sentence each.
    """
    here = known(project, submission, setting, request, since)
    found = read_foreign(path, len(here.examples), here.pixels)
    problems = [*of_origin(found.provenance, here)]
    # Rows are counted and derived again by what the provenance says: not before it is right.
    problems = problems or [*of_rows(found, here)]
    if problems:
        raise InputError(*(f"{path.name}: {problem}" for problem in problems))
    provenance = found.provenance.model_copy(update={"unchecked": _unchecked(found, here)})
    return Results(path, found.rows, provenance)


def _unchecked(found: Results, here: Known) -> str:
    """What this machine cannot compare, as part of a sentence; empty if nothing."""
    told = [] if here.split is not None else [NO_DATA]
    if here.smoothed and (reason := not_rechecked(found)):
        told.append(f"radii: {reason}")
    return "; ".join(told)
