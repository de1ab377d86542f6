"""The pages of what papers reported: every number, and every paper with how to cite it."""

import re
from collections import Counter
from collections.abc import Sequence

from leaderboard.board.board import Board
from leaderboard.field.literature import Reported, dataset_title
from leaderboard.field.sources import COLLECTIONS, RELIABILITY, load_changes
from leaderboard.settings.setting import NORM_SIGNS
from leaderboard.website.papers import PublishedPaper, few_of_each, papers, signed
from leaderboard.website.plan import PagePlan, View


def plans(board: Board) -> list[PagePlan]:
    """All numbers, and all papers."""
    found = papers(board.literature)
    return [
        PagePlan("literature/index", "literature", literature(board, found)),
        PagePlan("literature/papers", "papers", bibliography(board, found)),
    ]


def literature(board: Board, found: Sequence[PublishedPaper]) -> View:
    """Every number of the literature as published, by setting and best first."""
    settings = {(s.dataset, s.norm, s.radius): s for s in board.settings.values()}
    order = {name: position for position, name in enumerate(board.settings)}
    anchors = {row.paper: paper.anchor for paper in found for row in paper.rows}

    def place_of(row: Reported) -> tuple[object, ...]:
        known = settings.get((row.dataset, row.norm, row.radius))
        elsewhere = (row.dataset, row.norm, row.radius)
        position = (order[known.id], "") if known else (len(order), *elsewhere)
        return (*position, -(row.certified or 0), -(row.attack or 0))

    ordered = sorted(board.literature, key=place_of)
    rows = [
        {
            "row": row,
            "setting": settings.get((row.dataset, row.norm, row.radius)),
            "where": where(row),
            "anchor": anchors[row.paper],
            "certified": _published(row.certified),
            "clean": _published(row.clean),
            "attack": _published(row.attack),
            "by": signed(row),
            "examples": "" if row.examples is None else f"{row.examples:,}",
            "read": _read(row),
            "year": row.month[:4],
            "venue": venue_family(row.venue),
        }
        for row in ordered
    ]
    return {
        "rows": rows,
        "total": len(rows),
        "papers": len(found),
        "collections": _collections(board.literature),
        "reliability": [
            {"name": name, "told": told, "count": sum(r.reliability == name for r in ordered)}
            for name, told in RELIABILITY.items()
        ],
        "known": _known(board.literature),
        "changes": load_changes()[::-1],
        "choices": {
            "setting": list(dict.fromkeys(where(row) for row in ordered)),
            "kind": ["deterministic", "probabilistic", "empirical"],
            "year": sorted({row.month[:4] for row in ordered if row.month}, reverse=True),
            "venue": sorted({venue_family(row.venue) for row in ordered if row.venue}),
        },
    }


def bibliography(board: Board, found: Sequence[PublishedPaper]) -> View:
    """Every paper with its numbers and its BibTeX, the newest first."""
    known = {(s.dataset, s.norm, s.radius): s for s in board.settings.values()}
    newest = sorted(found, key=lambda paper: paper.month, reverse=True)
    entries = [
        {
            "paper": paper,
            "numbers": [
                {
                    "row": row,
                    "where": where(row),
                    "setting": known.get((row.dataset, row.norm, row.radius)),
                }
                for row in few_of_each(paper.rows)[0]
            ],
            "more": few_of_each(paper.rows)[1],
        }
        for paper in newest
    ]
    unsigned = sum(not paper.authors for paper in found)
    return {"entries": entries, "total": len(found), "unsigned": unsigned}


def where(row: Reported) -> str:
    """`CIFAR-10 · ℓ∞ · 8/255`, also where the board has no such setting."""
    return f"{dataset_title(row.dataset)} · {NORM_SIGNS[row.norm]} · {row.radius_text}"


def venue_family(venue: str) -> str:
    """`ICLR` for `ICLR 2024`: a venue without its year and what is held beside it."""
    return re.split(r"\s+(?:19|20)[0-9]{2}\b", venue)[0]


_LONGEST = 48
"""Of a file's name on the page; the table to download has all of it."""


def _read(row: Reported) -> str:
    """Where the number was read, where that is more than its collection says."""
    second_hand = "second-hand: read in " if row.reliability == "secondary" else "read in "
    short = row.read_in if len(row.read_in) <= _LONGEST else f"{row.read_in[:_LONGEST]}…"
    return second_hand + short if row.read_in else ""


def _known(rows: Sequence[Reported]) -> list[tuple[str, int]]:
    """How many rows say what; a row that does not say it shows a dash."""
    return [
        ("clean accuracy", sum(row.clean is not None for row in rows)),
        ("number of examples", sum(row.examples is not None for row in rows)),
        ("approach", sum(bool(row.approach) for row in rows)),
        ("architecture", sum(bool(row.architecture) for row in rows)),
        ("authors", sum(bool(row.authors) for row in rows)),
        ("year", sum(bool(row.year) for row in rows)),
        ("extra data", sum(bool(row.extra_data) for row in rows)),
    ]


def _collections(rows: Sequence[Reported]) -> list[View]:
    """The sources with how many numbers each gave; a joined number counts for the one kept."""
    counts = Counter(row.source for row in rows)
    return [
        {
            "name": name,
            "count": counts[name],
            "told": one.told,
            "url": one.url,
            "licence": one.licence,
        }
        for name, one in COLLECTIONS.items()
    ] + [
        {"name": name, "count": counts[name], "told": "see its rows", "url": "", "licence": ""}
        for name in sorted(set(counts) - set(COLLECTIONS))
    ]


def _published(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
