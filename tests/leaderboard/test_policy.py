"""A page's Content-Security-Policy: only our own scripts run, whatever else is on the page."""

import base64
import hashlib
import inspect
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from leaderboard.results import kept
from leaderboard.website.policy import policy
from leaderboard.website.reloading import ReloadingServer
from tests.fixtures.browser import PAGES, WIDE, Visit, needs_browser
from tests.leaderboard.test_site import pages

META = '<meta http-equiv="Content-Security-Policy" content="'
WANTED = {
    "default-src": {"'none'"},
    "style-src": {"'self'", "'unsafe-inline'"},
    "img-src": {"'self'", "data:"},
    "font-src": {"'self'"},
    "connect-src": {"'self'"},
    "worker-src": {"'self'"},
    "object-src": {"'none'"},
    "base-uri": {"'none'"},
    "form-action": {"'none'"},
}


def policy_of(text: str) -> dict[str, set[str]]:
    """The sources of each directive on a page, which says its policy once."""
    (told,) = re.findall(re.escape(META) + '([^"]*)"', text)
    rules = (rule.split() for rule in told.split("; "))
    return {name: set(sources) for name, *sources in rules}


def inline(text: str) -> set[str]:
    """The hashes of the scripts that stand on a page."""
    scripts = re.findall(r"<script(?:\s[^>]*)?>(.*?)</script>", text, re.DOTALL)
    data = re.findall(r'<script id="__config" type="application/json">(.*?)</script>', text)
    found = {one for one in scripts if one.strip()} - set(data)
    digests = (hashlib.sha256(one.encode()).digest() for one in found)
    return {f"'sha256-{base64.b64encode(one).decode()}'" for one in digests}


def test_every_page_lets_its_own_scripts_run_and_nothing_else_from_nowhere_else(
    public: Path,
) -> None:
    for path in [*pages(public), public / "404.html"]:
        text = path.read_text(encoding="utf-8")
        told = policy_of(text)
        assert told.pop("script-src") == {"'self'", *inline(text)}, path
        assert told == WANTED, path


def test_the_policy_comes_before_any_text_of_others(public: Path) -> None:
    text = (public / PAGES["hostile submission"] / "index.html").read_text(encoding="utf-8")
    start = '<meta charset="utf-8">' + META
    before, found, after = text.partition(start)
    assert found
    assert re.fullmatch(r'\s*<!doctype html>\s*<html lang="en" class="no-js">\s*<head>\s*', before)
    assert "alert(1)" in after


def test_a_script_with_an_attribute_or_of_another_page_is_not_named() -> None:
    told = policy("<script>a()</script><script id=x>b()</script><script src='c'></script>")
    digest = base64.b64encode(hashlib.sha256(b"a()").digest()).decode()
    assert re.findall("sha256-([^']+)", told) == [digest]


def test_a_server_that_watches_names_the_script_by_which_a_page_loads_again(
    public: Path,
) -> None:
    server = ReloadingServer(lambda: None, "127.0.0.1", 0, str(public))
    server.watch(str(public))
    for path, kind in (("/", "text/html"), ("/assets/certboard.css", "text/css")):
        told: list[Any] = []
        environ = {"PATH_INFO": path}
        application: Any = server.get_app()
        answer = application(environ, lambda *begun, told=told: told.append(begun))
        body = b"".join(answer)
        getattr(answer, "close", lambda: None)()
        ((status, headers),) = told
        assert status == "200 OK"
        assert dict(headers) == {"Content-Type": kind, "Content-Length": str(len(body))}
        text = body.decode()
        assert ("livereload" in text) == (kind == "text/html")
        if kind == "text/html":
            assert policy_of(text)["script-src"] == {"'self'", *inline(text)}
            published = (public / "index.html").read_text(encoding="utf-8")
            assert len(inline(text) - inline(published)) == 1
    server.server_close()


