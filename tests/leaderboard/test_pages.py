import csv
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from jinja2 import Environment

from leaderboard.board.board import Board
from leaderboard.common.formatting import (
    percent,
    rounded_down,
    safe,
    safe_url,
    seconds,
    whole_percent,
)
from leaderboard.common.project import Project
from leaderboard.results.export import csv as csv_of
from leaderboard.results.store import Results, load, write
from leaderboard.website.build import generate, plan
from leaderboard.website.downloads import inert
from leaderboard.website.mkdocs import BELOW, write_page
from leaderboard.website.pages.submission import in_short
from leaderboard.website.pages.submissions import submissions_index
from tests.fixtures.board import HOSTILE, board, provenance, rows
from tests.fixtures.website import generated, whole


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board(tmp_path_factory.mktemp("rows"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_generations_are_byte_identical(example: Board, pages: Path, tmp_path: Path) -> None:
    assert contents(generated(example, tmp_path / "again")) == contents(pages)


def test_a_page_is_made_for_everything(example: Board, pages: Path) -> None:
    for kind, names in {
        "settings": example.settings,
        "submissions": example.submissions,
        "taxonomy": example.taxonomy.nodes,
    }.items():
        for name in names:
            assert (pages / kind / f"{name}.md").is_file()


@pytest.mark.slow
def test_what_is_left_of_an_earlier_generation_disappears(example: Board, tmp_path: Path) -> None:
    stale = generated(example, tmp_path) / "submissions" / "withdrawn.md"
    stale.write_text("old")
    generate(Project(tmp_path), example)
    assert not stale.exists()


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "a\n\n# b",
        "```\ncode",
        "<b>",
        "{% raw %}",
        "a_b_c",
        "[x](http://y)",
        "$x$",
        "&amp;",
    ],
)
def test_foreign_text_leaves_no_sign_that_html_or_markdown_reads(text: str) -> None:
    import html

    made = safe(text)
    assert not set("<>\"'`*_{}[]|$\n").intersection(made)
    assert html.unescape(made) == " ".join(text.split())


def test_a_hostile_title_is_inert_on_every_page(pages: Path) -> None:
    told = 0
    for path in pages.rglob("*.md"):
        text = whole(pages, str(path.relative_to(pages).with_suffix("")))
        assert "<script>alert" not in text
        markdown = text.split("\n---\n", 1)[-1]
        assert "](javascript:alert" not in markdown
        assert "{{" not in markdown
        assert text.count("{%") in (0, 2)  # around what the theme prints as it is
        told += "alert(1)" in text
    assert told >= 2


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " JaVaScRiPt:x",
        "data:text/html,x",
        "//x.org",
        "ftp://x.org",
        "http://",
        "",
    ],
)
def test_only_web_addresses_are_linked(url: str) -> None:
    assert safe_url(url) == ""


def test_a_web_address_stays_what_it_is() -> None:
    url = "https://openreview.net/forum?id=AQ9UL-7UvZx&x=%20#a"
    assert safe_url(url) == url
    assert safe_url('https://x.org/"><script>') == "https://x.org/%22%3E%3Cscript%3E"


def test_what_stands_below_the_mark_is_neither_markdown_nor_a_template(tmp_path: Path) -> None:
    project = Project(tmp_path)
    hostile = "<p>{% endraw %}{{ 7*7 }}</p>\n"
    write_page(project, "a/b", f"---\ntitle: A\n---\n<h1>A</h1>\n{BELOW}{hostile}")
    top = (project.pages / "a" / "b.md").read_text(encoding="utf-8")
    assert top == "---\nbelow: below/a/b.html\ntitle: A\n---\n<h1>A</h1>\n"
    below = (project.theme / "below" / "a" / "b.html").read_text(encoding="utf-8")
    printed = Environment().from_string(below).render()
    assert printed.replace("&#123;", "{") == hostile


def test_an_empty_setting_says_what_is_missing(pages: Path) -> None:
    text = whole(pages, "settings/digits-linf-0.05")
    assert "No model has been re-evaluated here yet." in text
    assert "Nor is any published number" in text


def test_a_partial_evaluation_is_noted(pages: Path) -> None:
    text = whole(pages, "settings/mnist-linf-0.1")
    assert "500 of 10,000 examples are evaluated." in text


def test_a_submission_shows_claim_measurement_and_command(pages: Path) -> None:
    text = whole(pages, "submissions/mnist-ibp")
    assert "certboard run mnist-ibp --setting mnist-linf-0.1 --fresh" in text
    assert ">93.25<" in text
    assert ">80.00<" in text
    assert "abcdef0" in text


