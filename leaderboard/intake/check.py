"""`certboard check`: submissions, and without one named the board's own files, not run."""

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.board.files import check_stored, problems_of
from leaderboard.board.flags import static_flags
from leaderboard.board.own_files import check_board
from leaderboard.common.errors import Problems
from leaderboard.common.formatting import plural
from leaderboard.common.project import Project
from leaderboard.evaluation.networks import check_model
from leaderboard.intake.sandbox import OFF, check_sandbox
from leaderboard.submissions.catalogue import is_at_hand, problems_between, tell_absent
from leaderboard.submissions.folder import slugs as all_slugs
from leaderboard.submissions.manifest import Submission, load_submission


@dataclass(frozen=True)
class Checked:
    """What was checked, counted in words, and a sentence for each flag."""

    counts: list[str]
    flags: list[str]


def check(project: Project, slugs: Sequence[str], sandbox: str) -> Checked:
    """Check submissions; without any named, all of them and the board's own files.

    Args:
        project: where they lie.
        slugs: which submissions.
        sandbox: off, best or required: whether models are read behind walls.

    Raises:
        InputError: every problem, a sentence each.
    """
    check_sandbox(sandbox)
    chosen = slugs or all_slugs(project.submissions)
    counts = [plural(len(chosen), "submission")]
    loaded: dict[str, Submission] = {}
    problems = Problems()
    unread: list[str] = []
    for slug in chosen:
        with problems.gathered():
            if sandbox == OFF:
                loaded[slug] = load_submission(project, slug)
                if not slugs and not is_at_hand(loaded[slug]):
                    unread.append(slug)
                    continue
                problems += _problems_of_models(project, loaded[slug])
            else:
                _check_confined(project, slug, sandbox)
    problems += problems_between(project, loaded)
    if slugs:
        problems += [problem for slug in chosen for problem in problems_of(project, slug)]
    else:
        board = check_board()
        counts += board.counts
        problems += board.problems + check_stored(project)
    tell_absent(unread)
    Problems(dict.fromkeys(problems)).refuse()
    flags = [
        f"{slug}: flag: {flag.sentence} (rule {flag.rule})"
        for slug, submission in loaded.items()
        for flag in static_flags(submission)
    ]
    return Checked(counts, flags)


def _check_confined(project: Project, slug: str, sandbox: str) -> None:
    from leaderboard.intake.confinement import check_confined

    check_confined(project, slug, sandbox)


def _problems_of_models(project: Project, submission: Submission) -> list[str]:
    """Every reason why a model's files cannot be evaluated."""
    return [
        f"{submission.slug}: {problem}"
        for part in submission.parts(project).files
        for problem in check_model(part.path, submission.model.dataset, part.role)
    ]
