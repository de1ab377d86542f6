"""Pages that MkDocs has made of the same sources are not made again, and the bytes are the same."""

import re
import sqlite3
from pathlib import Path

import pytest
from mkdocs.__main__ import cli
from mkdocs.commands import build
from mkdocs.structure.pages import Page
from mkdocs.utils import get_theme_dir

from leaderboard.common.project import find_project
from leaderboard.results import kept
from leaderboard.website import finished

CONFIGURATION = """
site_name: small
site_url: !ENV [SITE_URL, "https://example.org/"]
docs_dir: pages
site_dir: {public}
theme: {{name: material, custom_dir: theme, font: false}}
plugins: [search]
nav: [Home: index.md, second.md]
validation: {{nav: {{omitted_files: ignore}}, links: {{anchors: warn}}}}
"""
PLACE = "many/a/index.html"


class Site:
    """A website of two pages in the navigation and three beside it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.patch, self.made = root, monkeypatch, list[str]()
        self.page("index", "# Home\n\n[A](many/a.md#here)\n")
        self.page("second", "# Second\n")
        self.page(
            "many/a", '---\nbelow: below/many/a.html\n---\n<h1 id="here">A</h1>\n\nWords of a\n'
        )
        self.page("many/a-b", "<h1>A to B</h1>\n")
        self.page("many/linked", "# Linked\n\n[Home](../index.md)\n")
        self.write("theme/below/many/a.html", "<table><td>1</td></table>")
        self.write("theme/main.html", "{% extends 'base.html' %}{% block content %}{{ super() }}"
                   "{% if page and page.meta.below %}{% include page.meta.below %}{% endif %}"
                   "{% endblock %}")  # fmt: skip
        self.cache("cache")

    def cache(self, name: str) -> None:
        self.patch.setenv(kept.VARIABLE, str(self.root / name) if name else "")

    def write(self, place: str, text: str) -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def page(self, place: str, text: str) -> None:
        self.write(f"pages/{place}.md", text)

    def built(self, public: str = "public") -> dict[str, bytes]:
        """Every file of the website; `made` lists the pages that MkDocs has made for it."""
        self.made.clear()
        finished._common.cache_clear()
        self.write("mkdocs.yml", CONFIGURATION.format(public=public))
        populate = vars(finished)["_populate"]

        def counted(page: Page, *others: object) -> None:
            self.made.append(page.file.src_uri)
            populate(page, *others)

        with self.patch.context() as patch:
            patch.setattr(finished, "_populate", counted)
            patch.setattr(build, "_populate_page", finished._read)
            patch.setattr(build, "_build_page", finished._write)
            patch.chdir(self.root)
            patch.setenv("SOURCE_DATE_EPOCH", "1")
            cli(["build", "--strict"], standalone_mode=False)
        folder = self.root / public
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    def from_nothing(self) -> dict[str, bytes]:
        self.cache("")
        whole = self.built()
        self.cache("cache")
        return whole


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_what_did_not_change_is_not_made_again_and_no_byte_differs(site: Site) -> None:
    whole = site.from_nothing()
    assert site.built() == whole
    assert len(site.made) == 5
    assert site.built() == whole
    assert sorted(site.made) == ["index.md", "many/linked.md", "second.md"]


@pytest.mark.slow
def test_a_page_is_made_again_when_anything_that_is_on_it_changes(site: Site) -> None:
    site.built()
    both = {"many/a.md", "many/a-b.md"}
    for place, text, again in (
        ("theme/below/many/a.html", "<table><td>2</td></table>", {"many/a.md"}),
        ("pages/many/a.md", '<h1 id="here">Other</h1>\n', {"many/a.md"}),
        ("pages/second.md", "# Another title\n", both),
        ("theme/partials/copyright.html", "another foot", both),
    ):
        site.write(place, text)
        site.built()
        assert both.intersection(site.made) == again
    site.patch.setenv("SITE_URL", "https://example.com/")
    found = site.built()
    assert both.intersection(site.made) == both
    assert b"https://example.com/many/a/" in found[PLACE]
    assert found == site.from_nothing()


def test_a_damaged_entry_is_made_again(site: Site) -> None:
    whole = site.built()
    with sqlite3.connect(site.root / "cache" / "kept.sqlite") as direct:
        direct.execute("update kept set content = replace(content, '<td>1<', '<td>9<')")
        direct.execute("update kept set content = cast(content as blob)")
    assert site.built() == whole
    assert "many/a.md" in site.made


def test_a_link_to_a_lost_anchor_on_a_kept_page_is_still_refused(site: Site) -> None:
    site.page("index", "# Home\n")
    site.built()
    site.page("index", "# Home\n\n[A](many/a.md#nowhere)\n")
    with pytest.raises(Exception, match="strict mode"):
        site.built()
    assert "many/a.md" not in site.made


def test_no_template_prints_the_day_of_building_or_the_other_pages() -> None:
    """MkDocs gives them to every template, and the hash of a page leaves them out."""
    own, theirs = (
        find_project(Path(__file__).parent).site / "theme",
        Path(get_theme_dir("material")),
    )
    templates = [path for place in (own, theirs) for path in place.rglob("*.html")]
    assert {path.name for path in templates} >= {"main.html", "base.html", "footer.html"}
    left_out = re.compile(r"\b(?:build_date_utc|update_date|now)\b|(?<!\.)\bpages\b")
    found = {
        (path.name, told[0])
        for path in templates
        for tag in re.findall(r"{[{%].*?[%}]}", path.read_text(encoding="utf-8"), re.DOTALL)
        for told in left_out.finditer(tag)
    }
    assert not found