def test_the_csv_has_the_rows_and_no_formula(pages: Path) -> None:
    stored = pd.read_parquet(pages / "data" / "mnist-linf-0.1" / "mnist-ibp.parquet")
    table = pd.read_csv(pages / "data" / "mnist-linf-0.1" / "mnist-ibp.csv")
    assert len(table) == len(stored) == 500
    assert "witness" not in table
    assert table["status"].tolist() == stored["status"].tolist()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+1", "-1", "@x", "\uff1d1")),
        ("\t=1", "'\t'=1"),
        ("\r=1", "' '=1"),
        ("a;=1", "a;'=1"),
        ("a; @x; b-c", "a; '@x; b-c"),
    ],
)
def test_a_formula_in_a_text_column_is_defused(text: str, shown: str, tmp_path: Path) -> None:
    table = rows("mnist-ibp", "mnist-linf-0.1", {("unknown", "crown"): 2})
    table = table.assign(note=[text, "fine"], margin=pd.array([-0.5, None], "Float64"))
    stored = Results(tmp_path / "a.parquet", table, provenance(table))
    write(stored.path, table, stored.provenance)
    written = csv_of(load(stored), inert).decode()
    first, second = csv.DictReader(io.StringIO(written, newline=""))
    assert first["note"] == shown
    assert (first["margin"], second["margin"], second["note"]) == ("-0.5", "", "fine")


def test_figures_lie_where_the_pages_look_for_them(example: Board, pages: Path) -> None:
    planned = [path for page in plan(example) for path, _ in page.files()]
    assert any(path.startswith("charts/submission/") for path in planned)
    for path in planned:
        assert (pages / path).is_file()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0000123, "12 µs"),
        (0.000627, "627 µs"),
        (0.0009996, "1 ms"),
        (0.0042, "4.2 ms"),
        (0.9996, "1 s"),
        (90, "90 s"),
        (600, "10 min"),
        (9000, "2.5 h"),
    ],
)
def test_durations_read_as_one_would_say_them(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_a_share_that_is_not_known_is_a_dash() -> None:
    assert percent(None) == "–"
    assert percent(0.93251) == "93.25"


def test_a_part_is_never_shown_as_nothing_or_as_everything() -> None:
    shown = [whole_percent(part, 9536) for part in (0, 3, 4768, 9533, 9536)]
    assert shown == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]


def test_of_training_images_that_are_missing_a_few_are_named_and_many_are_not() -> None:
    many = "Trained without 1, 3, 5 to 9, 11, 13, 15, 17 and 1,208 others (SHA-256 ab12); no more."
    assert in_short(many) == "Trained without those that its submission.toml lists; no more."
    few = "Trained without 1, 3 and 5, for 20 epochs."
    assert in_short(few) == few


def test_a_best_place_has_the_most_submissions_behind_it(example: Board) -> None:
    rows = submissions_index(example)["rows"]
    assert isinstance(rows, list)
    best = {row["submission"].slug: row["best"] for row in rows}
    assert best["hostile"] is None
    assert (best["mnist-ibp"]["rank"], best["mnist-ibp"]["of"]) == (1, 2)
    assert best["mnist-ibp"]["setting"].id == "mnist-linf-0.1"
    assert best["mnist-plain"]["rank"] == 2


def test_the_kind_of_a_smoothed_submission_is_that_of_its_rows(example: Board) -> None:
    summed = {
        key: replace(line, kind="deterministic") if line.slug == "digits-noise" else line
        for key, line in example._lines.items()
    }
    rows = submissions_index(replace(example, _lines=summed))["rows"]
    assert isinstance(rows, list)
    told = {row["submission"].slug: row["kind"] for row in rows}
    assert told["digits-noise"] == told["mnist-ibp"] == "deterministic"
    assert told["digits-noise-2"] == "probabilistic"


def test_a_submission_without_a_place_is_not_called_disputed_for_nothing(example: Board) -> None:
    rows = submissions_index(example)["rows"]
    assert isinstance(rows, list)
    told = {row["submission"].slug: row["unranked"] for row in rows if not row["best"]}
    assert told == {
        "digits-noise": "too few examples to rank",
        "digits-noise-2": "too few examples to rank",
        "hostile": "not evaluated yet",
    }


@pytest.mark.parametrize(
    ("margin", "text"),
    [
        (2.70519, "2.7051"),
        (0.001, "0.0010"),
        (0.00099999, "9.9e-4"),
        (2**-30, "9.3e-10"),
        (0.0, "0.0000"),
        (-0.00001, "-0.0001"),
        (None, None),
    ],
)
def test_a_margin_in_short_is_still_a_lower_bound_and_positive_where_it_proves(
    margin: float | None, text: str | None
) -> None:
    assert rounded_down(margin) == text
    assert margin is None or (float(str(text)) <= margin and (margin <= 0 or float(str(text)) > 0))
