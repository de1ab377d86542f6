"""The flags of a few submissions, without the rest of the board.

A flag follows from a submission's own rows, claims and fingerprints, but for one: that its network
is another's. For that the fingerprints of all are read, which are small, and then the manifests of
those few that are the same.
"""

from collections.abc import Mapping

from leaderboard.board.board import Board
from leaderboard.board.files import board_of, read_fingerprints
from leaderboard.board.fingerprints import like
from leaderboard.board.flags import flags_of
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.submissions.manifest import Submission, read_submission


def flag_sentences(project: Project, submissions: Mapping[str, Submission]) -> list[str]:
    """Write a sentence for each flag of some submissions, with the maintainers' decision."""
    board = _board_around(project, submissions)
    return [
        f"{slug}: flag: {flag.sentence.removesuffix('.')} (rule {flag.rule})."
        + (f" [{flag.decision.decision}]" if flag.decision else "")
        for slug in submissions
        for flag in flags_of(board, slug)
    ]


def _board_around(project: Project, submissions: Mapping[str, Submission]) -> Board:
    """These submissions with their results, and those whose networks are the same."""
    checks = read_fingerprints(project)
    known = dict(submissions)
    same = {other for slug in submissions for other in like(slug, checks)}
    for slug in sorted(same - known.keys()):
        try:
            known[slug] = read_submission(project, slug)
        except InputError:
            continue  # it is not on the board
    return board_of(project, known, {slug: checks[slug] for slug in known if slug in checks})
