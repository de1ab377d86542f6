"""A page is made of its part of the board alone, and again when that part changes."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.board.board import Board
from leaderboard.board.decisions import Decision
from leaderboard.board.files import read_sources
from leaderboard.board.fingerprints import Twin
from leaderboard.board.smoothed import same_norm
from leaderboard.common.project import Project
from leaderboard.results import kept
from leaderboard.results.store import read, results_path, stored_paths, write
from leaderboard.website import build
from leaderboard.website.kept_page import BoardParts, KeptPage
from leaderboard.website.pages import settings, submissions
from leaderboard.website.pages.submission import SubmissionPages
from leaderboard.website.plan import PagePlan
from tests.fixtures.thousand import thousand
from tests.fixtures.website import text_of


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return thousand(tmp_path_factory.mktemp("few"), 12, examples=20).project


@pytest.fixture(scope="module")
def board(project: Project) -> Board:
    """Of its submissions one is retired, one disputed in a setting, one flagged as a twin."""
    board = read_sources(project).board()
    for number, result in enumerate(one for some in board.results_of.values() for one in some):
        result.sha256 = hashlib.sha256(f"{number}".encode()).hexdigest()
    slugs = [slug for slug in board.submissions if slug in board.results_of]
    told = {"decision": "disputed", "reason": "No.", "date": "2026", "by": "M."}
    place = board.results_of[slugs[1]][0].provenance.setting
    against = Decision.model_validate({"slug": slugs[1], "setting": place, **told})
    own = board._lines[place, slugs[1]]
    retired = board.submissions[slugs[0]].model_copy(update={"superseded_by": slugs[2]})
    line = replace(own, rank=None, disputed=against)
    return replace(
        board,
        submissions={**board.submissions, slugs[0]: retired},
        standings={
            **board.standings,
            place: [other for other in board.standings[place] if other is not own],
        },
        decisions=(against,),
        disputed={place: (line,)},
        _lines={**board._lines, (place, slugs[1]): line},
        twins={slugs[3]: [Twin(slugs[4], 0.0, 1.0)]},
    )


def made(page: PagePlan) -> tuple[str, list[tuple[str, bytes]]]:
    """A page's text and what lies beside it."""
    return text_of(page), list(page.files())


def test_a_page_of_a_part_of_the_board_is_that_of_the_whole_board(board: Board) -> None:
    parts, whole = BoardParts(board), SubmissionPages(board)
    told = ""
    for slug in board.submissions:
        page = made(whole.plan(slug))
        assert made(SubmissionPages(parts.alone(slug)).plan(slug)) == page
        told += page[0]
    wanted = ("Superseded", "Disputed", "with another", "Its answers")
    assert [words for words in wanted if words not in told] == []


def test_a_page_of_what_is_around_a_setting_is_that_of_the_whole_board(board: Board) -> None:
    parts, told = BoardParts(board), ""
    for name in board.settings:
        page = made(settings.page(board, name))
        assert made(settings.page(parts.around(name), name)) == page
        told += page[0]
    wanted = ("Disputed", "measured in another setting", "count, rechecked")
    assert [words for words in wanted if words not in told] == []


