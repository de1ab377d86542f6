"""What each evaluator proves, trusts and costs: one page, from the evaluators' own docstrings."""

import re
from collections.abc import Iterable

from markupsafe import Markup

from leaderboard.board.board import Board
from leaderboard.common.formatting import safe
from leaderboard.field.methods import Method, methods
from leaderboard.website.pages.reference import inline
from leaderboard.website.plan import PagePlan, View, code

_PAPER = re.compile(r"(arXiv )?\b(?<![./&#])(\d{4}\.\d{4,5})\b(?!\.)")
_DOI = re.compile(r"\bdoi (10\.\d{4}/[\w.]+\w)")

HEADINGS = {
    "falsification": "Attacks",
    "deterministic": "Deterministic evaluators",
    "probabilistic": "Probabilistic evaluators",
}


def plans(board: Board) -> list[PagePlan]:
    """The page of all methods."""
    known = methods()
    groups: list[View] = [
        {
            "heading": heading,
            "methods": [
                _shown(board, method)
                for method in sorted(known.values(), key=_order)
                if method.kind == kind
            ],
        }
        for kind, heading in HEADINGS.items()
    ]
    return [PagePlan("methods", "methods", {"groups": groups})]


def _order(method: Method) -> tuple[bool, int, str]:
    """Those of the cascade first, in its order; then by name."""
    return method.cascade is None, method.cascade or 0, method.name


def _shown(board: Board, method: Method) -> View:
    node = board.taxonomy.of_evaluator(method.name)
    parts = method.parts
    return {
        "method": method,
        "node": node,
        "answers": _answers(method),
        "blocks": list(blocks(parts.pop(""))),
        "parts": [
            (name, list(blocks(text[:1].upper() + text[1:]))) for name, text in parts.items()
        ],
    }


def _answers(method: Method) -> str:
    if method.kind == "falsification":
        return "falsified"
    return "certified, falsified" if method.complete else "certified"


def blocks(text: str) -> Iterable[tuple[bool, Markup]]:
    """The paragraphs of a docstring, each with whether it is set as it stands (indented lines)."""
    for paragraph in re.split(r"\n\s*\n", text):
        for indented, lines in _runs(paragraph.splitlines()):
            yield indented, code(lines) if indented else linked(" ".join(lines))


def _runs(lines: list[str]) -> list[tuple[bool, list[str]]]:
    """Lines that follow each other and are all indented, or all not."""
    runs: list[tuple[bool, list[str]]] = []
    for line in lines:
        indented = line.startswith("    ")
        if not runs or runs[-1][0] is not indented:
            runs.append((indented, []))
        runs[-1][1].append(line.removeprefix("    ") if indented else line)
    return runs


def linked(text: str) -> Markup:
    """A paragraph whose papers are linked, and whose evaluators are linked on this page."""
    shown = str(inline(text))
    shown = _PAPER.sub(
        lambda found: f'<a href="https://arxiv.org/abs/{found[2]}">{found[1] or ""}{found[2]}</a>',
        shown,
    )
    shown = _DOI.sub(r'<a href="https://doi.org/\1">doi \1</a>', shown)
    for name in methods():
        shown = shown.replace(
            f"<code>{safe(name)}</code>", f'<a href="#{name}"><code>{safe(name)}</code></a>'
        )
    return Markup(shown)
