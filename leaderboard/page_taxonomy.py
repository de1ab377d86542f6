"""What the taxonomy's pages show."""

from collections import defaultdict
from typing import TYPE_CHECKING

from leaderboard.board import Board
from leaderboard.page_plan import PagePlan, View

if TYPE_CHECKING:
    from leaderboard.submission import Submission
    from leaderboard.taxonomy import Node

# A smoothed or attacked row names its stage; these stages belong to no method of the tree.
_NO_METHOD = ("prediction",)


def plans(board: Board) -> list[PagePlan]:
    """The tree, and a page for each node."""
    below = [PagePlan(f"taxonomy/{path}", "node", view) for path, view in nodes(board).items()]
    return [PagePlan("taxonomy/index", "taxonomy", tree(board)), *below]


def evaluators_used(board: Board) -> set[str]:
    """The evaluators that decided at least one stored row: those certboard is known to run."""
    used = {stage for result in board.results for _, stage in result.tally.decided}
    return used.difference(_NO_METHOD)


def submissions_under(board: Board) -> dict[str, list["Submission"]]:
    """By node: submissions trained that way, or certified by an evaluator of that node.

    A submission also counts for every node above.
    """
    node_of = {
        name: path for path, node in board.taxonomy.nodes.items() for name in node.evaluators
    }
    found: dict[str, dict[str, Submission]] = defaultdict(dict)
    for slug, submission in board.submissions.items():
        places = {submission.training.node}
        for result in board.results_of.get(slug, ()):
            stages = [stage for stage, _ in result.tally.stages("certified")]
            places |= {node_of[stage] for stage in stages if stage in node_of}
        for place in places:
            for path in _upwards(place):
                found[path][slug] = submission
    return {path: list(below.values()) for path, below in found.items()}


def _upwards(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def tree(board: Board) -> View:
    """The whole tree, nested, with how many submissions lie under each node."""
    used, below = evaluators_used(board), submissions_under(board)

    def branch(node: "Node") -> View:
        children = [branch(child) for child in board.taxonomy.children(node.path)]
        here = any(name in used for name in node.evaluators)
        return {
            "node": node,
            "children": children,
            "implemented": here or any(child["implemented"] for child in children),
            "submissions": len(below.get(node.path, ())),
        }

    return {"tree": [branch(root) for root in board.taxonomy.children()]}


def nodes(board: Board) -> dict[str, View]:
    """By path: everything one node's page shows."""
    used, below = evaluators_used(board), submissions_under(board)
    return {
        path: {
            "node": node,
            "trail": _trail(board, path),
            "children": board.taxonomy.children(path),
            "evaluators": [{"name": name, "here": name in used} for name in node.evaluators],
            "submissions": below.get(path, []),
        }
        for path, node in board.taxonomy.nodes.items()
    }


def _trail(board: Board, path: str) -> list[tuple[str, str]]:
    above = [(node.title, f"taxonomy/{node.path}") for node in board.taxonomy.parents(path)]
    return [("Taxonomy", "taxonomy"), *above]
