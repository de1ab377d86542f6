"""The website in a real browser, without any other network."""

import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

PAGES = {
    "home": "",
    "settings": "settings/",
    "setting": "settings/mnist-linf-0.1/",
    "empty setting": "settings/digits-linf-0.05/",
    "submissions": "submissions/",
    "submission": "submissions/mnist-ibp/",
    "smoothed submission": "submissions/digits-noise/",
    "hostile submission": "submissions/hostile/",
    "taxonomy": "taxonomy/",
    "node": "taxonomy/verification/deterministic/",
    "literature": "literature/",
    "methods": "methods/",
    "guide": "guides/certificates/",
}
WITH_CHARTS = ("home", "setting", "submission", "smoothed submission")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def website(public: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=public))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


class Visit:
    """An open page that remembers what went wrong and where requests went."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.hosts: set[str] = set()
        self.page.on(
            "console",
            lambda told: self.wrong.append(told.text) if told.type == "error" else None,
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(address)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_loads_quietly_from_one_host_and_fits_the_screen(
    website: str, browser: Any, kind: str, viewport: dict[str, int]
) -> None:
    with Visit(browser, website + PAGES[kind], viewport=viewport) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.wrong == []
        assert visit.hosts == {website.split("/")[2]}
        assert visit.page.locator("h1").count() == 1
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", WITH_CHARTS)
def test_every_chart_is_drawn_when_it_comes_into_view(
    website: str, browser: Any, kind: str, scheme: str
) -> None:
    with Visit(browser, website + PAGES[kind], viewport=WIDE, color_scheme=scheme) as visit:
        plots = visit.page.locator(".cb-plot")
        assert plots.count() > 0
        for position in range(plots.count()):
            plot = plots.nth(position)
            plot.scroll_into_view_if_needed()
            plot.locator("svg.main-svg").first.wait_for(timeout=10_000)
            assert plot.locator("path.js-line, g.points path").count() > 0
        assert visit.wrong == []


def test_plotly_is_not_loaded_where_there_is_no_chart(website: str, browser: Any) -> None:
    with Visit(browser, website + PAGES["literature"], viewport=WIDE) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.evaluate("typeof window.Plotly") == "undefined"


def names(visit: Visit, body: str) -> list[str]:
    found: list[str] = visit.page.locator(
        f"#standings {body} tr:not([hidden]) .cb-name a"
    ).all_inner_texts()
    return found


def test_a_table_sorts_within_its_tiers_and_remembers_it_in_the_address(
    website: str, browser: Any
) -> None:
    with Visit(browser, website + PAGES["setting"], viewport=WIDE) as visit:
        assert names(visit, ".cb-ours")[0] == "MNIST CNN by interval training"
        visit.page.get_by_role("button", name="Clean %").click()
        assert names(visit, ".cb-ours")[0] == "MNIST CNN, plainly trained"
        assert len(names(visit, ".cb-ours")) == 2
        address = visit.page.url
    assert "sort=-Clean" in address
    with Visit(browser, address, viewport=WIDE) as visit:
        assert names(visit, ".cb-ours")[0] == "MNIST CNN, plainly trained"


def test_a_filter_hides_the_other_kind_and_keeps_the_ranks(website: str, browser: Any) -> None:
    address = website + "settings/cifar10-l2-0.25/"
    with Visit(browser, address, viewport=WIDE) as visit:
        everything = visit.page.locator("#standings tr[data-kind]").count()
        visit.page.get_by_role("button", name="Deterministic").click()
        shown = visit.page.locator("#standings tr[data-kind]:not([hidden])")
        assert 0 < shown.count() < everything
        ranks = [int(rank) for rank in shown.locator(".cb-rank").all_inner_texts()]
        assert ranks == sorted(ranks)
        assert ranks[0] > 1
        assert "kind=deterministic" in visit.page.url


@pytest.mark.parametrize("kind", ["home", "setting", "submission"])
def test_without_javascript_the_tables_tell_everything(
    website: str, browser: Any, kind: str
) -> None:
    with Visit(browser, website + PAGES[kind], viewport=WIDE, java_script_enabled=False) as visit:
        assert visit.page.locator("table.cb-table tbody tr").count() > 0
        assert visit.page.locator("details.cb-data td").count() > 0
        assert not visit.page.locator(".cb-plot").first.is_visible()
        assert visit.page.locator(".cb-tools:visible").count() == 0