def test_the_hash_of_a_setting_follows_its_own_results_and_of_others_the_day(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashes() -> dict[str, str | None]:
        parts = BoardParts(board)
        return {name: parts.digest(parts.around(name), name) for name in board.settings}

    before = hashes()
    assert hashes() == before
    result = next(one for one in board.results if one.provenance.setting.startswith("mnist-linf"))
    family = same_norm(board.settings, result.provenance.setting)
    with monkeypatch.context() as patch:
        patch.setattr(result, "sha256", "0" * 64)
        after = hashes()
    assert {name for name in before if after[name] != before[name]} <= family
    assert after[result.provenance.setting] != before[result.provenance.setting]
    later = result.provenance.model_copy(update={"created": "2030-01-01T00:00:00+00:00"})
    slug = result.provenance.submission
    monkeypatch.setattr(result, "provenance", later)
    elsewhere = {one.provenance.setting for one in board.results_of[slug]} - family
    after = hashes()
    # Its own file is as before, as far as its hash tells.
    assert {name for name in before if after[name] != before[name]} == elsewhere != set()


def digests(board: Board, data: str = "") -> dict[str, str | None]:
    parts = BoardParts(board)
    return {slug: parts.digest(parts.alone(slug), slug, {"d": data}) for slug in board.submissions}


def test_the_hash_of_a_part_follows_all_that_is_in_it(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(board)
    assert digests(board) == before
    assert None not in before.values()

    def changed(other: Board) -> set[str]:
        after = digests(other)
        return {slug for slug in after if after[slug] != before[slug]}

    slug, (result, *_) = next((slug, some) for slug, some in board.results_of.items() if some)
    place = result.provenance.setting
    title = board.submissions[slug].model_copy(update={"title": "Other"})
    assert slug in changed(replace(board, submissions={**board.submissions, slug: title}))
    line = replace(board._lines[place, slug], of=99)
    lines = {**board._lines, (place, slug): line}
    assert changed(replace(board, _lines=lines)) == {slug}
    with monkeypatch.context() as patch:
        patch.setattr(result, "sha256", "0" * 64)
        assert changed(board) == {slug}
        patch.setattr(result, "sha256", None)
        assert digests(board)[slug] is None
    assert digests(board, "others").keys() == before.keys()
    assert not set(digests(board, "others").values()) & set(before.values())
    monkeypatch.setenv("SITE_URL", "https://example.org/")
    assert changed(board) == before.keys()


def _row(project: Project) -> None:
    path = next(iter(stored_paths(project)))
    rows = read(path).rows
    write(path, rows.assign(seconds=rows["seconds"] + 1), read(path).provenance)


def _submission(project: Project) -> None:
    made = thousand(project.root / "more", 7, examples=20).project
    (new,) = {path.name for path in made.submissions.iterdir()} - {
        path.name for path in project.submissions.iterdir()
    }
    (made.submissions / new).rename(project.submissions / new)
    for path in stored_paths(made):
        if path.stem == new:
            path.rename(results_path(project, path.parent.name, new))


def _removal(project: Project) -> None:
    shutil.rmtree(min(project.submissions.iterdir()))


def _template(project: Project) -> None:
    templates = project.site / "templates"
    source = templates.resolve()
    templates.unlink()
    shutil.copytree(source, templates)
    page = templates / "setting.md.j2"
    page.write_text(page.read_text().replace("Download</h2>", "Take home</h2>"))


@pytest.mark.slow
def test_built_again_after_a_change_the_website_is_that_of_a_build_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SECTIONS", (settings, submissions))  # no others have kept pages
    project = thousand(tmp_path / "few", 6, examples=20).project
    cache = str(tmp_path / "cache")
    monkeypatch.setenv(kept.VARIABLE, cache)
    before = contents(project)
    for change in (_row, _submission, _removal, _template):
        change(project)
        after = contents(project)
        monkeypatch.setenv(kept.VARIABLE, "")
        assert contents(project) == after != before
        monkeypatch.setenv(kept.VARIABLE, cache)
        before = after


def contents(project: Project) -> dict[str, bytes]:
    """All that is generated now."""
    build.generate(project, read_sources(project, kept.shared()).board())
    return {
        f"{path.relative_to(project.root)}": path.read_bytes()
        for folder in (project.pages, project.theme)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_after_a_new_row_only_what_it_changes_is_made_again_and_no_byte_differs(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "cache"))
    first, planned = built(project)
    assert len(planned) == 12
    result = next(one for one in read_sources(project).results)
    slug, setting = result.provenance.submission, result.provenance.setting
    path = results_path(project, setting, slug)
    table = read(path).rows
    before = path.read_bytes()
    try:
        write(path, table.assign(seconds=table["seconds"] + 1), result.provenance)
        second, planned = built(project)
        assert planned == [slug]
        assert second != first
        monkeypatch.setenv(kept.VARIABLE, "")
        assert built(project) == (second, [*read_sources(project).catalogue.submissions])
    finally:
        path.write_bytes(before)


def built(project: Project) -> tuple[dict[str, bytes], list[str]]:
    """Every generated file, and the submissions whose pages were planned for it."""
    made: list[str] = []
    plan = SubmissionPages.plan

    def counted(pages: SubmissionPages, slug: str) -> PagePlan:
        made.append(slug)
        return plan(pages, slug)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SubmissionPages, "plan", counted)
        build.generate(project, read_sources(project, kept.shared()).board())
    folders = (project.pages, project.theme)
    found = {
        f"{folder.name}/{path.relative_to(folder)}": path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and ("submissions" in path.parts or "charts" in path.parts)
    }
    return found, made


def test_a_page_is_made_again_by_another_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path))
    page = KeptPage("a", "key", lambda: PagePlan("a", "t", {}, beside=lambda: [("f", b"\n1")]))
    texts = iter("öp")
    made = [page.text(lambda _: next(texts), templates) for templates in ("1", "2", "1")]
    assert made == ["ö", "p", "ö"]
    assert [list(page.files()) for _ in range(2)] == [[("f", b"\n1")]] * 2
