"""The pages of submissions: their index and one each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from leaderboard import page_smoothing
from leaderboard.board import Board
from leaderboard.downloads import download_of
from leaderboard.formatting import DASH
from leaderboard.page_plan import PagePlan, View, drawn
from leaderboard.page_settings import incomplete
from leaderboard.submission import Submission

if TYPE_CHECKING:
    from leaderboard.results import Results


def plans(board: Board) -> list[PagePlan]:
    """The index, and a page for each submission."""
    return [
        PagePlan("submissions/index", "submissions", submissions_index(board)),
        *(
            PagePlan(
                f"submissions/{slug}",
                "submission",
                submission(board, slug),
                drawn(board, "submission", slug),
            )
            for slug in board.submissions
        ),
    ]


def submissions_index(board: Board) -> View:
    """One line a submission."""
    return {"rows": [_index_row(board, submission) for submission in board.submissions.values()]}


def _index_row(board: Board, submission: Submission) -> View:
    results = board.results_of.get(submission.slug, ())
    ranks = [(board.line_of(result).rank or 0, result.provenance.setting) for result in results]
    best = min(ranks, default=None)
    node = board.taxonomy.nodes.get(submission.training.node)
    return {
        "submission": submission,
        "training": node.title if node else submission.training.node,
        "kind": "probabilistic" if submission.smoothing else "deterministic",
        "settings": len(results),
        "verdicts": sum(result.tally.examples for result in results),
        "best": best and {"rank": best[0], "setting": board.settings[best[1]]},
    }


def submission(board: Board, slug: str) -> View:
    """One submission's results, each with its claim and its provenance."""
    subject = board.submissions[slug]
    results = list(board.results_of.get(slug, ()))
    return {
        "submission": subject,
        "node": board.taxonomy.nodes.get(subject.training.node),
        "entries": [_entry(board, subject, result) for result in results],
        "notes": incomplete(board, results),
        "how_sure": page_smoothing.how_sure(results),
    }


def _entry(board: Board, subject: Submission, result: "Results") -> View:
    place = board.settings[result.provenance.setting]
    claim = next((claim for claim in subject.claims if claim.setting == place.id), None)
    line = board.line_of(result)
    return {
        "setting": place,
        "line": line,
        "of": len(board.re_evaluated(place.id)),
        "rows": result.tally.examples,
        "claimed_certified": _claimed(claim.certified if claim else None),
        "claimed_clean": _claimed(claim.clean if claim else None),
        "median_seconds": line.measured["median-seconds"],
        "total_seconds": line.measured["total-seconds"],
        "download": download_of(result, subject.title),
        "provenance": provenance(result),
    }


def _claimed(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def provenance(result: "Results") -> list[tuple[str, str]]:
    """Everything recorded about how the rows came to be, in the order it was recorded."""
    fields = result.provenance.model_dump(mode="json")
    smoothed = result.tally.smoothed
    confidence = f"{result.tally.least_confidence:.6g} per example"
    shown = [(name.replace("_", " "), _told(value)) for name, value in fields.items()]
    return [*shown, ("confidence", confidence)] if smoothed else shown


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {inner}" for key, inner in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return DASH if value in (None, "") else str(value)
