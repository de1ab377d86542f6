"""The website: generated Markdown from the board and the templates, then MkDocs.

Text of submissions and papers is data. Templates print nothing but through `formatting.safe`,
which leaves neither HTML nor Markdown alive in it.
"""

import html
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from leaderboard import (
    formatting,
    page_compare,
    page_data,
    page_home,
    page_literature,
    page_settings,
    page_submissions,
    page_taxonomy,
)
from leaderboard.board import Board, load_board
from leaderboard.errors import InputError
from leaderboard.page_plan import PagePlan
from leaderboard.project import Project
from leaderboard.site_build import (
    place_files,
    run_mkdocs,
    serve_mkdocs,
    start_pages,
    write_file,
    write_page,
)


@dataclass(frozen=True)
class BuildReport:
    """What a build made: how many generated pages, where, in how many seconds."""

    pages: int
    public: Path
    seconds: float


SECTIONS = (
    page_home,
    page_settings,
    page_submissions,
    page_compare,
    page_taxonomy,
    page_literature,
    page_data,
)
"""Each plans its pages."""


def build(project: Project) -> BuildReport:
    """Generate every page of the checkout and build the website into `project.public`.

    Raises:
        InputError: a file of the checkout has a problem, or MkDocs refused.
    """
    began = time.perf_counter()
    board = load_board(project)
    plans = write_pages(project, board)
    # MkDocs is another process, and the files beside the pages are none of its business.
    with ThreadPoolExecutor(1) as beside:
        writing = beside.submit(write_files, plans, project.files)
        run_mkdocs(project, newest_result(board))
        writing.result()
    place_files(project.files, project.public)
    return BuildReport(len(plans), project.public, time.perf_counter() - began)


def serve(project: Project, port: int) -> None:
    """Serve the pages at `http://127.0.0.1:<port>/` until interrupted."""
    board = load_board(project)
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


def write_pages(project: Project, board: Board) -> list[PagePlan]:
    """Write the Markdown of every page into `project.pages`."""
    start_pages(project)
    environment = _environment(project.site / "templates")
    plans = plan(board)
    for page in plans:
        write_page(project, page.path, _render(environment, page))
    return plans


def write_files(plans: Iterable[PagePlan], folder: Path) -> None:
    """Write what lies beside the pages below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in plans:
        for path, content in page.files():
            write_file(folder, path, content)


def plan(board: Board) -> list[PagePlan]:
    """Every page that is generated, with what it shows."""
    return [page for section in SECTIONS for page in section.plans(board)]


def _render(environment: Environment, page: PagePlan) -> str:
    try:
        template = environment.get_template(f"{page.template}.md.j2")
        return template.render(page.view, charts=page.charts, link=_linker(page.path)) + "\n"
    except TemplateError as error:
        raise InputError(f"The template {page.template}.md.j2 failed: {error}.") from error


def _environment(templates: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: (
            value if isinstance(value, Markup) else Markup(formatting.safe(value))
        ),
        trim_blocks=True,
        lstrip_blocks=True,
    )
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
