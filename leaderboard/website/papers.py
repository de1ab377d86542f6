"""The papers of the literature: its rows, each paper's together."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leaderboard.field.literature import Reported
from leaderboard.website.citation import bibtex_reported


@dataclass(frozen=True)
class PublishedPaper:
    """One paper with its rows, best first within each question; `month` is its earliest date.

    `anchor` is its place on the page of the literature, made of the title alone, so that links to
    it stay when rows come and go.
    """

    anchor: str
    title: str
    authors: Sequence[str]
    venue: str
    year: str
    month: str
    url: str
    rows: Sequence[Reported]
    bibtex: str


def papers(rows: Iterable[Reported]) -> list[PublishedPaper]:
    """One entry a paper, in the order of their titles."""
    grouped: dict[str, list[Reported]] = {}
    for row in rows:
        grouped.setdefault(row.paper, []).append(row)
    taken: set[str] = set()
    found = []
    for key in sorted(grouped):
        anchor = _anchor(grouped[key][0].title, taken)
        found.append(_paper(anchor, grouped[key]))
    return found


MOST_OF_ONE = 12
"""Numbers of one paper that a list shows at once: one that publishes a whole front has hundreds."""


def few_of_each(rows: Iterable[Reported]) -> tuple[list[Reported], int]:
    """The first rows of each paper, and how many others there are."""
    seen: Counter[str] = Counter()
    shown: list[Reported] = []
    for row in rows:
        seen[row.paper] += 1
        if seen[row.paper] <= MOST_OF_ONE:
            shown.append(row)
    return shown, seen.total() - len(shown)


def _paper(anchor: str, rows: Sequence[Reported]) -> PublishedPaper:
    # The row that knows most: dated to the month, then with an arXiv address, then the first.
    best = max(rows, key=lambda row: (len(row.month), "arxiv.org" in row.url, bool(row.url)))
    venue = next((row.venue for row in rows if row.venue), "")
    best = best.model_copy(update={"venue": venue})
    months = [row.month for row in rows if len(row.month) == len(best.month)]
    ordered = sorted(
        rows, key=lambda row: (row.dataset, row.norm, row.radius, -(row.certified or 0))
    )
    return PublishedPaper(
        anchor=anchor,
        title=best.title,
        authors=best.authors,
        venue=venue,
        year=best.year,
        month=min(months),
        url=best.url,
        rows=ordered,
        bibtex=bibtex_reported(best),
    )


def _anchor(title: str, taken: set[str]) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.findall("[a-z0-9]+", plain)[:8] or ["paper"]
    anchor, number = "-".join(words), 1
    while anchor in taken:
        number += 1
        anchor = f"{'-'.join(words)}-{number}"
    taken.add(anchor)
    return anchor


def signed(row: Reported) -> str:
    """`Cohen et al., 2019`; where no author is recorded, its short title instead of the names."""
    families = [_family(name) for name in row.authors]
    who = " and ".join(families[:2]) if len(families) < 3 else f"{families[0]} et al."
    short = re.split(r"[:?!] | \(", row.title)[0]
    if not who and row.year in short:
        return short
    return ", ".join(filter(None, (who or short, row.year)))


def _family(name: str) -> str:
    """`De Palma` of `Alessandro De Palma`: the last word, with the particles before it."""
    found = re.search(r"(?:\b(?:de|del|della|di|la|van|von|der|den) )*\S+$", name, re.IGNORECASE)
    return found[0] if found else name
