"""Reading the website in a browser: by keyboard, on paper, by search, and with foreign text."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.fixtures.board import HOSTILE
from tests.fixtures.browser import PAGES, PHONE, WIDE, Visit, needs_browser, served

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["setting", "guide", "not there"])
def test_the_first_key_leads_past_the_header(website: str, browser: Any, kind: str) -> None:
    with Visit(browser, website + PAGES[kind], viewport=WIDE) as visit:
        visit.page.keyboard.press("Tab")
        first = visit.page.locator("a:focus")
        assert first.inner_text().strip() == "Skip to content"
        assert first.is_visible()
        visit.page.keyboard.press("Enter")
        visit.page.keyboard.press("Tab")
        assert visit.page.locator("main :focus").count() == 1


@pytest.mark.parametrize("kind", ["home", "setting", "compare"])
def test_the_focus_is_seen_wherever_it_is(website: str, browser: Any, kind: str) -> None:
    with Visit(browser, website + PAGES[kind], viewport=WIDE, reduced_motion="reduce") as visit:
        visit.page.locator("h1").click()
        seen = 0
        for _ in range(12):
            visit.page.keyboard.press("Tab")
            ring = visit.page.evaluate(
                """() => { const one = document.activeElement;
                  return one.closest("main") && getComputedStyle(one).outlineStyle; }"""
            )
            if ring is not None:
                assert ring != "none", visit.page.evaluate("document.activeElement.outerHTML")
                seen += 1
        assert seen > 0


@pytest.mark.parametrize("kind", ["home", "setting", "submission"])
def test_paper_shows_the_tables_without_what_only_a_screen_can_do(
    website: str, browser: Any, kind: str
) -> None:
    with Visit(browser, website + PAGES[kind], viewport=WIDE, color_scheme="dark") as visit:
        visit.page.emulate_media(media="print", color_scheme="dark")
        for one in (".md-header", ".md-tabs", ".md-footer", ".cb-tools", ".cb-jump"):
            assert visit.page.locator(f"{one}:visible").count() == 0
        assert visit.page.locator("table.cb-table").first.is_visible()
        # Names give way before a table is wider than its sheet.
        for name in visit.page.locator("table.cb-table tbody .cb-name").all()[:3]:
            assert name.evaluate("cell => getComputedStyle(cell).minWidth") in ("0px", "auto")
        style = "getComputedStyle(document.querySelector('.md-typeset')).color"
        assert visit.page.evaluate(style) == "rgb(0, 0, 0)"
        # A drawn chart is as wide as the screen, and would be cut: its still picture is printed.
        for chart in visit.page.locator(".cb-drawn").all():
            assert chart.locator(".cb-still").is_visible()
            assert not chart.locator(".cb-plot").is_visible()


def test_without_scripts_every_chart_is_a_picture_that_was_loaded(
    website: str, browser: Any
) -> None:
    address = website + PAGES["setting"]
    with Visit(browser, address, viewport=WIDE, java_script_enabled=False) as visit:
        charts = visit.page.locator(".cb-still")
        assert charts.count() > 0
        for chart in charts.all():
            assert chart.is_visible()
            assert (chart.bounding_box() or {"height": 0})["height"] > 100
            assert "data" in (chart.get_attribute("alt") or "")


def test_a_filter_without_hits_offers_to_clear_itself(website: str, browser: Any) -> None:
    address = f"{website}literature/?words=nobody-wrote-this"
    with Visit(browser, address, viewport=WIDE) as visit:
        rows = "#literature tbody tr:visible"
        assert visit.page.locator(rows).count() == 0
        visit.page.get_by_role("button", name="Clear the filter").click()
        assert visit.page.locator(rows).count() > 0
        assert "words" not in visit.page.url


def test_nothing_moves_for_those_whom_motion_disturbs(website: str, browser: Any) -> None:
    with Visit(browser, website, viewport=WIDE, reduced_motion="reduce") as visit:
        longest = visit.page.evaluate(
            """Math.max(...[...document.querySelectorAll("*")].flatMap(one =>
              getComputedStyle(one).transitionDuration.split(",").map(parseFloat)))"""
        )
        assert longest < 0.001


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("interval training", "submissions/mnist-ibp/"),
        ("Deterministic verification", "taxonomy/verification/deterministic/"),
        ("ghost certificates", "guides/certificates/"),
    ],
)
def test_the_search_finds_submissions_ideas_and_guides(
    website: str, browser: Any, words: str, wanted: str
) -> None:
    with Visit(browser, website, viewport=WIDE) as visit:
        visit.page.wait_for_load_state("networkidle")
        visit.page.locator(".md-search__input").click()
        visit.page.locator(".md-search__input").press_sequentially(words)
        found = visit.page.locator(f".md-search-result__link[href*='{wanted}']")
        found.first.wait_for(state="attached", timeout=60_000)
        assert visit.wrong == []


def test_the_search_has_no_formula_picture_or_table_as_a_row_of_signs(public: Path) -> None:
    found = json.loads((public / "search/search_index.json").read_text(encoding="utf-8"))
    texts = [entry["text"] for entry in found["docs"] if entry["location"].startswith("taxonomy/")]
    pages = [path.read_text(encoding="utf-8") for path in public.glob("taxonomy/**/index.html")]
    parts = [
        part for page in pages for part in re.findall(r"<(?:math|svg).*?</(?:math|svg)>", page)
    ]
    signs = {re.sub("<[^>]*>", "", part).strip() for part in parts}
    assert len({sign for sign in signs if len(sign) > 8}) > 5
    assert not [sign for sign in signs if len(sign) > 8 and any(sign in text for text in texts)]
    assert not any("Reported %Clean %" in text for text in texts)


FOREIGN = (
    PAGES["hostile submission"],
    PAGES["submissions"],
    PAGES["setting"],
    f"{PAGES['compare']}?setting=mnist-linf-0.1&s=hostile,mnist-ibp",
    f"{PAGES['query']}?setting=mnist-linf-0.1&submission=hostile",
    PAGES["data of a setting"],
)


def test_foreign_text_runs_nowhere(website: str, browser: Any) -> None:
    asked: list[str] = []
    with Visit(browser, "about:blank", viewport=PHONE) as visit:

        def refuse(dialog: Any) -> None:
            asked.append(dialog.message)
            dialog.dismiss()

        visit.page.on("dialog", refuse)
        for place in FOREIGN:
            visit.page.goto(website + place)
            visit.page.wait_for_load_state("networkidle")
            scripts = visit.page.locator("script").all_text_contents()
            assert not [one for one in scripts if "alert(1)" in one]
            assert visit.page.locator("h1").count() == 1
            assert visit.page.locator("a[href^='javascript']").count() == 0
        visit.page.goto(website + PAGES["hostile submission"])
        assert visit.page.locator("h1").inner_text() == HOSTILE
        assert asked == []
        assert visit.wrong == []


def test_foreign_text_leaves_every_other_file_readable(public: Path) -> None:
    for path in public.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in [*public.rglob("*.svg"), public / "feed.xml", public / "sitemap.xml"]:
        tree = ElementTree.parse(path)
        tags = {one.tag.rsplit("}")[-1].lower() for one in tree.iter()}
        assert "script" not in tags
        assert not [key for one in tree.iter() for key in one.attrib if key.startswith("on")]
    for path in public.rglob("*.tex"):
        assert not re.search(r"\\(input|write|immediate|include)\b", path.read_text())


def test_downloads_open_in_pandas(website: str, browser: Any, tmp_path: Path) -> None:
    with Visit(browser, website + PAGES["setting"], viewport=WIDE) as visit:
        for name, read in (("CSV", pd.read_csv), ("Parquet", pd.read_parquet)):
            with visit.page.expect_download() as waiting:
                visit.page.locator("#data + p").get_by_role("link", name=name, exact=True).click()
            waiting.value.save_as(tmp_path / name)
            assert len(read(tmp_path / name)) > 1


@pytest.mark.parametrize("kind", ["home", "setting", "submissions", "literature"])
def test_nothing_jumps_while_a_page_loads_on_a_phone(website: str, browser: Any, kind: str) -> None:
    """On a wide screen each kind of page is asked, in `test_site_visits.py`."""
    with Visit(browser, website + PAGES[kind], viewport=PHONE) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.jumped() < 0.05


@pytest.mark.parametrize("kind", ["taxonomy", "methods", "submissions", "setting"])
def test_nothing_that_is_seen_moves_while_a_page_arrives_slowly(
    public: Path, browser: Any, kind: str
) -> None:
    """Neither the columns of tables nor the twigs of a tree; and at the end all is seen."""
    seen = """[...document.querySelectorAll("main .cb-scroll, main .cb-diagram")]
      .map(one => getComputedStyle(one).visibility)"""
    with (
        served(public, slowly=True) as address,
        Visit(browser, address + PAGES[kind], viewport=WIDE) as visit,
    ):
        visit.page.wait_for_load_state("networkidle")
        assert visit.jumped() < 0.02
        assert set(visit.page.evaluate(seen)) == {"visible"}


def test_columns_of_a_long_table_do_not_depend_on_the_rows_that_have_arrived(
    website: str, browser: Any
) -> None:
    with Visit(browser, f"{website}literature/", viewport=WIDE) as visit:
        visit.page.wait_for_load_state("networkidle")
        widths = "[...document.querySelectorAll('#literature th')].map(one => one.offsetWidth)"
        whole = visit.page.evaluate(f"{widths}.slice(0, 9)")
        visit.page.evaluate(
            "document.querySelectorAll('#literature tbody tr:nth-child(n + 3)')"
            ".forEach(row => row.remove())"
        )
        assert visit.page.evaluate(f"{widths}.slice(0, 9)") == whole


def test_a_first_page_fetches_neither_fonts_nor_the_index_of_the_search_before_it_is_there(
    website: str, browser: Any
) -> None:
    with Visit(browser, "about:blank", viewport=PHONE) as visit:
        asked: list[str] = []
        visit.page.on("request", lambda request: asked.append(request.url.removeprefix(website)))
        visit.page.add_init_script("window.requestIdleCallback = () => {}")
        visit.page.goto(website + PAGES["guide"])
        visit.page.wait_for_load_state("networkidle")
        assert not [one for one in asked if one.startswith(("assets/fonts/", "search/"))]
        with visit.page.expect_request("**/search/search_index.json"):
            visit.page.locator("label[for=__search]:visible").first.click()


def test_fonts_are_used_from_the_second_page_on(website: str, browser: Any) -> None:
    with Visit(browser, website + PAGES["guide"], viewport=WIDE) as visit:
        visit.until("localStorage.getItem('cb-fonts')")
        family = "getComputedStyle(document.body).fontFamily"
        assert "Source Sans 3" not in visit.page.evaluate(family)
        visit.to(website + PAGES["guides"])
        assert visit.page.evaluate(family).startswith('"Source Sans 3"')
