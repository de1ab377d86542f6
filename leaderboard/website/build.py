"""The website: generated Markdown from the board and the templates, then MkDocs.

Text of submissions and papers is data. Templates print nothing but through `formatting.safe`,
which leaves neither HTML nor Markdown alive in it.
"""

import gc
import html
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache, partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.compiler import CodeGenerator
from markupsafe import Markup

from leaderboard.board.board import Board
from leaderboard.board.files import Sources, read_sources
from leaderboard.common import formatting
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.results.kept import digest_of, shared
from leaderboard.website.kept_page import KeptPage
from leaderboard.website.mkdocs import (
    run_mkdocs,
    serve_mkdocs,
    start_pages,
    write_file,
    write_page,
)
from leaderboard.website.pages import (
    authors_curves,
    compare,
    data,
    home,
    literature,
    methods,
    reference,
    settings,
    submissions,
    taxonomy,
)
from leaderboard.website.plan import PagePlan
from leaderboard.website.publication import Publication


@dataclass(frozen=True)
class BuildReport:
    """What a build made: how many generated pages, where, in how many seconds.

    `warnings` say what is broken and was left out, or is at odds with something else.
    """

    pages: int
    public: Path
    seconds: float
    warnings: tuple[str, ...] = ()


AnyPage = PagePlan | KeptPage

SECTIONS = (
    home,
    settings,
    submissions,
    compare,
    taxonomy,
    literature,
    authors_curves,
    data,
    methods,
    reference,
)
"""Each plans its pages."""


def build(project: Project) -> BuildReport:
    """Generate every page of the checkout and build the website into `project.public`.

    Raises:
        InputError: a file of the board itself has a problem, or MkDocs refused.
    """
    began = time.perf_counter()
    with _uncollected():
        pages, warnings = _built(project)
    return BuildReport(pages, project.public, time.perf_counter() - began, warnings)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no cycles of objects meanwhile: a board's rows and pages stay until the end."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _built(project: Project) -> tuple[int, tuple[str, ...]]:
    """How many pages of the checkout were built, without what breaks them, and the warnings."""
    sources = read_sources(project, shared())
    left_out: dict[str, str] = {}
    while True:
        board = sources.board(left_out)
        try:
            pages = _build(project, board)
        except Exception as error:
            culprit = _culprit(project, sources, left_out)
            if culprit is None:
                raise
            left_out[culprit] = (
                f"submissions/{culprit}: left out, for its pages cannot be made"
                f" ({type(error).__name__}: {str(error)[:200]})."
            )
        else:
            return pages, (*sources.problems(), *left_out.values())


def _build(project: Project, board: Board) -> int:
    """Build the website of a board; how many pages were generated."""
    plans = write_pages(project, board)
    published = Publication(project.public)
    # MkDocs is another process, and the files beside the pages are none of its business.
    with ThreadPoolExecutor(1) as beside:
        writing = beside.submit(write_files, plans, project.files, published)
        run_mkdocs(project, newest_result(board), project.finished)
        writing.result()
    published.replace(project.finished, project.files)
    return len(plans)


def _culprit(project: Project, sources: Sources, left_out: Collection[str]) -> str | None:
    """One submission without the others of which nothing can be made; None if there is none.

    Half of what is left is tried each time, so a thousand submissions cost ten tries.
    """
    suspects = [slug for slug in sources.catalogue.submissions if slug not in left_out]
    if not suspects or not _fails(project, sources, suspects) or _fails(project, sources, ()):
        return None
    while len(suspects) > 1:
        half = len(suspects) // 2
        halves = (suspects[:half], suspects[half:])
        found = next((part for part in halves if _fails(project, sources, part)), None)
        if found is None:
            return None
        suspects = found
    return suspects[0]


def _fails(project: Project, sources: Sources, kept: Collection[str]) -> bool:
    """Whether the pages and files of these submissions alone cannot be made."""
    environment = _environment((project.site / "templates").resolve())
    try:
        board = sources.board(sources.catalogue.submissions.keys() - set(kept))
        newest_result(board)
        for page in plan(board):
            _render(environment, page.plan if isinstance(page, KeptPage) else page)
            for _ in page.files():
                pass
    except Exception:
        return True
    return False


