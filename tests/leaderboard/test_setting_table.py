"""What a setting's table tells of each row, who leads by kind, and what is said to be missing."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard.board.board import Board
from leaderboard.common.formatting import thousands
from leaderboard.results.store import Results
from leaderboard.website.charts import catalogue
from leaderboard.website.charts.bounds import MOST
from leaderboard.website.charts.trade_off import TradeOff, pareto_front
from leaderboard.website.pages.settings import COLUMNS, incomplete, missing, setting, shortened
from leaderboard.website.setting_table import Row, leaders, rows
from leaderboard.website.still import svg
from tests.fixtures.board import board, board_with, provenance, submission
from tests.fixtures.board import rows as made_rows
from tests.fixtures.website import whole

MNIST, DIGITS, EMPTY = "mnist-linf-0.1", "digits-l2-0.25", "digits-linf-0.05"


def ours(example: Board, name: str) -> list[Row]:
    return rows(example, example.re_evaluated(name))


def paper(example: Board, name: str) -> list[Row]:
    return rows(example, example.reported(name))


def facts(row: Row) -> dict[str, str]:
    return dict(row.facts)


def test_a_measured_row_says_how_it_was_certified_how_sure_it_is_and_how_to_cite_and_rerun_it(
    example: Board,
) -> None:
    first = ours(example, MNIST)[0]
    assert facts(first)["How certified"] == "ibp 85 %, crown 15 %"
    assert "500 of 10,000 test examples" in facts(first)["How sure"]
    assert "76.22 to 83.42 % of all with 95 % confidence" in facts(first)["How sure"]
    assert facts(first)["Left open"] == "50 after crown"
    assert first.command == "certboard run mnist-ibp --setting mnist-linf-0.1 --fresh"
    assert first.cite[0] == "@misc{certboard:mnist-ibp,"
    assert first.take is not None
    assert first.take.page == "submissions/mnist-ibp"


def test_a_sampled_row_never_claims_a_proof(example: Board) -> None:
    sure = facts(ours(example, DIGITS)[0])["How sure"]
    assert "wrong certificates are expected" in sure
    assert "Proof" not in sure
    assert "The whole test set of 297 was evaluated." in sure


def test_a_reported_row_says_that_nobody_checked_it_and_has_nothing_to_rerun(
    example: Board,
) -> None:
    for row in paper(example, MNIST):
        assert facts(row)["How sure"] == "A number from a paper. certboard has not checked it."
        assert row.command == ""
        assert row.take is None
        assert row.cite[0].startswith("@misc{")


def test_extra_data_that_nobody_stated_is_not_none(example: Board) -> None:
    told = {
        row.line.reported.extra_data: row.extra
        for row in paper(example, "cifar10-linf-8_255")
        if row.line.reported
    }
    assert told[""] == "unknown"
    assert told["none"] == "none"
    assert told["generated"] == "some"


def test_parameters_are_those_of_the_evaluation(example: Board) -> None:
    table = made_rows("mnist-ibp", MNIST, {("certified", "ibp"): 3})
    for stored in (5, None):
        origin = provenance(table).model_copy(update={"parameters": stored})
        line = replace(example.re_evaluated(MNIST)[0], result=Results(Path("a"), table, origin))
        [row] = rows(example, [line])
        assert row.parameters == stored
    assert [thousands(number) for number in (None, 980, 22_406, 1_250_000)] == [
        "–",
        "980",
        "22.4 k",
        "1.25 M",
    ]


def test_the_leader_without_extra_data_states_that_there_is_none(example: Board) -> None:
    found = {best.title: best for best in leaders(ours(example, MNIST), paper(example, MNIST))}
    strict = found["deterministic, without extra data"]
    assert strict.paper is None
    assert strict.silent  # rather than that there are no papers
    assert not found["deterministic"].silent
    assert strict.ours is not None
    assert strict.ours.slug == "mnist-ibp"
    best = leaders([], paper(example, "cifar10-linf-8_255"))
    by_title = {one.title: one.paper for one in best}
    without, any_data = by_title["deterministic, without extra data"], by_title["deterministic"]
    assert without is not None
    assert any_data is not None
    assert (without.certified or 0) <= (any_data.certified or 0)
    assert without.reported is not None
    assert without.reported.extra_data == "none"


def test_leaders_are_never_empirical(example: Board) -> None:
    for name in example.settings:
        for best in leaders(ours(example, name), paper(example, name)):
            for line in (best.ours, best.paper):
                assert line is None or line.kind != "empirical"


def test_a_row_says_what_nobody_here_compared(tmp_path: Path) -> None:
    found = board(tmp_path)
    assert "Not checked" not in facts(ours(found, MNIST)[0])
    result = next(one for one in found.results if one.provenance.setting == MNIST)
    told = "7 verdicts not measured again"
    result.provenance = result.provenance.model_copy(update={"unchecked": told})
    slug = result.provenance.submission
    row = next(row for row in ours(found, MNIST) if row.line.slug == slug)
    assert facts(row)["Not checked"] == told
    assert any(f"not checked here: {told}" in note for note in incomplete(found, found.results))


def test_a_row_says_what_was_left_out_of_its_model(tmp_path: Path) -> None:
    found = board(tmp_path)
    result = next(one for one in found.results if one.provenance.setting == MNIST)
    told = "The final Softmax is left out."
    result.provenance = result.provenance.model_copy(update={"model_note": told})
    row = next(r for r in ours(found, MNIST) if r.line.slug == result.provenance.submission)
    assert facts(row)["Model file"] == told
    assert any(note.endswith(told) for note in incomplete(found, [result]))


def test_what_many_rows_lack_is_said_once(tmp_path: Path) -> None:
    found = board(tmp_path)
    assert len(found.results) > 3
    origin = {"data_complete": False, "data_note": "2 of the 5 images, without 3, 4, 5"}
    short = [
        Results(one.path, one.rows, one.provenance.model_copy(update=origin))
        for one in found.results
    ]
    (note,) = (note for note in incomplete(found, short) if "were available" in note)
    there = "only 2 of the 5 images were available; the others are left out of every share."
    assert note == f"{len(short)} rows: {there}"
    (note,) = (note for note in incomplete(found, short[:1]) if "were available" in note)
    assert found.submissions[short[0].provenance.submission].title in note


def test_a_page_says_what_is_missing_from_it(example: Board) -> None:
    place = example.settings[MNIST]
    told = missing(place, ours(example, MNIST), paper(example, MNIST))
    assert told == ["Smoothed models do not compete here: the setting has no sampling protocol."]
    told = missing(example.settings[DIGITS], ours(example, DIGITS), paper(example, DIGITS))
    assert "No deterministic certificate has been re-evaluated here." in told
    assert "No published number for exactly this dataset, norm and radius is known." in told
    assert len(shortened([str(number) for number in range(1000)])) == 5


@pytest.mark.parametrize("name", [MNIST, DIGITS, EMPTY, "cifar10-linf-8_255"])
def test_a_chart_that_is_not_drawn_is_explained(example: Board, name: str) -> None:
    told = " ".join(missing(example.settings[name], ours(example, name), paper(example, name)))
    for chart, words in (("trade-off", "Fewer than two"), ("progress", "no progress")):
        drawn = catalogue()[chart].draw(example, name) is not None
        assert drawn or words in told or not example.standings[name]


def test_rows_of_the_two_tiers_are_never_in_one_body(pages: Path) -> None:
    text = whole(pages, f"settings/{MNIST}")
    table = text[
        text.index('id="standings"') : text.index("</table>", text.index('id="standings"'))
    ]
    first, second = table.split("<tbody")[1:]
    assert 'data-tier="ours"' in first
    assert "cb-tier--paper" not in first
    assert 'data-tier="paper"' in second
    assert second.count("<tr data-kind") == second.count("cb-tier--paper")


def test_every_row_has_a_cell_for_every_column(pages: Path) -> None:
    text = whole(pages, f"settings/{MNIST}")
    for row in text.split("<tr data-kind")[1:]:
        assert row.split("</tr>")[0].count("</td>") + 1 == len(COLUMNS) + 2


def test_a_setting_shows_its_other_radii_as_links_and_not_as_rows(example: Board) -> None:
    view = setting(example, MNIST)
    siblings = view["siblings"]
    assert isinstance(siblings, list)
    assert [one.radius_text for one in siblings] == ["0.1", "0.3"]
    for lines in example.standings.values():
        for line in lines:
            if line.reported and line in example.standings[MNIST]:
                assert line.reported.radius == example.settings[MNIST].radius


def test_there_is_no_ranking_by_average_radius_and_the_page_says_why(pages: Path) -> None:
    assert "2410.06895" in whole(pages, f"settings/{DIGITS}")


COORDINATES = st.integers(0, 8).map(float)


@settings(suppress_health_check=[HealthCheck.too_slow])  # what a busy machine is, not the test
@given(st.lists(st.builds(TradeOff, COORDINATES, COORDINATES, st.sampled_from("abc")), max_size=12))
def test_the_front_is_what_nothing_surpasses(found: list[TradeOff]) -> None:
    front = pareto_front(found)

    def surpassed(point: TradeOff) -> bool:
        return any(
            other.clean >= point.clean
            and other.certified >= point.certified
            and (other.clean, other.certified) != (point.clean, point.certified)
            for other in found
        )

    best = {(point.clean, point.certified) for point in found if not surpassed(point)}
    assert {(point.clean, point.certified) for point in front} == best
    assert [point.clean for point in front] == sorted(point.clean for point in front)


def test_models_whose_titles_begin_alike_keep_a_bar_each() -> None:
    title = "A network whose title is longer than what fits"
    entries = {slug: submission(slug, f"{title} {slug}") for slug in ("a", "b")}
    tables = [made_rows(slug, MNIST, {("certified", "ibp"): 400}) for slug in entries]
    drawing = catalogue()["bounds"].draw(board_with(entries, tables), MNIST)
    assert drawing is not None
    axis = cast("Mapping[str, list[str]]", drawing.figure.layout["yaxis"])
    assert axis["ticktext"][0].endswith("…")
    assert axis["ticktext"][0] == axis["ticktext"][1]
    assert [trace["y"] for trace in drawing.figure.data[:2]] == [["a", "b"]] * 2
    bars = re.findall(r'd="M[0-9.]+ [0-9.]+h545[^"]*" fill', svg(drawing.figure, "Bars"))
    assert len(set(bars)) == 2


def test_the_bounds_of_a_model_are_certified_and_attack(example: Board) -> None:
    drawing = catalogue()["bounds"].draw(example, MNIST)
    assert drawing is not None
    assert drawing.table[0][2:] == ["80.00", "76.22 to 83.42", "90.00", "10.00", "98.00"]
    assert len(drawing.table) <= MOST
