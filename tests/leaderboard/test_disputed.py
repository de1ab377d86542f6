"""Rows that maintainers dispute: out of every ranking, and said wherever the row is shown."""

import csv
import json
from pathlib import Path

import pytest

from leaderboard.board.board import Board, assemble
from leaderboard.board.decisions import Decision
from leaderboard.board.files import read_sources
from leaderboard.board.flags import unfounded
from leaderboard.board.smoothed import curves
from leaderboard.board.taxonomy_rows import below, rows_below
from leaderboard.common.project import Project
from leaderboard.website.charts import progress, trade_off
from leaderboard.website.pages.home import home, newest_results, place
from leaderboard.website.pages.settings import at_a_glance
from leaderboard.website.pages.submissions import submissions_index
from leaderboard.website.publishing.feed import feed
from leaderboard.website.publishing.stored import stored_files, unranked_files
from leaderboard.website.publishing.tables import bibliography, latex, spreadsheet
from tests.fixtures.board import board
from tests.fixtures.project import LINF, PLAIN
from tests.fixtures.website import generated
from tests.leaderboard.conftest import Certboard

SLUG, SETTING, MODEL = "mnist-ibp", "mnist-linf-0.1", "0" * 64
REASON = "Example 17 has a <b>counterexample</b>"
DISPUTE = Decision(
    slug=SLUG, setting=SETTING, decision="disputed", reason=REASON, date="2026-05-09", by="M. One"
)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def after(before: Board) -> Board:
    return decided(before, DISPUTE)


def decided(example: Board, *decisions: Decision) -> Board:
    rest = example.results, example.literature, example.taxonomy
    return assemble(
        example.settings, example.datasets, example.submissions, *rest, decisions=decisions
    )


def test_it_leads_without_the_decision(before: Board) -> None:
    first = before.re_evaluated(SETTING)[0]
    assert (first.slug, first.rank, first.disputed) == (SLUG, 1, None)


def test_it_is_in_no_ranking_and_the_next_takes_its_place(after: Board) -> None:
    lines = after.re_evaluated(SETTING)
    assert [(line.slug, line.rank) for line in lines] == [("mnist-plain", 1)]
    (line,) = after.disputed[SETTING]
    assert (line.slug, line.rank, line.disputed) == (SLUG, None, DISPUTE)
    assert after.line_of(after.results_of[SLUG][0]) == line


def test_its_other_settings_keep_their_ranks(after: Board) -> None:
    assert after.re_evaluated("mnist-linf-0.3")[0].slug == SLUG


def test_nothing_says_that_it_is_best(before: Board, after: Board) -> None:
    told = after.line_of(after.results_of[SLUG][0])
    ours = place(after, SETTING, "deterministic").ours
    assert ours is not None
    assert ours.line.slug == "mnist-plain"
    found = at_a_glance(after, SETTING)
    assert [line.slug for line in found.ours] == ["mnist-plain"]
    assert found.n_ours == 1
    assert told not in [new.line for new in newest_results(after)]
    drawn = trade_off.points(after.standings[SETTING], "re-evaluated", "deterministic")
    assert told.title not in [point.title for point in drawn]
    dated = progress.points(after.standings[SETTING], "deterministic")
    assert told.title not in [point.title for point in dated]
    for inside in below(after).values():
        assert told not in [found.ours for found in rows_below(after, inside)]
    facts, fewer = home(before)["facts"], home(after)["facts"]
    assert isinstance(facts, dict)
    assert isinstance(fewer, dict)
    assert fewer["certified"] == facts["certified"] - 400
    rows = submissions_index(after)["rows"]
    assert isinstance(rows, list)
    (row,) = (row for row in rows if row["submission"].slug == SLUG)
    assert row["best"]["setting"].id == "mnist-linf-0.3"


def test_a_disputed_curve_is_in_no_table_of_its_setting(before: Board) -> None:
    setting = "digits-l2-0.25"
    assert "digits-noise" in [curve.slug for curve in curves(before, setting)]
    dispute = DISPUTE.model_copy(update={"slug": "digits-noise", "setting": setting})
    after = decided(before, dispute)
    assert "digits-noise" not in [curve.slug for curve in curves(after, setting)]
    assert "digits-noise" in [curve.slug for curve in curves(after, "digits-l2-0.5")]


