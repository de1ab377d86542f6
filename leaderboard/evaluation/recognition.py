"""Which other submissions a network is compared with: the few that are most like it."""

from collections.abc import Iterator
from dataclasses import replace

from leaderboard.board.fingerprints import (
    CLOSEST,
    VERSION,
    Checks,
    closest,
    known_since,
    read_checks,
    store_checks,
)
from leaderboard.common.errors import InputError
from leaderboard.common.progress import tell
from leaderboard.common.project import Project
from leaderboard.evaluation.inspection import compare, inspect
from leaderboard.evaluation.plan import Request, make_question
from leaderboard.settings.question import Question
from leaderboard.settings.setting import load_settings
from leaderboard.submissions.manifest import Submission, load_submission, settings_for


def first_question(
    project: Project, submission: Submission, request: Request | None = None
) -> Question | None:
    """Return what is asked about a submission in its first setting; None where it has none."""
    settings = settings_for(submission, load_settings())
    request = request or Request()
    return make_question(project, submission, settings[0], request) if settings else None


def compared(project: Project, submission: Submission, question: Question, found: Checks) -> Checks:
    """Add to what is kept of a network what it has in common with those most like it.

    Raises:
        InputError: its model cannot be used. Others that cannot are told.
    """
    nearest: dict[str, Question] = {}
    wanted: list[str] = []
    for slug in closest(found, dict(_others(project, submission.slug))):
        if len(nearest) == CLOSEST:
            break
        try:
            other = load_submission(project, slug)
            if other.model.dataset == submission.model.dataset:
                wanted.append(slug)
                asked = first_question(project, other)
                nearest |= {} if asked is None else {slug: asked}
        except InputError as error:
            tell(f"{slug}: was not compared: {error}")
    pairs = compare(question, nearest)
    missed = sorted({*wanted}.difference(pair.other for pair in pairs))
    return found.model_copy(update={"compared": pairs, "missed": tuple(missed)})


def _others(project: Project, slug: str) -> Iterator[tuple[str, Checks]]:
    """What is kept of others on the website, wherever this one's own results are kept."""
    for path in sorted(replace(project, results_folder=None).checks.glob("*.json")):
        if path.stem == slug:
            continue
        try:
            yield path.stem, read_checks(path)
        except InputError as error:
            tell(str(error))


def recognise(
    project: Project,
    submission: Submission,
    *,
    compare: bool = True,
    again: bool = False,
    request: Request | None = None,
) -> None:
    """Keep what recognises a network, unless that of this very model is kept already.

    Args:
        project: where it is kept.
        submission: whose network it is.
        compare: whether it is run beside those that are most like it, if it never was.
        again: to compare it even if it was before.
        request: how it was just evaluated, so that the model is not read again.

    Raises:
        InputError: its model cannot be used, or the result cannot be written.
    """
    former = _stored(project, submission)
    kept = former if former and former.model_sha256 == submission.model_hash else None
    current = kept is not None and _is_current(kept)
    if kept is not None and current and not again and (not compare or _is_done(project, kept)):
        return
    question = first_question(project, submission, request)
    if question is None:
        return
    if kept is None or not current:
        kept = inspect(question)
        kept = kept.model_copy(update={"first_seen": known_since(former, kept)})
    if compare:
        kept = compared(project, submission, question, kept)
    store_checks(project, submission.slug, kept)


def _is_done(project: Project, kept: Checks) -> bool:
    """Whether it was compared with all others that can be read now without a network."""
    return bool(kept.compared) and not any(_is_at_hand(project, slug) for slug in kept.missed)


def _is_at_hand(project: Project, slug: str) -> bool:
    try:
        return load_submission(project, slug).at_hand
    except InputError:
        return False  # it is gone, or damaged


def _is_current(kept: Checks) -> bool:
    """Whether it is what would be worked out today."""
    return kept.version == VERSION and kept.lookup is not None


def _stored(project: Project, submission: Submission) -> Checks | None:
    """What is kept of this model, or of the one before it."""
    path = project.checks / f"{submission.slug}.json"
    return read_checks(path) if path.exists() else None
