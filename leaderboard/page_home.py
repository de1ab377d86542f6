"""The home page: how far the field is, who leads, and the ways in."""

from typing import TYPE_CHECKING

from leaderboard.board import Board
from leaderboard.page_plan import PagePlan, View, drawn
from leaderboard.page_settings import leader

if TYPE_CHECKING:
    from leaderboard.results import Results


def plans(board: Board) -> list[PagePlan]:
    """The home page."""
    return [PagePlan("index", "home", home(board), drawn(board, "home"))]


def home(board: Board) -> View:
    """The leaders of every setting, counts, and the taxonomy's roots."""
    results = board.results
    leaders = [leader(board, name) for name in board.settings]
    return {
        "leaders": sorted(leaders, key=lambda row: (row.ours is None, row.paper is None)),
        "facts": {
            "submissions": len(board.results_of),
            "verdicts": sum(result.tally.examples for result in results),
            "certified": sum(_certified(result) for result in results),
            "settings": len(board.settings),
            "literature": len(board.literature),
        },
        "roots": [
            {"node": node, "children": board.taxonomy.children(node.path)}
            for node in board.taxonomy.children()
        ],
    }


def _certified(result: "Results") -> int:
    return result.tally.of_status("certified")
