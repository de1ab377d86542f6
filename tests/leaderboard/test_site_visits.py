"""Every kind of page in a real browser: wide and phone, light and dark, with and without scripts.

All pages are visited in one window with scripts and one without; size and colours change while a
page is open, so that the browser loads it three times and not eight.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.fixtures.browser import PAGES, PHONE, WIDE, Browser, Visit, needs_browser

pytestmark = [needs_browser, pytest.mark.slow]

needs_axe = pytest.mark.skipif(
    find_spec("axe_playwright_python") is None,
    reason="axe-core is not installed: pip install axe-playwright-python",
)

WITH_CHARTS = ("home", "setting", "submission", "smoothed submission")
LOOKS = (("wide", WIDE, "light"), ("phone", PHONE, "dark"), ("wide", WIDE, "dark"))
SERIOUS = ("serious", "critical")
# Rules that axe-core itself thinks less serious, and that are promises here.
PROMISED = ("heading-order", "page-has-heading-one", "landmark-one-main", "skip-link", "region")

PAINTED = """plot => [...plot.querySelectorAll("path.js-line, .points path, .bars path")]
  .filter(path => { const box = path.getBoundingClientRect(); return box.width + box.height > 1; })
  .length"""

# A template prints all rows of a table alike: the first ones stand for hundreds, and save minutes.
THIN = """() => {
  for (const body of document.querySelectorAll("tbody"))
    [...body.rows].slice(6).forEach(row => row.remove());
  [...document.querySelectorAll(".hl-paper")].slice(6).forEach(paper => paper.remove());
}"""


# A menu is as wide as its longest name; the real board has longer ones than a made-up board.
LONG_NAMES = """() => {
  for (const option of document.querySelectorAll("select option"))
    if (option.value && option.text.length < 60) option.textContent = option.text.padEnd(60, " n");
}"""


def fits(visit: Visit, viewport: dict[str, int]) -> bool:
    """Whether nothing of the page lies beyond the right edge of the screen."""
    visit.page.set_viewport_size(viewport)
    visit.page.evaluate(LONG_NAMES)
    wide: int = visit.page.evaluate("document.documentElement.scrollWidth")
    return wide <= viewport["width"]


def found_by_axe(visit: Visit, only: list[str] | None = None) -> list[str]:
    """What axe-core finds that is serious or promised: the rule and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if only:
        options["runOnly"] = {"type": "rule", "values": only}
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in Axe().run(visit.page, options=options).response["violations"]
        if one["impact"] in SERIOUS or one["id"] in PROMISED
    ]


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Visit]:
    """A page for all visits with scripts."""
    with Visit(browser, "about:blank", viewport=WIDE) as visit:
        yield visit


@pytest.fixture(scope="module")
def tab_without_scripts(browser: Browser) -> Iterator[Visit]:
    """A page for all visits without."""
    with Visit(browser, "about:blank", viewport=WIDE, java_script_enabled=False) as visit:
        yield visit


def visited(tab: Visit, address: str) -> Visit:
    """The tab at an address, as wide and light as at first."""
    tab.page.set_viewport_size(WIDE)
    tab.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    tab.to(address)
    return tab


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_loads_quietly_from_one_host_fits_every_screen_and_draws_its_charts(
    website: str, tab: Visit, kind: str
) -> None:
    visit = visited(tab, website + PAGES[kind])
    visit.page.wait_for_load_state("networkidle")
    plots = visit.page.locator(".cb-plot[data-figure]")
    assert plots.count() > 0 or kind not in WITH_CHARTS
    visit.page.mouse.move(5, 5)  # Charts are drawn for a reader who moves.
    for plot in plots.all():
        plot.scroll_into_view_if_needed()
        plot.locator("svg.main-svg").first.wait_for(timeout=60_000)
        assert plot.evaluate(PAINTED) > 0
    for name, viewport, scheme in (*LOOKS, ("phone", PHONE, "light")):
        visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert fits(visit, viewport), f"{name}, {scheme}"
    assert visit.wrong == []
    assert visit.hosts == {website.split("/")[2]}
    assert visit.page.locator("h1").count() == 1
    assert visit.page.locator("main").count() == 1


@needs_axe
@pytest.mark.parametrize("kind", PAGES)
def test_axe_finds_nothing_serious(website: str, tab: Visit, kind: str) -> None:
    visit = visited(tab, website + PAGES[kind])
    visit.page.wait_for_load_state("networkidle")
    visit.page.evaluate(THIN)
    wrong = {}
    for name, viewport, scheme in LOOKS:
        visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        visit.page.set_viewport_size(viewport)
        rules = ["color-contrast"] if (name, scheme) == ("wide", "dark") else None
        wrong[f"{name}, {scheme}"] = found_by_axe(visit, rules)
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("kind", PAGES)
def test_without_javascript_a_page_fits_and_hides_nothing_that_only_scripts_can_fill(
    website: str, tab_without_scripts: Visit, kind: str
) -> None:
    visit = visited(tab_without_scripts, website + PAGES[kind])
    assert visit.page.locator("h1").is_visible()
    assert visit.page.locator(".cb-tools:visible, .hl-filters:visible").count() == 0
    assert visit.page.locator(".cb-plot:visible").count() == 0
    if kind in WITH_CHARTS:
        assert visit.page.locator("table.cb-table tbody tr").count() > 0
        assert visit.page.locator("details.cb-data td").count() > 0
    for viewport in (WIDE, PHONE):
        assert fits(visit, viewport)
    assert visit.hosts == {website.split("/")[2]}
