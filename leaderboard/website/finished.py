"""MkDocs' command, which makes no page again that it has made of the same sources.

`python -m leaderboard.website.finished build --strict` is `mkdocs build --strict`, and writes the
same bytes. Of a page that is not in the navigation, MkDocs' HTML, the page's anchors and what the
search knows of it are kept (`leaderboard/results/kept.py`) under a hash of all that they follow
from: the page's text and what stands below it, the theme's files, mkdocs.yml with the variables
that it reads, the navigation's titles, our code and the versions of the libraries. The day of
building and the list of the other pages are no part of it, since no template prints them.
What is in that folder is trusted as far as its own checksums go: who can write there is this user.
"""

import json
import os
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mkdocs.__main__ import cli
from mkdocs.commands import build, serve
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.theme import Theme
from mkdocs.utils import write_file

from leaderboard.results.kept import digest_of, key_of, shared
from leaderboard.website.policy import policy
from leaderboard.website.reloading import ReloadingServer

_LIBRARIES = (
    "mkdocs",
    "mkdocs-material",
    "markdown",
    "pymdown-extensions",
    "pygments",
    "jinja2",
    "markupsafe",
    "pyyaml",
)
_VARIABLE = re.compile(rb"!ENV \[?(\w+)")
_BELOW = re.compile(r"^below: (\S+)$", re.MULTILINE)
_LINKS = ("](", "]:")
"""In Markdown that may link to another page, which has to be checked each time."""

_populate, _build = vars(build)["_populate_page"], vars(build)["_build_page"]
_get_env = Theme.get_env


def _read(page: Page, config: MkDocsConfig, files: Files, dirty: bool = False) -> None:
    """Leave a page that may have been made before for later; read all others as MkDocs does."""
    if _may_be_kept(page):
        page.present_anchor_ids, page.meta = set(), {}
        vars(page)["left"] = files
    else:
        _populate(page, config, files, dirty)


def _may_be_kept(page: Page) -> bool:
    """Whether a page is in no navigation, and has no link that MkDocs would check."""
    if page.parent or page.previous_page or page.next_page or page.is_homepage:
        return False
    text = page.file.content_string
    return not any(link in text for link in _LINKS)


def _write(
    page: Page, config: MkDocsConfig, doc_files: Any, nav: Navigation, *others: Any, **named: Any
) -> None:
    """Write a page: what is kept of it, else what MkDocs makes, which is kept from now on."""
    files = vars(page).pop("left", None)
    if files is None:
        _build(page, config, doc_files, nav, *others, **named)
        return
    key = _key(page, config, nav)
    search: Any = config.plugins["material/search"]
    entries = search.search_index.entries
    target = Path(page.file.abs_dest_path)
    if (kept := shared().get(key)) is not None:
        html, anchors, own = json.loads(kept)
        page.present_anchor_ids = set(anchors)
        entries += own
        write_file(html.encode(), str(target))
        return
    before = len(entries)
    _populate(page, config, files)
    _build(page, config, doc_files, nav, *others, **named)
    made = (
        target.read_text(encoding="utf-8"),
        sorted(page.present_anchor_ids or ()),
        entries[before:],
    )
    shared().put(key, json.dumps(made).encode())


def _key(page: Page, config: MkDocsConfig, nav: Navigation) -> str:
    text = page.file.content_string
    theme = Path(str(config.theme.custom_dir))
    below = [(theme / place).read_bytes() for place in _BELOW.findall(text)]
    own = [page.file.src_uri.encode(), text.encode(), *below]
    titles = json.dumps([_titles(item) for item in nav.items])
    return key_of(
        "finished", [_common(theme, str(config.config_file_path)), titles, digest_of(own)]
    )


def _titles(item: Any) -> list[Any]:
    inner = [_titles(one) for one in item.children or ()]
    return [item.title, getattr(item, "url", None), inner]


@cache
def _common(theme: Path, configuration: str) -> str:
    """A hash of what all pages have in common but the navigation's titles."""
    chosen = Path(configuration).read_bytes()
    names = sorted(set(_VARIABLE.findall(chosen)))
    values = [name + b"=" + os.environb.get(name, b"") for name in names]
    libraries = [f"{name} {version(name)}".encode() for name in _LIBRARIES]
    return digest_of([chosen, *values, *libraries, *_files(theme)])


def _files(theme: Path) -> Iterable[bytes]:
    for path in sorted(theme.rglob("*")):
        place = path.relative_to(theme)
        if path.is_file() and place.parts[0] != "below":
            yield str(place).encode()
            yield path.read_bytes()


def _environment(theme: Theme) -> Any:
    """What MkDocs renders the theme's templates with, which ask it for the policy of a page."""
    environment = _get_env(theme)
    environment.filters["policy"] = policy
    return environment


if __name__ == "__main__":
    Theme.get_env = _environment  # type: ignore[method-assign,assignment]
    vars(build).update(_populate_page=_read, _build_page=_write)
    vars(serve).update(LiveReloadServer=ReloadingServer)
    cli()
