"""Every kind of page in a real browser: wide and phone, light and dark, with and without scripts.

All pages are visited in one window with scripts and one without; size and colours change while a
page is open, so that the browser loads it twice and not eight times.
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
# Where a wide screen shows what a phone does not: its dark colours are looked at, too.
WIDER = ("home", "setting", "submission", "compare", "taxonomy", "guide")
SERIOUS = ("serious", "critical")
# Rules that axe-core itself thinks less serious, and that are promises here.
PROMISED = ("heading-order", "page-has-heading-one", "landmark-one-main", "skip-link", "region")

PAINTED = """plot => [...plot.querySelectorAll("path.js-line, .points path, .bars path")]
  .filter(path => { const box = path.getBoundingClientRect(); return box.width + box.height > 1; })
  .length"""

# What has the tags, classes and styles of one beside it looks like it: the first one stands for
# hundreds, and saves minutes.
THIN = """() => {
  const look = one => [one, ...one.querySelectorAll("*")]
    .map(each => [each.tagName, each.getAttribute("class"), each.getAttribute("style")]).join();
  const lists = document.querySelectorAll("tbody, ul, ol, dl, nav, svg g, :has(> .hl-paper)");
  for (const many of [...lists].reverse()) {  // Lists within lists come first.
    const seen = new Set();
    for (const one of [...many.children])
      if (seen.has(look(one))) one.remove(); else seen.add(look(one));
  }
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


@pytest.fixture(scope="module", params=PAGES)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of page; all tests of one follow each other."""
    return str(request.param)


@pytest.fixture(scope="module")
def opened(website: str, tab: Visit, kind: str) -> Visit:
    """The tab at that page, which has loaded all that it loads by itself."""
    visit = visited(tab, website + PAGES[kind])
    visit.page.wait_for_load_state("networkidle")
    return visit


def test_a_page_loads_quietly_from_one_host_fits_every_screen_and_draws_its_charts(
    website: str, opened: Visit, kind: str
) -> None:
    page = opened.page
    # The query page waits for the program that answers, and then makes room for it.
    assert opened.jumped() < 0.05 or kind == "query"
    plots = page.locator(".cb-plot[data-figure]")
    assert plots.count() > 0 or kind not in WITH_CHARTS
    page.mouse.move(5, 5)  # Charts are drawn for a reader who moves.
    for plot in plots.all():
        plot.scroll_into_view_if_needed()
        plot.locator("svg.main-svg").first.wait_for(timeout=60_000)
        assert plot.evaluate(PAINTED) > 0
    for name, viewport, scheme in (*LOOKS, ("phone", PHONE, "light")):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert fits(opened, viewport), f"{name}, {scheme}"
    assert opened.wrong == []
    assert opened.hosts == {website.split("/")[2]}
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1


@needs_axe
def test_axe_finds_nothing_serious(opened: Visit, kind: str) -> None:
    """Serious, or promised: in each look the rule and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    page, wrong = opened.page, {}
    page.evaluate(THIN)
    page.evaluate(Axe().axe_script)
    for name, viewport, scheme in LOOKS if kind in WIDER else LOOKS[:2]:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(viewport)
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if (name, scheme) == ("wide", "dark"):
            options["runOnly"] = {"type": "rule", "values": ["color-contrast"]}
        wrong[f"{name}, {scheme}"] = [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}"
            for one in page.evaluate("options => axe.run(options)", options)["violations"]
            if one["impact"] in SERIOUS or one["id"] in PROMISED
        ]
    assert not any(wrong.values()), wrong


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
