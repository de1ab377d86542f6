"""The Atom feed keeps RFC 4287 and changes only with the rows."""

import re
from dataclasses import replace
from datetime import datetime
from xml.etree import ElementTree as Xml

import pytest

from leaderboard.board.board import Board
from leaderboard.website.publishing import places
from leaderboard.website.publishing.feed import ATOM, feed, identity
from tests.fixtures.board import HOSTILE
from tests.leaderboard.publishing.conftest import Taken

NAMES = {"a": ATOM}


def texts(parent: Xml.Element, path: str) -> list[str]:
    return [found.text or "" for found in parent.findall(path, NAMES)]


def test_feed_and_entries_have_what_the_standard_asks(taken: Taken) -> None:
    root = Xml.fromstring(taken[places.FEED])
    entries = root.findall("a:entry", NAMES)
    assert len(entries) == 6
    ids = texts(root, "a:id") + [one for entry in entries for one in texts(entry, "a:id")]
    assert len(set(ids)) == len(ids)
    for one in ids:
        assert re.fullmatch(r"tag:[a-z.]+,\d{4}:[\w./:+-]+", one)
    for part in (root, *entries):
        assert len(texts(part, "a:title")) == len(texts(part, "a:updated")) == 1
        assert texts(part, "a:author/a:name")
        assert datetime.fromisoformat(texts(part, "a:updated")[0]).tzinfo is not None
        kinds = [link.get("rel") for link in part.findall("a:link", NAMES)]
        assert kinds.count("alternate") == 1
    assert texts(root, "a:updated") == [max(texts(root, "a:entry/a:updated"))]


def test_foreign_text_is_text(example: Board) -> None:
    lines = {key: replace(line, title=f"{HOSTILE} \x07]]>") for key, line in example._lines.items()}
    root = Xml.fromstring(feed(replace(example, _lines=lines)))
    assert all(title.startswith(f"{HOSTILE} ]]>: ") for title in texts(root, "a:entry/a:title"))


def test_addresses_are_whole_where_the_site_is_known(
    example: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {identity(result) for result in example.results}
    monkeypatch.setenv("SITE_URL", "https://board.example/sub")
    root = Xml.fromstring(feed(example))
    links = [str(link.get("href")) for link in root.iter(f"{{{ATOM}}}link")]
    assert all(link.startswith("https://board.example/sub/") for link in links)
    assert set(texts(root, "a:entry/a:id")) == before


def test_a_board_without_results_has_a_feed(example: Board) -> None:
    root = Xml.fromstring(feed(replace(example, results_of={})))
    assert root.findall("a:entry", NAMES) == []
    assert len(texts(root, "a:updated")) == 1
