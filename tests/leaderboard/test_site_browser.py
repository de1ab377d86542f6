"""The website in a real browser, without any other network."""

import json
import re
import urllib.request
from typing import Any

import numpy as np
import pytest

from leaderboard.results.paired import mcnemar
from tests.fixtures.browser import PAGES, WIDE, Visit, needs_browser

pytestmark = [needs_browser, pytest.mark.slow]


def test_plotly_is_not_loaded_where_there_is_no_chart(website: str, browser: Any) -> None:
    with Visit(browser, website + PAGES["literature"], viewport=WIDE) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.evaluate("typeof window.Plotly") == "undefined"


def names(visit: Visit, body: str) -> list[str]:
    found: list[str] = visit.page.locator(
        f"#standings {body} tr:not([hidden]) .cb-name > a"
    ).all_inner_texts()
    return found


def test_plotly_draws_only_for_a_reader_who_moves(website: str, browser: Any) -> None:
    with Visit(browser, website, viewport=WIDE) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.locator(".cb-still").first.is_visible()
        assert visit.page.evaluate("typeof window.Plotly") == "undefined"
        visit.page.mouse.move(200, 200)
        visit.page.locator(".cb-plot[data-drawn]").first.wait_for()


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
        assert set(shown.locator(".cb-kind").all_inner_texts()) == {"deterministic"}
        # Its rank is among proofs, whatever stands above it when all are shown.
        assert shown.locator(".cb-rank").first.inner_text() == "1"
        assert "kind=deterministic" in visit.page.url


def test_the_literature_is_filtered_by_what_the_address_says(website: str, browser: Any) -> None:
    address = website + PAGES["literature"]
    with Visit(browser, address, viewport=WIDE) as visit:
        page = visit.page
        rows = page.locator("#literature tbody tr:not([hidden])")
        everything = rows.count()
        page.get_by_label("Kind").select_option("empirical")
        assert 0 < rows.count() < everything
        page.get_by_label("Setting").select_option("CIFAR-10 · ℓ∞ · 8/255")
        page.get_by_label("Words").fill("diffusion models")
        assert 0 < (few := rows.count()) < 5
        page.get_by_role("button", name="Attack %").click()
        page.wait_for_url("**sort=**")
        address = page.url
        attacks = rows.locator("[data-label='Attack %']").all_inner_texts()
        assert attacks == sorted(attacks, reverse=True)
        assert visit.wrong == []
    with Visit(browser, address, viewport=WIDE) as visit:
        rows = visit.page.locator("#literature tbody tr:not([hidden])")
        assert rows.count() == few
        visit.page.get_by_role("button", name="Show all").click()
        visit.until("!location.search.includes('kind')")
        assert rows.count() == everything


COMPARED = "compare/?setting=digits-l2-0.25&s=digits-noise,digits-noise-2"


def test_the_address_chooses_what_is_compared_and_choosing_changes_the_address(
    website: str, browser: Any
) -> None:
    with Visit(browser, website + COMPARED, viewport=WIDE) as visit:
        pairs = visit.page.locator("#compare-pairs table tbody tr")
        pairs.first.wait_for()
        assert pairs.count() == 1
        visit.page.mouse.move(9, 9)
        visit.page.locator("#compare-curves svg.main-svg").first.wait_for(timeout=60_000)
        names = visit.page.locator("#compare-table tbody a").all_inner_texts()
        assert names == ["Digits, Gaussian noise", "Digits, more noise"]
        visit.page.get_by_label("Digits, more noise").uncheck()
        pairs.first.wait_for(state="detached")
        assert visit.page.url.endswith("s=digits-noise")
        visit.page.locator("#compare-setting").select_option("mnist-linf-0.1")
        # The two best of the setting are shown, and nothing is left of the one before.
        best = visit.page.locator("#compare-table tbody a", has_text="MNIST")
        best.nth(1).wait_for()
        assert visit.page.locator("#compare-table tbody a").count() == 2
        visit.page.get_by_label("MNIST CNN, plainly trained").uncheck()
        assert visit.page.url.endswith("?setting=mnist-linf-0.1&s=mnist-ibp")
        assert visit.wrong == []