def test_downloads_say_it(after: Board) -> None:
    assert SLUG not in [file.download.slug for file in stored_files(after)[SETTING]]
    (file,) = unranked_files(after)[SETTING]
    assert file.why == f"disputed: {REASON}. Decided on 2026-05-09 by M. One."
    lines = list(csv.DictReader(spreadsheet(after, SETTING).decode().splitlines()))
    (line,) = (line for line in lines if line["submission"] == SLUG)
    assert (line["rank"], line["disputed"]) == ("", DISPUTE.told)
    assert not any(line["disputed"] for line in lines if line["submission"] != SLUG)
    title = after.submissions[SLUG].title
    comments, _, table = latex(after, SETTING).partition(r"\begin{tabular}")
    assert f"Left out as disputed: {title}" in comments
    assert title not in table
    assert SLUG not in bibliography(after, SETTING)
    assert "Disputed, so without a rank" in feed(after).decode()


@pytest.fixture(scope="module")
def made(after: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is generated from the board with the decision."""
    return generated(after, tmp_path_factory.mktemp("project")).parent


def test_the_interface_says_it(made: Path) -> None:
    api = next(made.rglob("api/v1"))
    told = json.loads((api / f"settings/{SETTING}.json").read_text())
    assert [line["submission"] for line in told["re_evaluated"]] == ["mnist-plain"]
    (line,) = told["disputed"]
    assert (line["submission"], line["rank"], line["disputed"]["reason"]) == (SLUG, None, REASON)
    places = json.loads((api / f"submissions/{SLUG}.json").read_text())["results"]
    assert {p["setting"]: bool(p["disputed"]) for p in places} == {
        SETTING: True,
        "mnist-linf-0.3": False,
    }
    result = json.loads((api / f"results/{SETTING}/{SLUG}.json").read_text())
    assert result["rank"] is None
    assert result["unranked"].startswith("disputed: ")
    assert result["disputed"]["by"] == "M. One"
    compared = json.loads(next(made.rglob(f"compare/{SETTING}.json")).read_text())
    assert {line["slug"]: line["disputed"] for line in compared["lines"]} == {
        SLUG: True,
        "mnist-plain": False,
    }


def test_the_pages_and_the_badge_say_it(made: Path) -> None:
    for path in (f"submissions/{SLUG}", f"settings/{SETTING}"):
        pages = [page for page in made.rglob(f"{path}.*") if page.suffix in (".md", ".html")]
        text = "".join(page.read_text() for page in pages)
        assert "isputed" in text
        assert "Decided on 2026-05-09 by M. One" in text
        assert "<b>counterexample" not in text
    badge = next(made.rglob(f"submissions/{SLUG}/{SETTING}.svg")).read_text()
    assert "disputed" in badge
    assert "certified" not in badge


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"slug": "mnist-ipb"}, "is about no submission. Did you mean 'mnist-ibp'?"),
        ({"setting": "mnist-linf-0.2"}, "there is no setting 'mnist-linf-0.2'."),
        ({"setting": "mnist-l2-1.58"}, "has no row"),
        ({"setting": None, "rule": "same-modell", "decision": "upheld"}, "no rule of flags"),
        (
            {"setting": None, "rule": "same-model", "decision": "upheld", "model": MODEL},
            "has no flag by",
        ),
        (
            {"setting": None, "rule": "same-model", "decision": "upheld", "model": "1" * 64},
            f"it is about the model {'1' * 64}, but the present one is {MODEL}",
        ),
    ],
)
def test_a_decision_about_nothing_is_told_and_changes_nothing(
    before: Board, changed: dict[str, object], told: str
) -> None:
    one = DISPUTE.model_copy(update=changed)
    after = decided(before, one)
    (problem,) = unfounded(after)
    assert told in problem
    assert after.standings == before.standings


def test_a_decision_about_what_there_is_is_founded(after: Board) -> None:
    assert list(unfounded(after)) == []


def test_check_tells_a_decision_about_nothing(project: Project, certboard: Certboard) -> None:
    folder = project.site / "data"
    folder.mkdir(parents=True, exist_ok=True)
    toml = (
        f'[[decision]]\nslug = "{PLAIN}"\nsetting = "{LINF}"\ndecision = "disputed"\n'
        'reason = "R."\ndate = "2026-05-07"\nby = "M."\n'
    )
    (folder / "decisions.toml").write_text(toml)
    outcome = certboard("check")
    assert outcome.code == 1
    assert f"it has no row in '{LINF}'" in outcome.err
    assert certboard("check", PLAIN).code == 0
    assert len(read_sources(project).decisions.decisions) == 1
