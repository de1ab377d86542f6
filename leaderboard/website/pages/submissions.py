"""The pages of submissions: their index here, one each in `page_submission`."""

from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.submissions.manifest import Submission
from leaderboard.website.example_pictures import Gallery
from leaderboard.website.kept_page import BoardParts, KeptPage, parts_of
from leaderboard.website.pages.submission import SubmissionPages
from leaderboard.website.plan import PagePlan, View

if TYPE_CHECKING:
    from leaderboard.results.store import Results


def plans(board: Board) -> list[PagePlan | KeptPage]:
    """The index, and a page for each submission; the data are opened once for all of them."""
    parts, gallery = parts_of(board), Gallery(board.datasets)
    return [
        PagePlan("submissions/index", "submissions", submissions_index(board)),
        *(_page(parts, gallery, slug) for slug in board.submissions),
    ]


def _page(parts: BoardParts, gallery: Gallery, slug: str) -> KeptPage:
    alone = parts.alone(slug)
    places = {alone.settings[one.provenance.setting].dataset for one in alone.results_of[slug]}
    key = parts.digest(alone, slug, {name: gallery.at_hand(name) for name in places})
    return KeptPage(f"submissions/{slug}", key, lambda: SubmissionPages(alone, gallery).plan(slug))


def submissions_index(board: Board) -> View:
    """One line a submission."""
    return {"rows": [_index_row(board, one) for one in board.submissions.values()]}


def _place(board: Board, result: "Results") -> tuple[int, int, int, str]:
    """How many are behind it, its rank as a negative number, of how many, and where."""
    setting, line = result.provenance.setting, board.line_of(result)
    rank, ranked = (
        line.rank or 0,
        [
            other.rank
            for other in board.standings[setting]
            if (other.tier, other.kind) == (line.tier, line.kind) and other.rank
        ],
    )
    # Those with the same rank are not behind it.
    return sum(other > rank for other in ranked), -rank, line.of, setting


def _why_unranked(submission: Submission, results: int, disputed: bool) -> str:
    """Say in words why a submission that has no rank anywhere has none."""
    if submission.retired:
        return "retired"
    if not results:
        return "not evaluated yet"
    return "disputed" if disputed else "too few examples to rank"


def _index_row(board: Board, submission: Submission) -> View:
    results = board.results_of.get(submission.slug, ())
    placed = [result for result in results if board.line_of(result).rank is not None]
    disputed = any(board.line_of(result).disputed for result in results)
    best = max((_place(board, result) for result in placed), default=None)
    node = board.taxonomy.nodes.get(submission.training.node)
    # Not all smoothing samples: splitting noise is summed, and its rows tell.
    kinds = [board.line_of(result).kind for result in results]
    expected = "probabilistic" if submission.smoothing else "deterministic"
    return {
        "submission": submission,
        "dataset": board.datasets[submission.model.dataset].title,
        "training": node.title if node else submission.training.node,
        "kind": kinds[0] if kinds else expected,
        "settings": len(results),
        "verdicts": sum(result.tally.examples for result in results),
        "newest": max((result.provenance.created[:10] for result in results), default=""),
        "unranked": _why_unranked(submission, len(results), disputed),
        "best": best and {"rank": -best[1], "of": best[2], "setting": board.settings[best[3]]},
    }