def test_the_counts_in_the_browser_are_those_of_the_rows(website: str, browser: Any) -> None:
    files = [
        json.loads(urllib.request.urlopen(f"{website}compare/digits-l2-0.25/{slug}.json").read())
        for slug in ("digits-noise", "digits-noise-2")
    ]
    first, second = (np.array(list(file["verdicts"])) == "c" for file in files)
    wanted = [first & second, first & ~second, second & ~first, ~first & ~second]
    with Visit(browser, website + COMPARED, viewport=WIDE) as visit:
        row = visit.page.locator("#compare-pairs table tbody tr").first
        row.wait_for()
        cells = row.locator("td").all_inner_texts()
        assert [int(cell) for cell in cells[:4]] == [int(one.sum()) for one in wanted]
        shown = visit.page.locator(".cb-indices").first.inner_text()
    numbers = np.flatnonzero(first & ~second)
    ends = {int(part) for part in re.findall("[0-9]+", shown)}
    assert ends <= set(numbers.tolist())
    assert {int(numbers[0]), int(numbers[-1])} <= ends


def test_the_browser_computes_the_chance_as_scipy_does(website: str, browser: Any) -> None:
    draw = np.random.default_rng(0)
    pairs = [(0, 0), (1, 0), (5, 5), (0, 1060), (4000, 4400), (9999, 1)]
    pairs += [(int(a), int(b)) for a, b in draw.integers(0, 400, (60, 2))]
    with Visit(browser, website + "compare/", viewport=WIDE) as visit:
        script = "pairs => pairs.map(([a, b]) => certboardCompare.mcnemar(a, b))"
        found = visit.page.evaluate(script, pairs)
        adjusted = visit.page.evaluate("certboardCompare.holm([0.01, 0.04, 0.03, 0.005])")
    assert found == pytest.approx([mcnemar(*pair) for pair in pairs], rel=1e-9)
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_more_than_six_are_compared_and_unknown_names_are_left_out(
    website: str, browser: Any
) -> None:
    address = f"{website}compare/?setting=mnist-linf-0.1&s=nobody,mnist-ibp,mnist-ibp,<b>"
    with Visit(browser, address, viewport=WIDE) as visit:
        visit.page.locator("#compare-table tbody tr").first.wait_for()
        assert visit.page.locator("#compare-table tbody tr").count() == 1
        assert visit.page.locator("#compare-list input:checked").count() == 1
        assert visit.wrong == []


def test_foreign_titles_stay_text_in_the_comparison(website: str, browser: Any) -> None:
    hostile = '</script><img src=x onerror="window.harm=1"><script>window.harm=1</script>{{7*7}}'

    def answer(route: Any) -> None:
        found = route.fetch().json()
        for line in found["lines"]:
            line["title"] = hostile
        route.fulfill(json=found)

    with Visit(browser, website + "settings/", viewport=WIDE) as visit:
        visit.page.route("**/compare/digits-l2-0.25.json", answer)
        visit.page.goto(website + COMPARED)
        visit.page.mouse.move(9, 9)
        visit.page.locator("#compare-curves svg.main-svg").first.wait_for(timeout=60_000)
        assert visit.page.locator("#compare-table tbody a").first.inner_text() == hostile
        assert visit.page.evaluate("window.harm") is None
        assert visit.page.locator("#compare img, #compare script").count() == 0


def test_without_javascript_the_comparison_says_what_it_needs_and_gives_an_example(
    website: str, browser: Any
) -> None:
    address = website + "compare/"
    with Visit(browser, address, viewport=WIDE, java_script_enabled=False) as visit:
        assert visit.page.get_by_text("Choosing needs JavaScript").is_visible()
        assert not visit.page.locator("#compare").is_visible()
        assert visit.page.locator(".cb-worked tbody tr").count() > 0
        assert visit.page.locator(".cb-worked a[download]").count() > 0


def test_a_badge_is_an_image_and_its_snippet_names_this_site(website: str, browser: Any) -> None:
    with Visit(browser, website + PAGES["submission"], viewport=WIDE) as visit:
        visit.page.wait_for_load_state("networkidle")
        badge = visit.page.locator(".cb-badge img").first
        badge.scroll_into_view_if_needed()
        visit.until(
            "(i => i.complete && i.naturalWidth > 0)(document.querySelector('.cb-badge img'))"
        )
        visit.page.locator(".cb-badge summary").first.click()
        visit.page.locator(".cb-badge .cb-copy[data-ready]").first.wait_for()
        assert visit.page.locator(".cb-badge button").count() > 0
        assert visit.page.locator("summary button").count() == 0, "none could be reached by itself"
        snippet = visit.page.locator(".cb-badge code").first.inner_text()
        address = re.search(r"\((http[^)]+\.svg)\)", snippet)
        assert address is not None
        assert address[1] == f"{website}submissions/mnist-ibp/mnist-linf-0.1.svg"
        assert urllib.request.urlopen(address[1]).status == 200
