from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.board.board import Board
from leaderboard.results.store import Results
from leaderboard.website.pages.home import home, how_sure, newest_papers, newest_results, place
from tests.fixtures.board import board
from tests.fixtures.website import generated


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board(tmp_path_factory.mktemp("rows"))


def test_the_leader_of_a_tier_is_its_first_and_tiers_are_apart(example: Board) -> None:
    found = place(example, "mnist-linf-0.1")
    assert found.ours is not None
    assert found.paper is not None
    assert found.ours.line.slug == "mnist-ibp"
    assert found.paper.line.certified == max(
        line.certified or 0 for line in example.reported("mnist-linf-0.1")
    )
    assert found.ours.line.tier != found.paper.line.tier


@pytest.mark.parametrize("name", ["cifar10-l2-0.25", "cifar10-linf-8_255"])
def test_the_best_plain_proof_stands_beside_a_leader_by_chance_or_extra_data(
    example: Board, name: str
) -> None:
    found = place(example, name).paper
    assert found is not None
    assert found.line.kind == "probabilistic" or found.line.extra_data
    assert found.plain is not None
    assert found.plain.kind == "deterministic"
    assert found.plain.extra_data == ""
    assert found.plain_told == "no extra data told"
    assert found.plain.certified == max(
        line.certified or 0
        for line in example.reported(name)
        if line.kind == "deterministic" and not line.extra_data
    )


def test_a_leader_that_is_plain_stands_alone(example: Board) -> None:
    found = place(example, "mnist-linf-0.1").ours
    assert found is not None
    assert found.plain is None


def test_it_is_told_what_a_number_rests_on(example: Board) -> None:
    proved = example.re_evaluated("mnist-linf-0.1")[0]
    assert how_sure(proved) == "proved by ibp 85 %, crown 15 %; 500 of 10,000 examples"
    sampled = example.re_evaluated("digits-l2-0.25")[0]
    assert how_sure(sampled) == "sampled, each wrong with probability ≤ 0.001; all 297 examples"


def test_newest_results_are_dated_by_the_rows_and_not_by_the_build(example: Board) -> None:
    first = newest_results(example)
    assert {new.day for new in first} == {"2026-03-04"}
    later = replace_created(example, "mnist-plain", "2026-05-01T00:00:00+00:00")
    assert newest_results(later)[0].line.slug == "mnist-plain"
    assert [new.line.slug for new in first] == sorted(example.results_of)


def replace_created(example: Board, slug: str, created: str) -> Board:
    def later(result: Results) -> Results:
        origin = result.provenance.model_copy(update={"created": created})
        return Results(result.path, result.rows, origin)

    changed = {**example.results_of, slug: [later(one) for one in example.results_of[slug]]}
    return replace(example, results_of=changed)


def test_newest_papers_come_first(example: Board) -> None:
    months = [paper.month for paper in newest_papers(example)]
    assert months == sorted(months, reverse=True)


def test_every_setting_stands_on_the_page_once(example: Board) -> None:
    view = home(example)
    measured, unmeasured = view["measured"], view["open"]
    assert isinstance(measured, list)
    assert isinstance(unmeasured, list)
    names = [one.setting.id for one in [*measured, *unmeasured]]
    assert sorted(names) == sorted(example.settings)


def test_the_page_explains_before_it_ranks_and_marks_both_tiers(
    example: Board, tmp_path: Path
) -> None:
    text = (generated(example, tmp_path) / "index.md").read_text(encoding="utf-8")
    places = [text.index(f'id="{name}"') for name in ("primer", "progress", "leaders", "new")]
    assert places == sorted(places)
    assert "◆" in text
    assert "○" in text
    assert "not checked" in text
