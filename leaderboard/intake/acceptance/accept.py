"""A result file that came from elsewhere, accepted or refused: it is data until every line fits.

Evaluations run where a foreign model was, so what comes back is not trusted. Nothing is taken from
the file that follows without it: the question, the examples, their labels, the versions and
options, a smoothed model's radii from its counts. Predictions and witnesses are the model's, which
is run again. What is left, whether a bound was proved, is what `unchecked` says beside the row, as
far as it was not measured again. What is stored is written anew.
"""

import json
import math
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from leaderboard.board.fingerprints import Checks, known_since, read_checks, store_checks
from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.project import Project
from leaderboard.evaluation.plan import Request
from leaderboard.intake.acceptance.foreign_file import read_foreign
from leaderboard.intake.acceptance.known import LEFT, LONGER, NO_DATA, known
from leaderboard.intake.acceptance.origin import of_origin
from leaderboard.intake.acceptance.rows import of_radii, of_rows
from leaderboard.intake.sandbox import OFF, Limits, require_walls, run_confined
from leaderboard.results.store import Results, write
from leaderboard.settings.setting import Setting
from leaderboard.submissions.manifest import Submission

_REPLAY = Limits(megabytes=16_000, seconds=2 * 3600)
"""Of the process that runs the model, of which a file is written, as onnxruntime rewrites it."""
_LARGEST_ANSWER = 1_000_000
_LATE = f"timeout: certified elsewhere, but not here in {LONGER} times the budget"
"""The note of an example that was not found again."""


class Arrival(NamedTuple):
    """Results that fit what is known without the model, and where they will lie."""

    found: Results
    setting: Setting
    target: Path


def accepted(
    path: Path,
    project: Project,
    submission: Submission,
    setting: Setting,
    request: Request | None = None,
    since: datetime | None = None,
) -> Results:
    """Read the results in a file, if they fit all that is known without running the model.

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
    unknown = ""
    if here.smoothed and not problems:
        problems, unknown = of_radii(found)
    if problems:
        raise InputError(*(f"{path.name}: {problem}" for problem in problems))
    unchecked = _joined("" if here.split is not None else NO_DATA, unknown and f"radii: {unknown}")
    return Results(path, found.rows, found.provenance.model_copy(update={"unchecked": unchecked}))


def keep(
    project: Project,
    submission: Submission,
    arrivals: Sequence[Arrival],
    sandbox: str,
    again: float | None = None,
) -> None:
    """Ask the model about results that fit, then store them: all of them, or none.

    Args:
        project: where they are kept.
        submission: that they are of.
        arrivals: what `accepted` found.
        sandbox: off, best or required, for the model is a stranger's.
        again: seconds in which certificates of each file are measured again; None where they were
            measured here.

    Raises:
        InputError: the model contradicts them, or they cannot be written.
    """
    if not arrivals:
        return
    staging = (project.root / "build" / "accepting" / submission.slug).resolve()
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for one in arrivals:
            write(staging / one.setting.id / one.target.name, one.found.rows, one.found.provenance)
        _replay(project, submission, staging, sandbox, again or 0)
        left = {} if again is None else _left(staging / LEFT)
        # All that may be refused comes before anything is stored.
        checks = _found_checks(project, submission, staging)
        for one in arrivals:
            count, late = left.get(f"{one.setting.id}/{one.target.name}", (0, []))
            told = f"{plural(count, 'verdict')} not measured again" if count else ""
            unchecked = _joined(one.found.provenance.unchecked, told)
            origin = one.found.provenance.model_copy(update={"unchecked": unchecked})
            write(one.target, _opened(one.found.rows, late), origin)
        store_checks(project, submission.slug, checks)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _replay(
    project: Project,
    submission: Submission,
    staging: Path,
    sandbox: str,
    again: float,
) -> None:
    """Run the model where its walls are."""
    if sandbox == OFF:
        from leaderboard.intake.acceptance.replay import replay_folder

        replay_folder(project, submission.slug, staging, again)
        return
    require_walls(sandbox)
    asked = ["intake", "replay", submission.slug, str(staging), "--again", str(again)]
    limits = Limits(_REPLAY.megabytes, _REPLAY.seconds + 20 * again, _REPLAY.file_megabytes)
    outcome = run_confined(asked, limits, staging)
    if outcome.problem:
        raise InputError(f"{submission.slug}: running the model was stopped: {outcome.problem}.")
    if outcome.code:
        raise InputError(f"{submission.slug}: its rows are refused; the reasons are above.")


def _left(path: Path) -> dict[str, tuple[int, list[int]]]:
    """How many verdicts were not measured again, and which examples were not found again.

    A process with the model wrote it.
    """
    text = _answer(path)
    try:
        told = json.loads(text)
        return {
            str(name): (max(0, int(count)), [int(one) for one in late])
            for name, (count, late) in told.items()
        }
    except (ValueError, AttributeError, TypeError, RecursionError, OverflowError) as error:
        raise InputError(f"{path.name}: does not say how many verdicts are left.") from error


def _opened(rows: pd.DataFrame, late: Sequence[int]) -> pd.DataFrame:
    """The rows, of which those that were not found again in their time prove nothing.

    Those of a smoothed model follow from their counts, whatever was found again.
    """
    searched = (rows["status"] == "certified") & rows["sigma"].isna()
    gone = searched & rows["example"].isin(late)
    if not gone.any():
        return rows
    rows = rows.copy()
    rows.loc[gone, "status"] = "unknown"
    rows.loc[gone, ["radius", "margin", "deployment"]] = None
    rows.loc[gone, "note"] = _LATE
    return rows


def _answer(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_ANSWER:
        raise InputError(f"{path.name}: is not a small regular file.")
    return path.read_bytes()


def _found_checks(project: Project, submission: Submission, staging: Path) -> Checks:
    """What recognises the network, worked out here; since when it is known is known here."""
    looked_at, kept = (
        folder / f"{submission.slug}.json" for folder in (staging / "checks", project.checks)
    )
    _answer(looked_at)
    found, own = read_checks(looked_at), submission.model_hash
    if found.model_sha256 != own or not all(map(math.isfinite, found.answers)):
        raise InputError(f"{looked_at.name}: is not about the model of '{submission.slug}'.")
    before = read_checks(kept) if kept.is_file() else None
    now = datetime.now(tz=UTC).isoformat(timespec="seconds")
    found = found.model_copy(update={"first_seen": now})
    return found.model_copy(update={"first_seen": known_since(before, found)})
