"""The page of what papers reported."""

from leaderboard.board import Board
from leaderboard.literature import Reported
from leaderboard.page_plan import PagePlan, View
from leaderboard.setting import NORM_SIGNS


def plans(board: Board) -> list[PagePlan]:
    """The one page."""
    return [PagePlan("literature/index", "literature", literature(board))]


def literature(board: Board) -> View:
    """Every number of the literature as published, by setting and best first."""
    by_question = {(s.dataset, s.norm, s.radius): s for s in board.settings.values()}
    order = {name: position for position, name in enumerate(board.settings)}

    def place_of(row: Reported) -> tuple[int, float]:
        known = by_question.get((row.dataset, row.norm, row.radius))
        return order[known.id] if known else len(order), -(row.certified or 0)

    rows = []
    for row in sorted(board.literature, key=place_of):
        place = by_question.get((row.dataset, row.norm, row.radius))
        elsewhere = f"{row.dataset} · {NORM_SIGNS[row.norm]} · {row.radius_text}"
        rows.append(
            {
                "setting": place,
                "where": place.title if place else elsewhere,
                "certified": _published(row.certified),
                "clean": _published(row.clean),
                "attack": _published(row.attack),
                **{name: getattr(row, name) for name in _PUBLISHED_TEXTS},
            }
        )
    return {"rows": rows, "total": len(rows)}


_PUBLISHED_TEXTS = ("kind", "title", "url", "approach", "venue", "date", "note")


def _published(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
