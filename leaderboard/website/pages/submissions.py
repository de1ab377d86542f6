"""The pages of submissions: their index here, one each in `page_submission`."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.submissions.manifest import Submission
from leaderboard.website.pages.submission import SubmissionPages
from leaderboard.website.plan import PagePlan, View

if TYPE_CHECKING:
    from leaderboard.results.store import Results


def plans(board: Board) -> list[PagePlan]:
    """The index, and a page for each submission; the data are opened once for all of them."""
    pages = SubmissionPages(board)
    return [
        PagePlan("submissions/index", "submissions", submissions_index(board)),
        *(pages.plan(slug) for slug in board.submissions),
    ]


def submissions_index(board: Board) -> View:
    """One line a submission."""
    ranks = {
        setting: [line.rank or 0 for line in board.re_evaluated(setting)]
        for setting in board.settings
    }
    submissions = board.submissions.values()
    return {"rows": [_index_row(board, ranks, submission) for submission in submissions]}


def _place(
    board: Board, ranks: Mapping[str, Sequence[int]], result: "Results"
) -> tuple[int, int, int, str]:
    """How many are behind it, its rank as a negative number, of how many, and where."""
    setting, rank = result.provenance.setting, board.line_of(result).rank or 0
    found = ranks[setting]
    # Those with the same rank are not behind it.
    return len(found) - bisect_right(found, rank), -rank, len(found), setting


def _index_row(board: Board, ranks: Mapping[str, Sequence[int]], submission: Submission) -> View:
    results = board.results_of.get(submission.slug, ())
    placed = [result for result in results if board.line_of(result).rank is not None]
    best = max((_place(board, ranks, result) for result in placed), default=None)
    node = board.taxonomy.nodes.get(submission.training.node)
    return {
        "submission": submission,
        "dataset": board.datasets[submission.model.dataset].title,
        "training": node.title if node else submission.training.node,
        "kind": "probabilistic" if submission.smoothing else "deterministic",
        "settings": len(results),
        "verdicts": sum(result.tally.examples for result in results),
        "newest": max((result.provenance.created[:10] for result in results), default=""),
        "best": best and {"rank": -best[1], "of": best[2], "setting": board.settings[best[3]]},
    }
