"""What the taxonomy's pages show: the tree as a diagram, and a page for each node."""

import re
from typing import TYPE_CHECKING

from markupsafe import Markup

from leaderboard.board.board import Board
from leaderboard.board.taxonomy_rows import Below, Found, below, rows_below
from leaderboard.common import formatting
from leaderboard.field.formula import mathml, with_formulas
from leaderboard.field.methods import methods
from leaderboard.field.pictures import picture_named
from leaderboard.settings.setting import NORM_SIGNS
from leaderboard.website.papers import few_of_each
from leaderboard.website.plan import PagePlan, View

if TYPE_CHECKING:
    from leaderboard.field.literature import Reported
    from leaderboard.field.taxonomy import TaxonomyNode

_MOST_SUBMISSIONS = 40
"""How many submissions a node's page lists; the tables of the settings have them all."""


def plans(board: Board) -> list[PagePlan]:
    """The tree, all of its ideas beside each other, and a page for each node."""
    found = below(board)
    pages = [
        PagePlan(f"taxonomy/{path}", "node", node(board, path, found))
        for path in board.taxonomy.nodes
    ]
    ideas: View = {"nodes": list(board.taxonomy.nodes.values())}
    return [
        PagePlan("taxonomy/index", "taxonomy", tree(board, found)),
        PagePlan("taxonomy/compared", "compared", ideas),
        *pages,
    ]


def tree(board: Board, found: dict[str, Below]) -> View:
    """The whole tree, nested, with what lies under each node."""

    def branch(item: "TaxonomyNode") -> View:
        children = [branch(child) for child in board.taxonomy.children(item.path)]
        return {"node": item, "children": children, "counts": _counts(board, item, found)}

    return {"tree": [branch(root) for root in board.taxonomy.children()]}


def _counts(board: Board, item: "TaxonomyNode", found: dict[str, Below]) -> dict[str, int]:
    """How many evaluators, submissions and published results a node and those below it have."""
    inside = found[item.path]
    names = [
        name
        for path, other in board.taxonomy.nodes.items()
        if path == item.path or path.startswith(f"{item.path}/")
        for name in other.evaluators
    ]
    return {
        "evaluators": len(names),
        "submissions": len(inside.submissions),
        "reported": len(inside.reported),
    }


def node(board: Board, path: str, found: dict[str, Below]) -> View:
    """Everything one node's page shows."""
    subject = board.taxonomy.nodes[path]
    inside = found[path]
    own, others = few_of_each(inside.own)
    picture = picture_named(subject.picture)
    children = board.taxonomy.children(path)
    return {
        "node": subject,
        "trail": _trail(board, path),
        "picture": Markup(picture.svg),
        "caption": picture.caption,
        "formulas": [
            (item.says, [Markup(mathml(part)) for part in item.parts]) for item in subject.formulas
        ],
        "where": _sentences(subject.where),
        "children": [
            {
                "node": child,
                "picture": Markup(picture_named(child.picture).thumbnail()),
                "counts": _counts(board, child, found),
            }
            for child in children
        ],
        "evaluators": [_evaluator(name, inside) for name in subject.evaluators],
        "best": [_best(line) for line in rows_below(board, inside)],
        "training": subject.root == "training",
        "attack": subject.root == "falsification",
        "submissions": inside.submissions[:_MOST_SUBMISSIONS],
        "more": max(0, len(inside.submissions) - _MOST_SUBMISSIONS),
        "reported": [_reported(board, row) for row in own],
        "others": others,
        "n_reported": len(inside.reported),
    }


def _sentences(text: str) -> Markup:
    """Text with formulas between dollars, the text as inert as everywhere."""
    made = ""
    for part, is_formula in with_formulas(text):
        made += (
            part if is_formula else re.sub(r"\S(?:.*\S)?", lambda m: formatting.safe(m[0]), part)
        )
    return Markup(made)


def _evaluator(name: str, inside: Below) -> View:
    proved, evaluations = inside.proved.get(name, (0, 0))
    return {"name": name, "source": methods()[name].source, "proved": proved, "of": evaluations}


def _best(found: Found) -> View:
    ours, paper = found.ours, found.paper
    value = paper and (paper.attack if paper.kind == "empirical" else paper.certified)
    return {
        "setting": found.setting,
        "kind": found.kind,
        "ours": ours,
        "share": found.share,
        "n_ours": found.n_ours,
        "paper": paper,
        "paper_value": "" if value is None else f"{value:.2f}",
        "n_paper": found.n_paper,
    }


def _reported(board: Board, row: "Reported") -> View:
    place = next(
        (
            setting
            for setting in board.settings.values()
            if (setting.dataset, setting.norm, setting.radius)
            == (row.dataset, row.norm, row.radius)
        ),
        None,
    )
    elsewhere = f"{row.dataset} · {NORM_SIGNS[row.norm]} · {row.radius_text}"
    value = row.attack if row.kind == "empirical" else row.certified
    return {
        "setting": place,
        "where": place.title if place else elsewhere,
        "value": formatting.DASH if value is None else f"{value:.2f}",
        "clean": "" if row.clean is None else f"{row.clean:.2f}",
        "row": row,
    }


def _trail(board: Board, path: str) -> list[tuple[str, str]]:
    above = [(item.title, f"taxonomy/{item.path}") for item in board.taxonomy.parents(path)]
    return [("Taxonomy", "taxonomy"), *above]
