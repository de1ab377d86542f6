"""An Atom feed (RFC 4287) of the newest results, dated by the rows and never by the clock."""

from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing
from leaderboard.common.formatting import count, percent
from leaderboard.website.citation import load_citation
from leaderboard.website.publishing.places import FEED, absolute
from leaderboard.website.publishing.tex import one_line

if TYPE_CHECKING:
    from leaderboard.results.store import Results

ATOM = "http://www.w3.org/2005/Atom"
LONGEST = 100
"""Entries; readers fetch the whole file each time."""

# The website's host is not known here and may change; an entry's identity must not (RFC 4151).
_TAG = "tag:certboard,2026:"
# Dates a feed without entries must have too.
_BEFORE_ALL = "1970-01-01T00:00:00Z"


def feed(board: Board) -> bytes:
    """The newest results first; each links to its submission's page."""
    results = sorted(
        board.results,
        key=lambda result: (result.provenance.created, identity(result)),
        reverse=True,
    )
    root = Xml.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    _text(root, "id", f"{_TAG}results")
    _text(root, "title", "certboard: new results")
    _text(root, "subtitle", "Models whose certified robustness was measured")
    _text(root, "updated", _when(results[0]) if results else _BEFORE_ALL)
    for author in load_citation().authors:
        _text(Xml.SubElement(root, "author"), "name", author.full_name)
    Xml.SubElement(root, "link", rel="self", type="application/atom+xml", href=absolute(FEED))
    Xml.SubElement(root, "link", rel="alternate", type="text/html", href=absolute("") or "./")
    for result in results[:LONGEST]:
        _entry(board, result, Xml.SubElement(root, "entry"))
    Xml.indent(root)
    made: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def identity(result: "Results") -> str:
    """What an entry stays, wherever the website is; another measurement is another entry."""
    origin = result.provenance
    return f"{_TAG}results/{origin.setting}/{origin.submission}/{origin.created}"


def _entry(board: Board, result: "Results", entry: Xml.Element) -> None:
    origin, line = result.provenance, board.line_of(result)
    setting, submission = board.settings[origin.setting], board.submissions[origin.submission]
    _text(entry, "id", identity(result))
    part = f" of {count(result.tally.examples)} examples" if line.interval else ""
    share = f"{percent(line.certified)} %{part} certified"
    _text(entry, "title", f"{line.title}: {share}, {setting.title}")
    _text(entry, "updated", _when(result))
    for name in submission.authors:
        _text(Xml.SubElement(entry, "author"), "name", name)
    place = f"submissions/{submission.slug}/"
    Xml.SubElement(entry, "link", rel="alternate", type="text/html", href=absolute(place))
    Xml.SubElement(entry, "category", term=setting.id, label=setting.title)
    _text(
        entry,
        "summary",
        f"{count(result.tally.examples)} of {count(origin.total)} test examples:"
        f" {percent(line.certified)} % certified, {percent(line.clean)} % right,"
        f" {percent(line.unknown)} % unknown. {_rank(line)}",
    )


def _rank(line: Standing) -> str:
    if line.disputed is not None:
        return f"Disputed, so without a rank: {line.disputed.told}"
    if line.short:
        return f"Not ranked: {line.short}."
    if line.rank is None:
        return "Withdrawn or superseded since."
    return f"Rank {line.rank} of {line.of}, {line.kind}."


def _when(result: "Results") -> str:
    return result.provenance.created


def _text(parent: Xml.Element, name: str, text: str) -> None:
    # The library escapes what XML reads; what XML cannot hold at all is taken out before.
    Xml.SubElement(parent, name).text = one_line(text)
