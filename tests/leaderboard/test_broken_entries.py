"""A broken entry costs itself, never the website: each is left out, named, and found by check."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.board.board import Board
from leaderboard.board.files import read_sources
from leaderboard.common.project import Project, find_project
from leaderboard.results.store import results_path, write
from leaderboard.website import build
from leaderboard.website.build import AnyPage
from tests.fixtures.board import provenance, rows, smoothed_rows
from tests.fixtures.project import L2, LINF, digest, linear, submit
from tests.leaderboard.conftest import Certboard

HONEST, NOISY = "honest", "honest-noisy"
Break = Callable[[Path, Path], None]
"""Of a submission's folder and of its stored result."""

RIGHT = {("certified", "ibp"): 30, ("falsified", "pgd"): 9, ("unknown", "crown"): 10}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout with the project's own site and two honest submissions with results."""
    project = Project(tmp_path)
    source = find_project(Path(__file__).parent)
    (project.site / "data").mkdir(parents=True)
    for name in ("assets", "pages", "templates", "theme"):
        (project.site / name).symlink_to(source.site / name)
    (tmp_path / "mkdocs.yml").symlink_to(source.root / "mkdocs.yml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    # What MkDocs makes of the pages is another matter, and takes seconds.
    monkeypatch.setattr(build, "run_mkdocs", lambda _project, _newest, folder: folder.mkdir())
    for slug, sigma in ((HONEST, None), (NOISY, "0.25")):
        enter(project, slug, sigma)
    return project


def enter(project: Project, slug: str, sigma: str | None = None) -> tuple[Path, Path]:
    """A submission with one result; its folder, and the result's file."""
    model = submit(project, slug, linear(), sigma)
    setting = L2 if sigma else LINF
    table = smoothed_rows(slug, setting, 49, sigma) if sigma else rows(slug, setting, RIGHT)
    origin = provenance(table, total=449).model_copy(update={"model_sha256": digest(model)})
    path = results_path(project, setting, slug)
    write(path, table, origin)
    return model.parent, path


def manifest(old: str, new: str) -> Break:
    def act(folder: Path, _: Path) -> None:
        path = folder / "submission.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return act


def content(name: str, text: bytes) -> Break:
    def act(folder: Path, _: Path) -> None:
        (folder / name).write_bytes(text)

    return act


def stored(text: bytes) -> Break:
    def act(_: Path, path: Path) -> None:
        path.write_bytes(text)

    return act


def half(_: Path, path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def a_folder(_: Path, path: Path) -> None:
    path.unlink()
    path.mkdir()


def origin(**changed: object) -> Break:
    """Another provenance."""

    def act(_: Path, path: Path) -> None:
        table = pq.read_table(path)
        record = json.loads(table.schema.metadata[b"certboard"])
        told = json.dumps({**record, **changed}).encode()
        pq.write_table(table.replace_schema_metadata({b"certboard": told}), path)

    return act


def no_origin(_: Path, path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)


def column(name: str, *values: object) -> Break:
    """Other values in the first rows of a column."""

    def act(_: Path, path: Path) -> None:
        table = pq.read_table(path)
        told = [*values, *table[name].to_pylist()[len(values) :]]
        place, field = table.schema.get_field_index(name), table.schema.field(name)
        again = table.set_column(place, field, pa.array(told, field.type))
        pq.write_table(again.replace_schema_metadata(table.schema.metadata), path)

    return act


def no_rows(_: Path, path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), path)


def no_column(_: Path, path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["seconds"]), path)


def a_link(folder: Path, _: Path) -> None:
    (folder / "README.md").symlink_to("/etc/passwd")


def is_link(folder: Path, _: Path) -> None:
    shutil.move(folder, folder.parents[1] / folder.name)
    folder.symlink_to(folder.parents[1] / folder.name)


def no_manifest(folder: Path, _: Path) -> None:
    (folder / "submission.toml").unlink()


def manifest_folder(folder: Path, _: Path) -> None:
    (folder / "submission.toml").unlink()
    (folder / "submission.toml").mkdir()


def a_pipe(folder: Path, _: Path) -> None:
    os.mkfifo(folder / "README.md")


def kept(text: str) -> Break:
    def act(folder: Path, _: Path) -> None:
        checks = Project(folder.parents[1]).checks
        checks.mkdir(exist_ok=True)
        (checks / f"{folder.name}.json").write_text(text)

    return act


TITLE, END = 'title = "', "[training]"
UNREADABLE: dict[str, Break] = {
    "m-gone": no_manifest,
    "m-folder": manifest_folder,
    "m-empty": content("submission.toml", b""),
    "m-syntax": content("submission.toml", b"title = ["),
    "m-binary": content("submission.toml", b"\xff\xfe\x00"),
    "m-deep": content("submission.toml", b"a" + b".a" * 5000 + b" = 1"),
    "m-key": manifest("title", "titel"),
    "m-number": manifest(TITLE, f"x = {'9' * 5000}\n{TITLE}"),
    "m-dataset": manifest('dataset = "digits"', 'dataset = "digts"'),
    "m-node": manifest("training/relaxation-based", "training/nothing"),
    "m-hidden": manifest(TITLE, f"{TITLE}\u202e"),
    "m-nothing": manifest(TITLE, f'superseded_by = "nothing"\n{TITLE}'),
    "m-itself": manifest(TITLE, f'superseded_by = "m-itself"\n{TITLE}'),
    "m-round": manifest(TITLE, f'superseded_by = "m-round-2"\n{TITLE}'),
    "m-round-2": manifest(TITLE, f'superseded_by = "m-round"\n{TITLE}'),
    "m-others": manifest('owners = ["octocat"]', 'owners = ["m"]\nsuperseded_by = "honest"'),
    "f-link": a_link,
    "f-is-link": is_link,
    "f-pipe": a_pipe,
    "f-model": content("model.onnx", b"another"),
    "f-text": content("README.md", b"\xff\xfe"),
    "f-spare": content("evil.sh", b"#!/bin/sh"),
}
"""The whole entry is left out."""

