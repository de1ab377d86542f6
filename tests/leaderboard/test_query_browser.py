"""The page that queries the rows, in a real browser: the same rows as pandas finds."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.fixtures.browser import PHONE, WIDE, Visit, needs_browser

pytestmark = [needs_browser, pytest.mark.slow]

QUERY = "data/query/"
PLAIN = f"{QUERY}?setting=mnist-linf-0.1"
SMOOTHED = f"{QUERY}?setting=digits-l2-0.25"


def rows(public: Path, setting: str = "mnist-linf-0.1") -> pd.DataFrame:
    return pd.read_parquet(public / "data" / f"{setting}.parquet")


def told(visit: Visit) -> tuple[int, int]:
    """How many rows of how many, once they are told."""
    status = visit.page.get_by_role("status").filter(has_text=re.compile("[0-9,]+ of [0-9,]+ rows"))
    status.wait_for(timeout=60_000)
    found = re.match("([0-9,]+) of ([0-9,]+) rows", status.inner_text())
    assert found
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


def column(visit: Visit, name: str) -> list[str]:
    """What a column of the table shows."""
    names = [text.strip() for text in visit.page.locator(".cb-rows thead th").all_inner_texts()]
    place = names.index(name) + 1
    found: list[str] = visit.page.locator(f".cb-rows tbody td:nth-child({place})").all_inner_texts()
    return found


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("", lambda all: all),
        ("&where=status.eq.unknown", lambda all: all[all["status"] == "unknown"]),
        ("&where=status.ne.unknown", lambda all: all[all["status"] != "unknown"]),
        ("&where=stage.has.ROW", lambda all: all[all["stage"].str.contains("row")]),
        ("&where=seconds.ge.0.02", lambda all: all[all["seconds"] >= 0.02]),
        ("&where=label.eq.3", lambda all: all[all["label"] == 3]),
        ("&where=radius.null.", lambda all: all[all["radius"].isna()]),
        (
            "&where=status.eq.falsified&where=seconds.lt.0.005",
            lambda all: all[(all["status"] == "falsified") & (all["seconds"] < 0.005)],
        ),
    ],
)
def test_conditions_find_the_rows_that_pandas_finds(
    website: str, public: Path, browser: Any, where: str, wanted: Any
) -> None:
    everything = rows(public)
    with Visit(browser, website + PLAIN + where, viewport=WIDE) as visit:
        found = wanted(everything)
        assert told(visit) == (len(found), len(everything))
        assert column(visit, "example") == [str(one) for one in found["example"].head(200)]
        assert visit.wrong == []
        assert visit.hosts == {website.split("/")[2]}


def test_radii_are_compared_as_exact_fractions(website: str, public: Path, browser: Any) -> None:
    everything = rows(public, "digits-l2-0.25")
    proved = everything["radius"].dropna().map(Fraction)
    limit = sorted(proved)[len(proved) // 2]
    where = f"&where=radius.gt.{limit.numerator}/{limit.denominator}&sort=-radius"
    with Visit(browser, website + SMOOTHED + where, viewport=WIDE) as visit:
        assert told(visit) == (int((proved > limit).sum()), len(everything))
        shown = [Fraction(text) for text in column(visit, "radius")]
        assert shown == sorted(shown, reverse=True)


def test_the_question_is_in_the_address_and_comes_back(website: str, browser: Any) -> None:
    with Visit(browser, website + PLAIN, viewport=WIDE) as visit:
        told(visit)
        visit.page.locator("select[name=submission]").select_option("mnist-plain")
        told(visit)
        visit.page.get_by_label("Value").fill("certified")
        visit.page.get_by_role("button", name="seconds").click()
        visit.page.get_by_role("button", name="seconds").click()
        visit.page.wait_for_url(re.compile("sort=-seconds"))
        before, seconds = told(visit), column(visit, "seconds")
        address = visit.page.url
    assert "submission=mnist-plain" in address
    assert "where=status.eq.certified" in address
    with Visit(browser, address, viewport=WIDE) as visit:
        assert told(visit) == before == (31, 500)
        assert column(visit, "seconds") == seconds
        assert visit.page.locator("th[aria-sort=descending]").inner_text().startswith("seconds")


def test_what_cannot_be_compared_is_said(website: str, browser: Any) -> None:
    with Visit(browser, website + PLAIN + "&where=seconds.lt.soon", viewport=WIDE) as visit:
        said = visit.page.get_by_role("status").filter(has_text="is no number")
        said.wait_for(timeout=60_000)
        assert "“soon” is no number, which seconds is compared with." in said.inner_text()
        assert visit.page.get_by_role("button", name="Download these rows").is_disabled()


def test_the_rows_are_downloaded_as_a_table_that_pandas_reads(
    website: str, public: Path, browser: Any, tmp_path: Path
) -> None:
    names = "example,status,radius,seconds,margin"
    where = f"&where=status.eq.certified&columns={names}"
    with Visit(browser, website + PLAIN + where, viewport=WIDE) as visit:
        told(visit)
        with visit.page.expect_download() as waiting:
            visit.page.get_by_role("button", name="Download these rows").click()
        waiting.value.save_as(tmp_path / "rows.csv")
    everything = rows(public)
    wanted = everything.loc[everything["status"] == "certified", names.split(",")]
    read = pd.read_csv(tmp_path / "rows.csv", dtype={"radius": str})
    assert len(read) > 200
    pd.testing.assert_frame_equal(read, wanted.reset_index(drop=True), check_dtype=False)


def test_no_cell_of_the_download_is_a_formula(website: str, browser: Any, tmp_path: Path) -> None:
    """A file whose texts begin as formulas do, in the place of the real one."""
    with Visit(browser, "about:blank", viewport=WIDE) as visit:
        everything = pd.DataFrame(
            {"status": ["=1+1", "@x", "a,b", 'say "x"'], "seconds": [-1.0] * 4}
        )
        everything.to_parquet(tmp_path / "rows.parquet", compression="zstd")
        body = (tmp_path / "rows.parquet").read_bytes()
        visit.page.route("**/mnist-linf-0.1.parquet", lambda route: route.fulfill(body=body))
        visit.page.route(
            "**/api/v1/settings/mnist-linf-0.1.json",
            lambda route: route.fulfill(
                json={"re_evaluated": [], "all_rows": {"path": "data/mnist-linf-0.1.parquet"}}
            ),
        )
        visit.page.goto(website + PLAIN + "&columns=status,seconds")
        told(visit)
        with visit.page.expect_download() as waiting:
            visit.page.get_by_role("button", name="Download these rows").click()
        waiting.value.save_as(tmp_path / "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines == ["status,seconds", "'=1+1,-1", "'@x,-1", '"a,b",-1', '"say ""x""",-1']


