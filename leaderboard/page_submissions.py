"""The pages of submissions: their index here, one each in `page_submission`."""

from leaderboard.board import Board
from leaderboard.page_plan import PagePlan, View
from leaderboard.page_submission import SubmissionPages
from leaderboard.submission import Submission


def plans(board: Board) -> list[PagePlan]:
    """The index, and a page for each submission; the data are opened once for all of them."""
    pages = SubmissionPages(board)
    return [
        PagePlan("submissions/index", "submissions", submissions_index(board)),
        *(pages.plan(slug) for slug in board.submissions),
    ]


def submissions_index(board: Board) -> View:
    """One line a submission."""
    return {"rows": [_index_row(board, submission) for submission in board.submissions.values()]}


def _index_row(board: Board, submission: Submission) -> View:
    results = board.results_of.get(submission.slug, ())
    ranks = [
        (rank, result.provenance.setting)
        for result in results
        if (rank := board.line_of(result).rank) is not None
    ]
    best = min(ranks, default=None)
    node = board.taxonomy.nodes.get(submission.training.node)
    return {
        "submission": submission,
        "dataset": board.datasets[submission.model.dataset].title,
        "training": node.title if node else submission.training.node,
        "kind": "probabilistic" if submission.smoothing else "deterministic",
        "settings": len(results),
        "verdicts": sum(result.tally.examples for result in results),
        "newest": max((result.provenance.created[:10] for result in results), default=""),
        "best": best and {"rank": best[0], "setting": board.settings[best[1]]},
    }
