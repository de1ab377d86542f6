"""The command that looks at networks for flags: inspect."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from leaderboard.catalogue import load_submissions
from leaderboard.commands import app
from leaderboard.errors import InputError
from leaderboard.formatting import plural
from leaderboard.progress import tell
from leaderboard.project import Project, find_project
from leaderboard.submission import Submission, load_submission

if TYPE_CHECKING:
    from leaderboard.fingerprints import Checks
    from leaderboard.question import Question


@app.command()
def inspect(
    slugs: Annotated[list[str] | None, typer.Argument(help="Submissions; default: all")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Compare on fresh images what was compared before")
    ] = False,
) -> None:
    """Keep what recognises networks, and show what looks like fraud or a mistake."""
    project = find_project()
    chosen = [load_submission(project, slug) for slug in slugs or []]
    chosen = chosen or list(load_submissions(project).values())
    for submission in chosen:
        inspect_one(project, submission, again)
    count = show_flags(project, [submission.slug for submission in chosen])
    print(f"{plural(len(chosen), 'submission')} inspected, {plural(count, 'flag')}")


def inspect_one(project: Project, submission: Submission, again: bool = False) -> None:
    """Work out what recognises a network, unless that of this very model is kept.

    It is then compared with those that are most like it; `again`, also if it was before.
    """
    from leaderboard.fingerprints import VERSION, read_checks, store_checks
    from leaderboard.inspection import compare
    from leaderboard.inspection import inspect as look_at
    from leaderboard.submission_models import model_hash

    question = _question(project, submission)
    if question is None:
        return
    path = project.checks / f"{submission.slug}.json"
    kept = read_checks(path) if path.exists() else None
    same = kept is not None and kept.model_sha256 == model_hash(submission)
    current = kept is not None and same and kept.version == VERSION and kept.lookup is not None
    if current and not again:
        return
    first_seen = kept.first_seen if kept is not None and same else None
    found = kept if kept is not None and current else look_at(question, first_seen)
    compared = compare(question, _nearest(project, submission, found))
    store_checks(project, submission.slug, found.model_copy(update={"compared": compared}))


def _question(project: Project, submission: Submission) -> "Question | None":
    """What is asked about a submission in its first setting; None where it has none."""
    from leaderboard.evaluation import Request, make_question
    from leaderboard.setting import load_settings
    from leaderboard.submission import settings_for

    places = settings_for(submission, load_settings())
    return make_question(project, submission, places[0], Request()) if places else None


def _nearest(project: Project, submission: Submission, found: "Checks") -> dict[str, "Question"]:
    """The other submissions of its dataset that are most like it, and what is asked about them.

    Those of the website, wherever this one's own results are kept.
    """
    from leaderboard.fingerprints import CLOSEST, Checks, closest, read_checks

    others: dict[str, Checks] = {}
    for path in sorted(replace(project, results_folder=None).checks.glob("*.json")):
        try:
            if path.stem != submission.slug:
                others[path.stem] = read_checks(path)
        except InputError as error:
            tell(str(error))
    nearest: dict[str, Question] = {}
    for slug in closest(found, others):
        if len(nearest) == CLOSEST:
            break
        try:
            other = load_submission(project, slug)
            if other.model.dataset == submission.model.dataset:
                question = _question(project, other)
                nearest |= {} if question is None else {slug: question}
        except InputError as error:
            tell(f"{slug}: was not compared: {error}")
    return nearest


def show_flags(project: Project, slugs: list[str]) -> int:
    """Print the flags of submissions; how many there are."""
    from leaderboard.board_files import load_board
    from leaderboard.flags import flags_of

    board, count = load_board(project), 0
    for slug in slugs:
        for flag in flags_of(board, slug) if slug in board.submissions else ():
            decided = f" [{flag.decision.decision}]" if flag.decision else ""
            tell(f"{slug}: flag: {flag.sentence.removesuffix('.')} (rule {flag.rule}).{decided}")
            count += 1
    return count