DAMAGED: dict[str, Break] = {
    "r-empty": stored(b""),
    "r-garbage": stored(b"PAR1" * 100),
    "r-half": half,
    "r-folder": a_folder,
    "r-no-origin": no_origin,
    "r-no-rows": no_rows,
    "r-no-column": no_column,
    "r-other": origin(submission=HONEST),
    "r-elsewhere": origin(setting="digits-linf-0.2"),
    "r-undated": origin(created="yesterday"),
    "r-naive": origin(created="2026-03-04T05:06:07"),
    "r-day": origin(created="2026-13-40T05:06:07+00:00"),
    "r-total": origin(total=0),
    "r-below": origin(total=3),
    "r-negative": origin(total=-5),
    "r-huge": origin(total=10**400),
    "r-type": origin(options=[1]),
    "r-version": origin(schema_version=99),
    "r-status": column("status", "proved"),
    "r-twice": column("example", 1, 1, 1),
    "c-empty": kept(""),
    "c-other": kept("[1]"),
    "c-list": kept('{"answers": 1}'),
}
"""The result, or what recognises the network, is left out; the submission's page stays."""

ODD: dict[str, Break] = {
    "o-class": column("prediction", 77),
    "o-label": column("label", -3),
    "o-far": column("prediction", 2**60),
    "o-radius": column("radius", "one half"),
    "o-over": column("radius", "1/0"),
    "o-endless": column("radius", "1e999999999"),
    "o-stage": column("stage", "<script>"),
    "o-seconds": column("seconds", float("inf"), float("nan")),
    "o-margin": column("margin", float("-inf"), float("nan")),
    "o-witness": column("witness", b"\x00" * 7),
    "o-outside": column("example", 10**9),
    "o-note": column("note", "x" * 5000, "</table><script>"),
    "o-model": origin(model_sha256="nothing"),
    "o-options": origin(options={"seconds": {"a": []}, "<b>": None}),
    "o-texts": origin(machine="<script>", commit="{{ 7 * 7 }}", evaluator="|`"),
    "o-parameters": origin(parameters=-(10**30)),
}
"""Values that no evaluation writes: shown or left out, but never in the way of others."""


@pytest.mark.slow
def test_every_broken_entry_is_left_out_and_told_and_the_others_are_built(
    place: Project, certboard: Certboard
) -> None:
    for slug, damage in (UNREADABLE | DAMAGED | ODD).items():
        damage(*enter(place, slug))
    outcome = certboard("build")
    assert outcome.code == 0, outcome.err
    for slug in UNREADABLE:
        assert not page(place, slug), slug
    for slug in (HONEST, NOISY, *DAMAGED):
        assert page(place, slug), (slug, outcome.err[-6000:])
    assert "86." not in page(place, HONEST)
    assert "61.22" in page(place, HONEST)  # 30 of 49
    checked = certboard("check")
    assert checked.code == 1
    for slug in UNREADABLE | DAMAGED:
        assert re.search(f"/{slug}[/. ]", outcome.err), slug
        assert re.search(f"/{slug}[/. ]", checked.err), slug


def page(place: Project, slug: str) -> str:
    """The generated text of a submission's page; empty if there is none."""
    found = (*place.root.rglob(f"{slug}.md"), *place.root.rglob(f"{slug}.html"))
    return "".join(path.read_text() for path in found if "build" in path.parts)


@pytest.mark.slow
@pytest.mark.parametrize("slug", [*UNREADABLE, *DAMAGED])
def test_check_of_one_finds_what_the_board_would_leave_out(
    place: Project, certboard: Certboard, slug: str
) -> None:
    damage = (UNREADABLE | DAMAGED)[slug]
    if slug == "m-round":
        (UNREADABLE["m-round-2"])(*enter(place, "m-round-2"))
    damage(*enter(place, slug))
    assert read_sources(place).problems()
    assert certboard("check", slug).code == 1
    assert certboard("check", HONEST).code == 0


@pytest.mark.slow
def test_what_nobody_foresaw_is_found_by_leaving_out(
    place: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with the pages of one submission costs the others nothing."""
    for number in range(3):
        enter(place, f"entry-{number}")
    real = build.plan

    def stumbles(board: Board) -> list[AnyPage]:
        if {"entry-0", "entry-2"} & set(board.submissions):
            raise ZeroDivisionError("somewhere deep")
        return real(board)

    monkeypatch.setattr(build, "plan", stumbles)
    report = build.build(place)
    assert [warning.split(":")[0] for warning in report.warnings] == [
        "submissions/entry-0",
        "submissions/entry-2",
    ]
    assert page(place, "entry-1")
    assert not page(place, "entry-2")


def test_a_mistake_of_our_own_still_ends_the_build(
    place: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> list[AnyPage]:
        raise ZeroDivisionError("in every page")

    monkeypatch.setattr(build, "plan", fails)
    with pytest.raises(ZeroDivisionError):
        build.build(place)


def test_who_is_superseded_by_a_broken_one_keeps_its_page(place: Project) -> None:
    enter(place, "old")
    manifest(TITLE, f'superseded_by = "new"\n{TITLE}')(place.submissions / "old", Path())
    UNREADABLE["m-syntax"](*enter(place, "new"))
    build.build(place)
    text = page(place, "old")
    assert "Superseded</strong> by new." in text


def test_a_board_of_honest_entries_has_no_warnings(place: Project, certboard: Certboard) -> None:
    assert "warning" not in certboard("build").err
    assert certboard("check").code == 0
