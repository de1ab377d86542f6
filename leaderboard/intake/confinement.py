"""Submissions evaluated behind walls, each by itself: one that misbehaves costs its own row only.

The confined process sees the checkout, and may write to a folder of its own. Its result is then
read as a stranger's (`acceptance.py`) and stored in its place.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from leaderboard.common.errors import BugError, InputError, TimeUpError
from leaderboard.common.memory import chosen
from leaderboard.common.progress import tell
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.evaluation import parts
from leaderboard.intake.acceptance.accept import Arrival, accepted, keep
from leaderboard.intake.sandbox import Limits, Outcome, require_walls, run_confined
from leaderboard.results.store import read, results_path
from leaderboard.settings.setting import Setting
from leaderboard.submissions.manifest import Contest, Submission, load_submission

if TYPE_CHECKING:
    from leaderboard.evaluation.plan import Request

_BUG, _TIME_UP = 3, 4
_SHORTEST = 3600.0
"""Seconds that any evaluation may take."""
_OVERTIME = 1800.0
"""Seconds for the shards that were begun before the time given was over: thrice what one takes."""


def run_all_confined(
    project: Project,
    pairs: list[Contest],
    request: "Request",
    *,
    workers: str,
    sandbox: str,
    until: float = inf,
) -> list[pd.DataFrame]:
    """Evaluate each submission in a process of its own; what goes wrong is told at the end.

    Raises:
        InputError: of submissions that could not be evaluated; the others were.
        TimeUpError: `until`, on the monotonic clock, there was no time for all of them.
        BugError: an evaluator contradicted another on some pair.
    """
    walls = require_walls(sandbox)
    tell(f"each model confined by {walls.name}" + _lack(walls.missing))
    problems: list[str] = []
    bugs: list[str] = []
    tables: dict[int, pd.DataFrame] = {}
    grouped = groupby(enumerate(pairs), key=lambda one: one[1][0].slug)
    for slug, group in grouped:
        asked = dict(group)
        try:
            rows = _run(
                project,
                [*asked.values()],
                request,
                workers=workers,
                sandbox=sandbox,
                until=until,
            )
        except TimeUpError as error:
            for problem in [*bugs, *problems]:
                tell(problem)
            raise TimeUpError(f"{slug}: {error}") from None
        except InputError as error:
            problems += [f"{slug}: {problem}" for problem in error.problems]
        except BugError as error:
            bugs.append(f"{slug}: {error}")
        except OSError as error:
            # What it left in the way, such as a folder in the place of a file.
            problems.append(f"{slug}: its files cannot be handled ({error.strerror}).")
        else:
            # A share has no result file yet.
            if request.share is None and len(rows) != len(asked):
                problems.append(f"{slug}: {len(rows)} of {len(asked)} results came back.")
                continue
            tables |= dict(zip(asked, rows, strict=request.share is None))
    if bugs:
        raise BugError(" ".join([*bugs, *problems]))
    if problems:
        raise InputError(*problems)
    return [tables[place] for place in sorted(tables)]


CHECKING = Limits(megabytes=4_000, seconds=300)
"""For reading a model: far more than the largest needs."""


def check_confined(project: Project, slug: str, sandbox: str) -> None:
    """Check a submission in a process of its own.

    Raises:
        InputError: it was refused, or went beyond the limits.
    """
    require_walls(sandbox)
    # What the submission only gives an address of is fetched here, while there is a network.
    load_submission(project, slug).parts(project)
    staging = _writable(project, slug)
    outcome = run_confined(["check", slug], CHECKING, staging)
    if outcome.problem:
        raise InputError(f"{slug}: the check was stopped: {outcome.problem}.")
    if outcome.code:
        raise InputError(f"{slug}: refused; the reasons are above.")


def _writable(project: Project, slug: str) -> Path:
    """Return the folder that a confined process may write to, with no link in it.

    One that an earlier process left there would lead what is written now to any place.
    """
    staging = project.root / "build" / "sandbox" / slug
    staging.mkdir(parents=True, exist_ok=True)
    for folder, inner, names in os.walk(staging):
        for path in (Path(folder, name) for name in (*inner, *names)):
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                path.unlink()
    return staging


def _lack(missing: tuple[str, ...]) -> str:
    return f"; not protected here: {', '.join(missing)}" if missing else ""


def _run(
    project: Project,
    pairs: list[Contest],
    request: "Request",
    *,
    workers: str,
    sandbox: str,
    until: float,
) -> list[pd.DataFrame]:
    """The rows of one submission in its settings."""
    if (seconds := until - monotonic()) <= 0:
        raise TimeUpError("not begun")
    submission = pairs[0][0]
    # Here, while there is a network.
    submission.parts(project)
    staging = _writable(project, submission.slug)
    moves: list[_Move] = []
    for _, setting in pairs:
        target = results_path(project, setting.id, submission.slug, request.evaluator)
        staged = staging / setting.id / target.name
        staged.parent.mkdir(parents=True, exist_ok=True)
        moves.append(_Move(setting, target, staged, _copy(target, staged)))
        parts.carry(target, staged)
    arguments = _arguments(pairs, request, workers, staging)
    limits = _limits(pairs, request)
    if seconds < inf:
        arguments += ["--hours", f"{seconds / 3600:.8f}"]
        limits = replace(limits, seconds=min(limits.seconds, seconds + _OVERTIME))
    started = datetime.now(UTC)
    outcome = run_confined(arguments, limits, staging)
    # What was finished is kept, whatever became of the rest.
    for move in moves:
        parts.replace_with(move.staged, move.target)
    made = [move for move in moves if _content(move.staged) not in (None, move.before)]
    arrivals = [_arrival(project, submission, move, request, started) for move in made]
    keep(project, submission, arrivals, sandbox)
    if outcome.problem and monotonic() > until and any(map(_has_parts, moves)):
        raise TimeUpError(f"the last shard did not end by itself: {outcome.problem}")
    _raise_if_failed(outcome)
    return [read(move.target).rows for move in moves if move.target.is_file()]


class _Move(NamedTuple):
    """A result, its place, where the confined process left it, and what was there before."""

    setting: Setting
    target: Path
    staged: Path
    before: bytes | None


def _arrival(
    project: Project, submission: Submission, move: _Move, request: "Request", started: datetime
) -> Arrival:
    """What the confined process left, if it fits."""
    found = accepted(move.staged, project, submission, move.setting, request=request, since=started)
    return Arrival(found, move.setting, move.target)


def _has_parts(move: _Move) -> bool:
    return parts.folder_of(move.target).is_dir()


def _arguments(pairs: list[Contest], request: "Request", workers: str, staging: Path) -> list[str]:
    told = ["run", pairs[0][0].slug, "--results", str(staging)]
    told += [word for _, setting in pairs for word in ("--setting", setting.id)]
    told += ["--workers", workers, "--device", request.device]
    options = {
        "--evaluator": request.evaluator,
        "--examples": request.examples,
        "--seconds": request.seconds,
        "--samples": request.samples,
        "--memory": chosen(),
        "--shard": request.share,
    }
    told += [word for name, one in options.items() if one is not None for word in (name, str(one))]
    return [*told, "--fresh"] if request.fresh else told


def _limits(pairs: list[Contest], request: "Request") -> Limits:
    """Twice the time budget of all examples: a plain model needs no more on a free machine."""
    budget = 0.0
    for submission, setting in pairs:
        asked = setting.selection(submission.smoothing is not None)
        count = len(asked.indices(find_dataset(setting.dataset).test_size))
        count = min(count, request.examples or count)
        budget += 2 * count * (request.seconds or setting.seconds)
    return Limits(seconds=max(_SHORTEST, budget))


def _copy(source: Path, target: Path) -> bytes | None:
    """What is stored so far, where the confined process looks for it."""
    content = _content(source)
    if content is None:
        target.unlink(missing_ok=True)
    else:
        target.write_bytes(content)
    return content


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _raise_if_failed(outcome: Outcome) -> None:
    if outcome.problem:
        raise InputError(f"the evaluation was stopped: {outcome.problem}.")
    if outcome.code == _BUG:
        raise BugError("the evaluation failed; its own words are above.")
    if outcome.code == _TIME_UP:
        raise TimeUpError("its own words are above")
    if outcome.code:
        raise InputError("the evaluation was refused; its own words are above.")