def test_a_file_that_is_not_the_published_one_is_refused(website: str, browser: Any) -> None:
    with Visit(browser, "about:blank", viewport=WIDE) as visit:
        visit.page.route(
            "**/mnist-linf-0.1.parquet", lambda route: route.fulfill(body=b"PAR1 and so on PAR1")
        )
        visit.page.goto(website + PLAIN)
        said = visit.page.get_by_role("status").filter(has_text="its SHA-256 differs")
        said.wait_for(timeout=60_000)


def test_words_of_the_language_in_an_address_are_no_comparison(website: str, browser: Any) -> None:
    address = (
        PLAIN + "&where=status.constructor.&where=__proto__.eq.1&sort=__proto__&columns=valueOf"
    )
    with Visit(browser, website + address, viewport=PHONE) as visit:
        shown, all_rows = told(visit)
        assert shown == all_rows
        assert visit.page.locator(".cb-query__condition").count() == 1
        assert visit.wrong == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_reader_is_loaded_nowhere_else(website: str, browser: Any) -> None:
    for place in ("", "data/", "settings/mnist-linf-0.1/"):
        asked: list[str] = []
        with Visit(browser, "about:blank", viewport=WIDE) as visit:
            visit.page.on("request", lambda request, asked=asked: asked.append(request.url))
            visit.page.goto(website + place)
            visit.page.wait_for_load_state("networkidle")
        assert asked
        assert not [one for one in asked if "hyparquet" in one or one.endswith("query.js")]


def test_without_javascript_the_page_says_where_the_files_are(website: str, browser: Any) -> None:
    with Visit(browser, website + PLAIN, viewport=WIDE, java_script_enabled=False) as visit:
        assert visit.page.get_by_text("The query needs JavaScript.").is_visible()
        assert not visit.page.locator("#query").is_visible()
