from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import pytest

from leaderboard.board.board import Board
from leaderboard.common.errors import InputError
from leaderboard.results.store import Results
from leaderboard.website.charts.progress import points
from leaderboard.website.pages.home import (
    HEADLINES,
    headline,
    home,
    how_sure,
    kinds_of,
    newest_papers,
    newest_results,
    place,
)
from leaderboard.website.publishing.places import repository_url
from tests.fixtures.website import generated, whole


def test_the_leader_of_a_tier_is_its_first_and_tiers_are_apart(example: Board) -> None:
    found = place(example, "mnist-linf-0.1", "deterministic")
    assert found.ours is not None
    assert found.paper is not None
    assert found.ours.line.slug == "mnist-ibp"
    assert found.paper.line.certified == max(
        line.certified or 0 for line in example.reported("mnist-linf-0.1")
    )
    assert found.ours.line.tier != found.paper.line.tier


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cifar10-l2-36_255", "probabilistic"), ("cifar10-linf-8_255", "deterministic")],
)
def test_the_best_without_extra_data_stands_beside_a_leader_with_some(
    example: Board, name: str, kind: str
) -> None:
    found = place(example, name, kind).paper
    assert found is not None
    assert found.line.extra_data
    assert found.plain is not None
    assert {found.line.kind, found.plain.kind} == {kind}
    assert found.plain.extra_data == ""
    assert found.plain.certified == max(
        line.certified or 0
        for line in example.reported(name)
        if line.kind == kind and not line.extra_data and not line.short
    )


def test_proofs_and_probabilistic_certificates_never_lead_together(example: Board) -> None:
    cards = [
        place(example, name, kind) for name in example.settings for kind in kinds_of(example, name)
    ]
    assert {card.kind for card in cards} == {"deterministic", "probabilistic"}
    for card in cards:
        for lead in filter(None, (card.ours, card.paper)):
            assert lead.line.kind == card.kind
            assert lead.line.rank == 1


def test_nothing_leads_on_too_few_examples(example: Board) -> None:
    card = place(example, "digits-l2-0.25", "probabilistic")
    assert card.ours is None
    assert [line.short for line in card.few] == ["297 examples; a rank takes 490"] * 2
    found = place(example, "imagenet-l2-1.0", "probabilistic").paper
    assert found is not None
    assert found.line.certified == 0.543  # not 0.67, which was measured on 100 images


def test_a_higher_number_that_has_too_few_examples_to_lead_is_named_beside_the_leader(
    example: Board, pages: Path
) -> None:
    found = headline(example, "imagenet-l2-2.0")
    assert found.above is not None
    assert found.above.line.short
    assert (found.above.line.certified or 0) > (found.paper[0].line.certified or 0)
    assert headline(example, "mnist-linf-0.3").above is None
    page = whole(pages, "index")
    assert f"{100 * (found.above.line.certified or 0):.2f} %, but on 100 examples" in page


def test_who_leads_says_where_the_code_is(example: Board, pages: Path) -> None:
    page = whole(pages, "index")
    first = page[page.index("Who leads") : page.index("hl-more")]
    for lead in (one for name in HEADLINES for one in headline(example, name).ours):
        assert f"submissions/{lead.line.slug}/#reproduce" in unescape(first)
    assert "https://github.com/ZhaoyangLyu/VerifiablyRobustNN" in unescape(first)


def test_a_leader_that_is_plain_stands_alone(example: Board) -> None:
    found = place(example, "mnist-linf-0.1", "deterministic").ours
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


def test_every_setting_stands_on_the_page_once_a_kind(example: Board) -> None:
    view = home(example)
    measured, unmeasured = view["measured"], view["open"]
    assert isinstance(measured, list)
    assert isinstance(unmeasured, list)
    names = {one.setting.id for one in [*measured, *unmeasured]}
    assert names == set(example.settings)
    questions = [(one.setting.id, one.kind) for one in [*measured, *unmeasured]]
    assert len(set(questions)) == len(questions)


def test_the_first_screen_names_who_leads_and_leads_to_code_and_introduction(
    example: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOSITORY_URL", "https://example.org/board/")
    pages = generated(example, tmp_path)
    text = (pages / "index.md").read_text(encoding="utf-8")
    places = [text.index(f'id="{name}"') for name in ("first", "progress", "leaders", "new")]
    assert places == sorted(places)
    first = text[: text.index('id="progress"')]
    for name in HEADLINES:
        assert f">{escape(example.settings[name].title)}</a>" in first
    assert "https://example.org/board" in first
    assert "guides/five-minutes" in first
    assert 'id="primer"' in (pages / "guides/five-minutes.md").read_text(encoding="utf-8")
    assert "◆" in text
    assert "○" in text
    assert "not checked" in text


def test_a_mark_of_progress_leads_to_its_submission_or_its_paper(example: Board) -> None:
    lines = example.standings["mnist-linf-0.3"]
    links = {point.title: point.link for point in points(lines, "deterministic")}
    for line in lines:
        if line.title in links:
            assert links[line.title].startswith(f"submissions/{line.slug}" if line.slug else "http")


def test_an_address_of_the_repository_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPOSITORY_URL", "javascript:alert(1)")
    with pytest.raises(InputError, match="must be a web address"):
        repository_url()
    monkeypatch.delenv("REPOSITORY_URL")
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b")
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    assert repository_url() == "https://github.com/a/b"
