"""`certboard run`: in this process, or each model in one of its own behind walls."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from leaderboard.board.noise_salts import draw_salt, read_salt, require_salt, salt_path
from leaderboard.board.own_flags import flag_sentences
from leaderboard.common.devices import check_device
from leaderboard.common.errors import InputError
from leaderboard.common.progress import tell
from leaderboard.common.project import Project
from leaderboard.evaluation.plan import Request
from leaderboard.evaluation.recognition import recognise
from leaderboard.evaluation.run import chosen_pairs, deadline, first_look, quick_request, run_all
from leaderboard.evaluation.workers import check_workers
from leaderboard.intake.sandbox import OFF, check_sandbox
from leaderboard.submissions.manifest import Submission


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line asks for, as it was typed.

    Attributes:
        slugs, settings: which submissions, and in which settings; all where none is named.
        request: how each is evaluated.
        workers: a number of processes, or `ray`.
        sandbox: off, best or required.
        hours: in which it must be over; None for as long as it takes.
        quick: for a first look at few examples.
        results: a folder instead of `site/data/results`.
        log: a file for what happens, in lines of JSON; None for none.
    """

    slugs: Sequence[str] = ()
    settings: Sequence[str] = ()
    request: Request = field(default_factory=Request)
    workers: str = "1"
    sandbox: str = OFF
    hours: float | None = None
    quick: bool = False
    results: Path | None = None
    log: Path | None = None


@dataclass(frozen=True)
class Ran:
    """What came of it: where the results are, how many verdicts, and sentences about them.

    `sentences` are the flags of the submissions; of a first look its findings beside the claims,
    and `table` is then what it measured.
    """

    project: Project
    verdicts: int
    sentences: list[str]
    table: list[dict[str, object]] = field(default_factory=list)


def run(project: Project, options: RunOptions) -> Ran:
    """Evaluate submissions, and keep what recognises their networks.

    Its cost follows from the submissions that are named, not from how many others there are:
    of those only the small files are read that recognise networks.

    Raises:
        InputError: something cannot be evaluated; everything else was.
        TimeUpError: there was no time for all of it; what was finished is kept.
    """
    request = options.request
    check_device(request.device, elsewhere=not options.workers.isdecimal())
    check_workers(options.workers)
    check_sandbox(options.sandbox)
    if request.seconds is not None and not 0 < request.seconds < math.inf:
        raise InputError(f"--seconds is {request.seconds:g}; it must be positive and finite.")
    until = deadline(options.hours, options.workers)
    confined = options.sandbox != OFF
    if request.evidence and confined:
        raise InputError("--evidence: a confined model's rows are proved by `certboard recheck`.")
    if request.share is not None:
        _check_share(options)
    if options.log is not None and confined:
        raise InputError("--log: what a confined process says of itself is not written here.")
    pairs = chosen_pairs(project, options.slugs, options.settings)
    submissions = {submission.slug: submission for submission, _ in pairs}
    if not options.quick:
        for submission in submissions.values():
            _settle_salt(project, submission, options)
    results = options.results
    if options.quick:
        request = quick_request(request)
        results = results or project.root / "build" / "quick"
    project = replace(project, results_folder=results)
    if confined:
        from leaderboard.intake.confinement import run_all_confined

        tables = run_all_confined(
            project, pairs, request, workers=options.workers, sandbox=options.sandbox, until=until
        )
    else:
        tables = run_all(project, pairs, request, options.workers, until, options.log)
    verdicts = sum(map(len, tables))
    if options.quick:
        table, sentences = first_look(project, pairs, request.evaluator)
        return Ran(project, verdicts, sentences, table)
    if request.share is not None:
        return Ran(project, verdicts, [])
    if not confined:
        for submission in submissions.values():
            recognise(project, submission, compare=False, request=request)
    return Ran(project, verdicts, flag_sentences(project, submissions))


def _settle_salt(project: Project, submission: Submission, options: RunOptions) -> None:
    """Draw the salt of a smoothed model's noise, if these are to be the board's own rows of it."""
    if submission.smoothing is None or read_salt(project, submission) is not None:
        return
    if options.request.share is not None:
        # Each machine would draw its own.
        require_salt(project, submission)
    elif options.results is None:
        found, path = draw_salt(project, submission), salt_path(project, submission)
        if found is not None and found.salt:
            tell(f"{submission.slug}: the salt of its noise was drawn: keep {path} with its rows")
    else:
        tell(
            f"{submission.slug}: the salt of its noise was not drawn yet: these rows are a trial,"
            " and a board takes others"
        )


def _check_share(options: RunOptions) -> None:
    """Refuse what a share alone cannot do."""
    if options.quick or options.request.fresh:
        raise InputError(
            "--shard goes on with what is there, and is no first look: leave out --quick and"
            " --fresh, and name an empty folder with --results."
        )
    if options.request.evidence:
        raise InputError("--evidence: what is merged is proved by `certboard recheck --save`.")