def serve(project: Project, port: int) -> None:
    """Serve the pages at `http://127.0.0.1:<port>/` until interrupted."""
    board = read_sources(project, shared()).board()
    generate(project, board)
    serve_mkdocs(project, port, newest_result(board))


def newest_result(board: Board) -> int:
    """When the newest result was made, in seconds since 1970; 0 without any."""
    times = [datetime.fromisoformat(result.provenance.created) for result in board.results]
    return int(max(times).timestamp()) if times else 0


def generate(project: Project, board: Board) -> int:
    """Write all Markdown, figures and downloads into `project.pages`; how many pages it made."""
    plans = write_pages(project, board)
    write_files(plans, project.pages)
    return len(plans)


def write_pages(project: Project, board: Board) -> list[AnyPage]:
    """Write the Markdown of every page into `project.pages`."""
    start_pages(project)
    templates = (project.site / "templates").resolve()
    environment, known = _environment(templates), _digest(templates)
    plans = plan(board)
    for page in plans:
        if isinstance(page, KeptPage):
            text = page.text(partial(_render, environment), known)
        else:
            text = _render(environment, page)
        write_page(project, page.path, text)
    return plans


def _digest(folder: Path) -> str:
    """A hash of the names and contents of all files in a folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return digest_of(told for path in files for told in (path.name.encode(), path.read_bytes()))


def write_files(
    plans: Iterable[AnyPage], folder: Path, published: Publication | None = None
) -> None:
    """Write what lies beside the pages below `folder`, but for what is published as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in plans:
        for path, content in page.files():
            if published is None or not published.has(path, content):
                write_file(folder, path, content)


def plan(board: Board) -> list[AnyPage]:
    """Every page that is generated, with what it shows.

    Raises:
        InputError: two pages have one path, and one would take the other's place unseen.
    """
    pages: list[AnyPage] = [page for section in SECTIONS for page in section.plans(board)]
    for path, count in Counter(page.path for page in pages).items():
        if count > 1:
            raise InputError(f"{count} pages of the website have the path '{path}': rename one.")
    return pages


def _render(environment: Environment, page: PagePlan) -> str:
    try:
        template = environment.get_template(f"{page.template}.md.j2")
        return template.render(page.view, charts=page.charts, link=_linker(page.path)) + "\n"
    except TemplateError as error:
        raise InputError(f"The template {page.template}.md.j2 failed: {error}.") from error


class _Once(CodeGenerator):
    """Compiles what a template prints to `finalize` alone.

    Jinja would hand each of the millions of texts that it gives to `escape` as well, which returns
    marked text as it is.
    """

    def _output_child_pre(self, *_of: object) -> None:
        self.write("environment.finalize(")

    def _output_child_post(self, *_of: object) -> None:
        self.write(")")


@cache
def _environment(templates: Path) -> Environment:
    """What knows the templates of a folder, each of which is compiled once."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else _inert(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.code_generator_class = _Once
    environment.filters.update(
        percent=formatting.percent,
        seconds=formatting.seconds,
        count=formatting.count,
        p_value=formatting.p_value,
        thousands=formatting.thousands,
        float_text=formatting.float_text,
        safe_url=_attribute_url,
        front_matter=_front_matter,
    )
    return environment


@lru_cache(1 << 14)
def _inert(text: str) -> Markup:
    """Foreign text for a page; most is there on many."""
    return Markup(formatting.safe(text))


def _attribute_url(value: object) -> Markup:
    """A checked address for an attribute, where Markdown reads nothing."""
    return Markup(html.escape(formatting.safe_url(value)))


def _front_matter(text: object) -> Markup:
    """A YAML string; the theme prints it unescaped, so it is escaped for HTML here."""
    one_line = " ".join(str(text).split())
    return Markup(json.dumps(html.escape(one_line), ensure_ascii=False))


def _linker(path: str) -> Callable[..., Markup]:
    """Addresses relative to the page at `path`, so that the website works under any prefix."""
    folders = path.count("/") + (0 if path.rsplit("/", 1)[-1] == "index" else 1)
    up = "../" * folders or "./"

    def link(page: str, *, file: bool = False) -> Markup:
        return Markup(up + formatting.safe(page) + ("" if file or not page else "/"))

    return link
