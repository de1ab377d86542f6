"""Addresses that papers and scripts hold stay, and others see what a page is about."""

import html
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from leaderboard.common.errors import InputError
from leaderboard.field.taxonomy import load_taxonomy
from leaderboard.settings.setting import load_settings
from leaderboard.website.publishing import places
from tests.fixtures.board import HOSTILE, submissions

STAYING = (
    "",
    "settings/",
    *(f"settings/{name}/" for name in load_settings()),
    *(f"data/{name}/" for name in load_settings()),
    *(f"api/v1/settings/{name}.json" for name in load_settings()),
    "submissions/",
    *(f"submissions/{slug}/" for slug in submissions()),
    *(f"api/v1/submissions/{slug}.json" for slug in submissions()),
    "taxonomy/",
    *(f"taxonomy/{path}/" for path in load_taxonomy().nodes),
    "literature/",
    "literature/counts/",
    "data/authors-curves.csv",
    "methods/",
    "data/",
    "data/query/",
    "data/api/",
    "data/mnist-linf-0.1.parquet",
    "data/mnist-linf-0.1/mnist-ibp.parquet",
    "data/mnist-linf-0.1/mnist-ibp.csv",
    "data/mnist-linf-0.1/mnist-linf-0.1.tex",
    "data/mnist-linf-0.1/mnist-linf-0.1.bib",
    "data/mnist-linf-0.1/mnist-linf-0.1-standings.csv",
    "data/croissant.json",
    "data/SHA256SUMS",
    "data/certboard.bib",
    "api/v1/index.json",
    "api/v1/settings.json",
    "api/v1/submissions.json",
    "api/v1/results/mnist-linf-0.1/mnist-ibp.json",
    "api/v1/literature.json",
    "api/v1/taxonomy.json",
    "api/v1/columns.json",
    "api/v1/evaluators.json",
    "feed.xml",
    "robots.txt",
    "CITATION.cff",
    "404.html",
    "sitemap.xml",
    "assets/card.png",
)
"""Links to these are outside the project: a place may be added, none moves."""


class Head(HTMLParser):
    """What a page says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.meta: dict[str, str] = {}
        self.links: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "meta" and "content" in told:
            assert set(told) <= {"name", "property", "http-equiv", "content"}, told
            what = told.get("property") or told.get("name") or told["http-equiv"]
            self.meta[what] = told["content"]
        if tag == "link" and "rel" in told:
            self.links[told["rel"]] = told["href"]


def head(path: Path) -> Head:
    found = Head()
    found.feed(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_every_address_stays(public: Path) -> None:
    files = {
        place: public / place / "index.html" if place.endswith("/") or not place else public / place
        for place in STAYING
    }
    assert [place for place, file in files.items() if not file.is_file()] == []


def test_every_page_says_what_it_is_about(public: Path) -> None:
    for path in public.rglob("*.html"):
        told = head(path).meta
        name = str(path.relative_to(public))
        assert 20 <= len(told["description"]) <= 2000, name
        assert told["og:title"] == told["twitter:title"] != "", name
        assert told["og:description"] == told["description"], name
        if path.name != "404.html":
            card = (path.parent / told["og:image"]).resolve()
            assert card == (public / "assets" / "card.png").resolve()


def test_a_hostile_title_is_text_in_the_head(public: Path) -> None:
    told = head(public / "submissions" / "hostile" / "index.html").meta
    assert html.unescape(told["og:title"]) == " ".join(html.unescape(HOSTILE).split())


def test_the_card_has_the_size_that_is_told(public: Path) -> None:
    told = head(public / "index.html").meta
    with Image.open(public / "assets" / "card.png") as card:
        assert [str(side) for side in card.size] == [
            told["og:image:width"],
            told["og:image:height"],
        ]


def test_without_an_address_no_link_claims_one(public: Path) -> None:
    told = head(public / "settings" / "index.html")
    assert "canonical" not in told.links
    assert "og:url" not in told.meta
    assert "Sitemap" not in (public / "robots.txt").read_text()


def test_with_an_address_pages_name_it(tmp_path: Path) -> None:
    """MkDocs reads the same variable as the feed and the files of data."""
    root = Path(__file__).parents[2]
    (tmp_path / "build" / "pages").mkdir(parents=True)
    shutil.copytree(root / "site" / "theme", tmp_path / "build" / "theme")
    (tmp_path / "build" / "pages" / "index.md").write_text("# Home\n")
    configuration = (root / "mkdocs.yml").read_text()
    # One page stands for all: the navigation names those that are not made here.
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"\nnav:\n(?:  .*\n)+", "\n", configuration))
    subprocess.run(
        [sys.executable, "-m", "leaderboard.website.finished", "build", "--quiet"],
        cwd=tmp_path,
        env={**os.environ, "SITE_URL": "https://board.example/sub", "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    told = head(tmp_path / "public" / "index.html")
    assert told.links["canonical"] == told.meta["og:url"] == "https://board.example/sub/"
    assert told.meta["og:image"] == "https://board.example/sub/assets/card.png"
    assert "<loc>https://board.example/sub/</loc>" in (tmp_path / "public/sitemap.xml").read_text()


@pytest.mark.parametrize("url", ["x.org", "javascript:alert(1)", "https://x.org/?a=b", "ftp://x"])
def test_an_address_that_is_none_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_URL", url)
    with pytest.raises(InputError, match=r"SITE_URL is .* but must be a web address"):
        places.site_url()


def test_an_address_ends_with_a_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_URL", "https://x.org/a")
    assert places.absolute("feed.xml") == "https://x.org/a/feed.xml"
    monkeypatch.setenv("SITE_URL", "")
    assert places.absolute("feed.xml") == "feed.xml"
