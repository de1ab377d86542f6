"""The website as files: MkDocs accepts it, links lead somewhere, nothing is fetched abroad."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project, find_project
from leaderboard.website.build import generate, newest_result
from leaderboard.website.mkdocs import run_mkdocs, write_file
from leaderboard.website.publication import place_files
from tests.fixtures.board import board
from tests.fixtures.website import REPOSITORY, built

# Attributes by which a browser fetches something without being asked.
FETCHED = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
}


class Links(HTMLParser):
    """The addresses, identifiers and fetched files of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if (tag, name) in FETCHED or name == "data-figure":
                self.fetched.append(value or "")
            if (tag, name) == ("a", "href"):
                self.links.append(value or "")


@cache
def read(path: Path) -> Links:
    """What a page of the website that stands still has; several tests read all pages."""
    page = Links()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def pages(public: Path) -> list[Path]:
    return [path for path in public.rglob("*.html") if path.name != "404.html"]


def target(page: Path, address: str) -> Path:
    found = (page.parent / unquote(urlsplit(address).path)).resolve()
    return found / "index.html" if found.is_dir() else found


def test_every_link_within_the_website_leads_to_a_page_and_a_place_on_it(public: Path) -> None:
    read_pages = {path.resolve(): read(path) for path in pages(public)}
    broken = []
    for path, page in read_pages.items():
        for address in page.links + page.fetched:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            found = target(path, address) if parts.path else path
            there = read_pages.get(found)
            if not found.is_file() or (
                parts.fragment and there and parts.fragment not in there.ids | {"__skip"}
            ):
                broken.append(f"{path.relative_to(public.resolve())}: {address}")
    assert broken == []


def test_no_page_fetches_anything_from_another_host(public: Path) -> None:
    for path in public.rglob("*.html"):
        assert [one for one in read(path).fetched if urlsplit(one).netloc] == []
    for path in (public / "assets").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", path.read_text(encoding="utf-8"))
    for path in (public / "assets").glob("*.js"):
        assert not re.search(r"['\"`](https?:)?//\w", path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_two_builds_of_the_same_rows_are_byte_identical(public: Path, tmp_path: Path) -> None:
    one, other = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (public, built(tmp_path))
    )
    assert one.keys() == other.keys()
    assert [path for path in one if one[path] != other[path]] == []


def test_one_style_sheet_holds_all_of_ours(public: Path) -> None:
    joined = (public / "assets" / "certboard.css").read_text(encoding="utf-8")
    for path in (find_project().site / "assets").rglob("*.css"):
        assert path.read_text(encoding="utf-8") in joined
    assert len([one for one in read(public / "index.html").fetched if one.endswith(".css")]) == 3


def test_every_page_leads_to_the_code_and_to_the_guide_for_submitters(public: Path) -> None:
    guide = (public / "guides/submit/index.html").resolve()
    for path in pages(public):
        links = read(path).links
        assert REPOSITORY in links
        assert any(target(path, link) == guide for link in links if not urlsplit(link).scheme)


def test_foreign_markup_reaches_no_page_alive(public: Path) -> None:
    for path in pages(public):
        text = path.read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert 'href="javascript:' not in text


def test_links_to_other_sites_have_a_web_scheme(public: Path) -> None:
    schemes = {urlsplit(link).scheme for path in pages(public) for link in read(path).links}
    assert schemes <= {"", "https", "http"}


@pytest.mark.slow
def test_a_broken_link_fails_the_build_with_a_sentence(tmp_path: Path) -> None:
    source = find_project()
    (tmp_path / "site").symlink_to(source.site)
    (tmp_path / "mkdocs.yml").symlink_to(source.root / "mkdocs.yml")
    project = Project(tmp_path)
    example = board(tmp_path / "rows")
    generate(project, example)
    (project.pages / "broken.md").write_text("[nowhere](missing.md)")
    with pytest.raises(InputError, match=r"MkDocs could not build the website: .*missing\.md"):
        run_mkdocs(project, newest_result(example))


def test_a_checkout_without_configuration_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no mkdocs\.yml"):
        run_mkdocs(Project(tmp_path), 0)


def test_files_are_moved_between_those_that_are_there(tmp_path: Path) -> None:
    for path in ("from/a/b/1", "from/a/2", "from/c/3", "to/a/b/4"):
        write_file(tmp_path, path, path.encode())
    place_files(tmp_path / "from", tmp_path / "to")
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"to/a/b/1", "to/a/2", "to/c/3", "to/a/b/4"}
    assert not (tmp_path / "from").exists()
