"""The command that looks at networks for flags: inspect."""

from typing import Annotated

import typer

from leaderboard.commands import app
from leaderboard.common.formatting import plural
from leaderboard.common.progress import tell
from leaderboard.common.project import Project, find_project
from leaderboard.submissions.catalogue import load_submissions
from leaderboard.submissions.manifest import Submission, load_submission


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
    from leaderboard.board.fingerprints import VERSION, read_checks, store_checks
    from leaderboard.evaluation.inspection import inspect as look_at
    from leaderboard.evaluation.recognition import compared, question_about

    question = question_about(project, submission)
    if question is None:
        return
    path = project.checks / f"{submission.slug}.json"
    kept = read_checks(path) if path.exists() else None
    same = kept is not None and kept.model_sha256 == submission.model_hash
    current = kept is not None and same and kept.version == VERSION and kept.lookup is not None
    if current and not again:
        return
    first_seen = kept.first_seen if kept is not None and same else None
    found = kept if kept is not None and current else look_at(question, first_seen)
    store_checks(project, submission.slug, compared(project, submission, question, found))


def show_flags(project: Project, slugs: list[str]) -> int:
    """Print the flags of submissions; how many there are."""
    from leaderboard.board.files import load_board
    from leaderboard.board.flags import flags_of

    board, count = load_board(project), 0
    for slug in slugs:
        for flag in flags_of(board, slug) if slug in board.submissions else ():
            decided = f" [{flag.decision.decision}]" if flag.decision else ""
            tell(f"{slug}: flag: {flag.sentence.removesuffix('.')} (rule {flag.rule}).{decided}")
            count += 1
    return count