def test_no_page_is_kept_with_the_policy_of_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(inspect.getfile(inspect.unwrap(policy)))
    before = kept.code.__wrapped__()
    hashed = kept.hash_of
    monkeypatch.setattr(kept, "hash_of", lambda place: "" if place == own else hashed(place))
    assert kept.code.__wrapped__() != before


SMUGGLED = (
    '<script>window.harm="script"</script>'
    "<script src=\"data:text/javascript,window.harm='data'\"></script>"
    '<script src="https://example.org/x.js"></script>'
    "<img src=x onerror=\"window.harm='handler'\">"
    "<svg onload=\"window.harm='svg'\"></svg>"
    "<iframe srcdoc=\"<script>parent.harm='frame'</script>\"></iframe>"
    "<a id=trap href=\"javascript:window.harm='link'\">here</a>"
    '<base href="https://example.org/">'
    '<form id=form action="https://example.org/"><input name=a></form>'
)


@needs_browser
@pytest.mark.slow
def test_what_is_smuggled_onto_a_page_neither_runs_nor_reaches_another_host(
    website: str, browser: Any
) -> None:
    def answer(route: Any) -> None:
        page = route.fetch()
        text = page.text().replace("<h1", SMUGGLED + "<h1", 1)
        route.fulfill(response=page, body=text)

    reached: list[str] = []
    with Visit(browser, "about:blank", viewport=WIDE) as visit:
        visit.page.route("**/settings/", answer)
        visit.page.route("https://example.org/**", lambda route: reached.append(route.request.url))
        visit.to(website + PAGES["settings"])
        visit.page.locator("#trap").click()
        visit.page.evaluate("document.getElementById('form').submit()")
        visit.page.evaluate("new Promise((done) => setTimeout(done, 100))")
        assert visit.page.evaluate("window.harm") is None
        assert visit.page.evaluate("document.baseURI") == website + PAGES["settings"]
        assert reached == []
        assert sum("Content Security Policy" in one for one in visit.wrong) >= 7


@needs_browser
@pytest.mark.slow
def test_search_colours_and_downloads_work_under_the_policy(website: str, browser: Any) -> None:
    with Visit(browser, website + PAGES["query"], viewport=WIDE) as visit:
        page = visit.page
        page.locator(".cb-rows tbody tr").first.wait_for()
        with page.expect_download() as loaded:
            page.locator(".cb-query__csv").click()
        assert Path(loaded.value.path()).read_text(encoding="utf-8").startswith("submission,")
        before = page.evaluate("document.body.dataset.mdColorScheme")
        page.locator("label.md-header__button[for^=__palette]:visible").click()
        visit.until(f"document.body.dataset.mdColorScheme !== '{before}'")
        page.locator(".md-search__input").click()
        page.keyboard.type("interval training")
        page.locator(".md-search-result__item").first.wait_for()
        page.keyboard.press("Enter")
        page.wait_for_url(lambda address: "query" not in address)
        assert visit.wrong == []


MARKUP = quote('"><img src=x onerror=window.harm=1><script>window.harm=1</script>')


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("compare", "setting={0}&s={0},__proto__&model={0}&time=constructor&without={0}#{0}"),
        ("setting", "kind={0}&words={0}&sort=-{0}&columns={0},__proto__&extra=constructor"),
        ("literature", "words={0}&kind=constructor&setting=__proto__&year={0}&sort={0}"),
    ],
)
def test_an_address_puts_nothing_on_a_page(
    website: str, browser: Any, kind: str, asked: str
) -> None:
    with Visit(browser, "about:blank", viewport=WIDE) as visit:
        visit.to(f"{website}{PAGES[kind]}?{asked.format(MARKUP)}")
        visit.page.wait_for_load_state("load")
        assert visit.page.locator("img[src=x]").count() == 0
        assert visit.page.evaluate("Object.keys(Object.prototype)") == []
        assert visit.wrong == []
