"""A setting's table in a browser: filters, columns, details and the address that keeps them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leaderboard.website.build import build
from tests.fixtures.browser import PHONE, WIDE, Visit, needs_browser, served
from tests.fixtures.thousand import thousand

pytestmark = [needs_browser, pytest.mark.slow]

REPORTED = "settings/cifar10-linf-8_255/"
MEASURED = "settings/mnist-linf-0.1/"
SHOWN = "#standings tr[data-kind]:not([hidden])"
LAID_OUT = """(row => row.querySelector(".cb-name a, .cb-name")
    .checkVisibility({contentVisibilityAuto: true}))"""


def test_who_leads_deterministically_without_extra_data_is_one_address(
    website: str, browser: Any
) -> None:
    address = website + REPORTED + "?kind=deterministic&extra=none"
    with Visit(browser, address, viewport=WIDE) as visit:
        rows = visit.page.locator(SHOWN)
        assert rows.count() > 1
        kinds = {
            (row.get_attribute("data-kind"), row.get_attribute("data-extra")) for row in rows.all()
        }
        assert kinds == {("deterministic", "none")}
        leader = rows.first.locator(".cb-name a").first.inner_text()
        glance = visit.page.locator(".cb-glance tbody tr").first
        assert "without extra data" in glance.inner_text()
        assert leader in glance.inner_text()
        assert int(rows.first.locator(".cb-rank").inner_text()) > 1  # its rank among all


def test_every_filter_and_the_columns_are_in_the_address_and_come_back(
    website: str, browser: Any
) -> None:
    with Visit(browser, website + REPORTED, viewport=WIDE) as visit:
        page = visit.page
        page.locator("select[data-filter=extra]").select_option("some")
        page.get_by_label("Filter by name or method").fill("diffusion")
        page.get_by_text("Columns", exact=True).click()
        page.get_by_role("checkbox", name="Kind").uncheck()
        page.get_by_role("checkbox", name="Date").check()
        shown = page.locator(SHOWN).count()
        assert shown > 0
        assert "Date" in page.locator("#standings thead").inner_text()
        assert "Kind" not in page.locator("#standings thead").inner_text()
        address = page.url
    assert "extra=some" in address
    assert "words=diffusion" in address
    assert "columns=" in address
    with Visit(browser, address, viewport=WIDE) as visit:
        assert visit.page.locator(SHOWN).count() == shown
        assert "Date" in visit.page.locator("#standings thead").inner_text()
        assert "Kind" not in visit.page.locator("#standings thead").inner_text()


def test_a_filter_by_tier_hides_the_other_with_its_heading(website: str, browser: Any) -> None:
    with Visit(browser, website + MEASURED, viewport=WIDE) as visit:
        visit.page.get_by_label("Tier").select_option("ours")
        assert visit.page.locator("#standings .cb-paper tr:visible").count() == 0
        assert visit.page.locator("#standings .cb-ours tr[data-kind]:visible").count() == 2
        assert "tier=ours" in visit.page.url


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_details_tell_how_sure_how_to_cite_and_how_to_rerun(
    website: str, browser: Any, viewport: dict[str, int], script: bool
) -> None:
    options = {"viewport": viewport, "java_script_enabled": script}
    with Visit(browser, website + MEASURED, **options) as visit:
        row = visit.page.locator("#standings .cb-ours tr[data-kind]").first
        panel = row.locator(".cb-panel")
        assert not panel.is_visible()
        row.locator("summary").click()
        assert panel.is_visible()
        for words in ("How sure", "certboard run mnist-ibp", "@misc{certboard:mnist-ibp", "CSV"):
            assert words in panel.inner_text()
        box, below = (
            panel.bounding_box(),
            visit.page.locator("#standings .cb-ours tr[data-kind]").nth(1).bounding_box(),
        )
        assert box is not None
        assert below is not None
        assert box["y"] + box["height"] <= below["y"] + 1
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_what_a_row_offers_to_copy_is_copied(website: str, browser: Any) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with Visit(browser, website + MEASURED, viewport=WIDE, permissions=permissions) as visit:
        row = visit.page.locator("#standings .cb-ours tr[data-kind]").first
        row.locator("summary").click()
        row.get_by_role("button", name="copy").first.click()
        row.get_by_role("button", name="copied").wait_for()
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        assert copied == "certboard run mnist-ibp --setting mnist-linf-0.1 --fresh"
        assert visit.wrong == []


@pytest.fixture(scope="module")
def long_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = thousand(
        tmp_path_factory.mktemp("long") / "project", 70, examples=10, only="cifar10-linf-8_255"
    )
    public: Path = build(made.project).public
    with served(public) as address:
        yield address


def test_of_a_long_table_the_first_rows_are_shown_and_all_are_searched(
    long_table: str, browser: Any
) -> None:
    with Visit(browser, long_table + REPORTED, viewport=WIDE) as visit:
        rows = visit.page.locator("#standings .cb-ours tr[data-kind]:visible")
        assert rows.count() == 25
        visit.page.get_by_role("button", name="Show 25 more of 45").click()
        assert rows.count() == 50
        more = visit.page.get_by_role("button", name="Show 20 more of 20")
        more.click()
        assert rows.count() == 70
        assert not more.is_visible()
        last = rows.last.locator(".cb-name a").first.inner_text()
        rank = rows.last.locator(".cb-rank").inner_text()
    with Visit(browser, long_table + REPORTED, viewport=WIDE) as visit:
        visit.page.get_by_label("Filter by name or method").fill(last)
        shown = visit.page.locator("#standings .cb-ours tr[data-kind]:visible")
        assert shown.count() == 1
        assert shown.locator(".cb-rank").inner_text() == rank
        assert rank == "–", "a hundred examples give no rank, and a filter changes none"


def test_a_filter_that_nothing_fits_offers_to_clear_itself(long_table: str, browser: Any) -> None:
    with Visit(
        browser, f"{long_table}{REPORTED}?words=nonsense&kind=plain", viewport=WIDE
    ) as visit:
        rows = visit.page.locator("#standings tr[data-kind]:visible")
        clear = visit.page.get_by_role("button", name="Clear the filter")
        assert rows.count() == 0
        clear.click()
        assert rows.count() > 0
        assert not clear.is_visible()
        assert "words" not in visit.page.url


def test_without_javascript_a_long_table_shows_every_row(long_table: str, browser: Any) -> None:
    options = {"viewport": WIDE, "java_script_enabled": False}
    with Visit(browser, long_table + REPORTED, **options) as visit:
        assert visit.page.locator("#standings .cb-ours tr[data-kind]:visible").count() == 70


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_on_a_phone_rows_far_below_wait_for_their_turn_and_print_has_all(
    website: str, browser: Any, script: bool
) -> None:
    options = {"viewport": PHONE, "java_script_enabled": script}
    with Visit(browser, website + REPORTED, **options) as visit:
        rows = visit.page.locator(SHOWN)
        laid_out = f"rows => rows.map(row => {LAID_OUT}(row))"
        assert not all(rows.evaluate_all(laid_out))
        rows.last.scroll_into_view_if_needed()
        visit.page.wait_for_timeout(100)
        assert rows.last.evaluate(LAID_OUT)
        visit.page.emulate_media(media="print")
        visit.page.wait_for_timeout(100)
        assert all(rows.evaluate_all(laid_out))
