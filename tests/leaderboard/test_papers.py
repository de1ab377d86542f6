import re
from pathlib import Path

import pytest

from leaderboard.board.board import Board
from leaderboard.field.literature import load_literature
from leaderboard.website.pages.literature import literature, venue_family, where
from leaderboard.website.papers import MOST_OF_ONE, few_of_each, papers, signed
from tests.leaderboard.test_literature import BOARD, PROGRESS, reported


def test_every_number_belongs_to_one_paper_with_an_address_of_its_own() -> None:
    found = papers(load_literature())
    assert sum(len(paper.rows) for paper in found) == len(load_literature())
    anchors = [paper.anchor for paper in found]
    assert len(set(anchors)) == len(anchors)
    assert all(re.fullmatch("[a-z0-9-]+", anchor) for anchor in anchors)


def test_a_paper_has_the_most_that_its_rows_know() -> None:
    one = reported(BOARD, title="A B", venue="V 2020", date="2020", url="https://b.org/x")
    other = reported(
        PROGRESS, 50.0, title="a b", date="2019-09", url="https://arxiv.org/abs/1909.00001"
    )
    (paper,) = papers([one, other])
    assert (paper.venue, paper.month) == ("V 2020", "2019-09")
    assert "eprint = {1909.00001}" in paper.bibtex


def test_titles_that_begin_alike_have_different_addresses() -> None:
    long = "one two three four five six seven eight"
    found = papers([reported(BOARD, title=f"{long} a"), reported(BOARD, title=f"{long} b")])
    assert len({paper.anchor for paper in found}) == 2


def test_a_title_without_a_letter_has_an_address() -> None:
    (paper,) = papers([reported(BOARD, title="¿?")])
    assert paper.anchor == "paper"


def test_a_paper_with_many_numbers_does_not_fill_a_list() -> None:
    many = [reported(BOARD, 50.0 + step, title="Many") for step in range(20)]
    shown, others = few_of_each([*many, reported(BOARD, title="One")])
    assert [row.title for row in shown] == ["Many"] * MOST_OF_ONE + ["One"]
    assert others == 20 - MOST_OF_ONE


def test_the_page_has_every_number_and_every_choice_finds_some(example: Board) -> None:
    view = literature(example, papers(example.literature))
    rows = view["rows"]
    choices = view["choices"]
    assert isinstance(rows, list)
    assert isinstance(choices, dict)
    assert len(rows) == view["total"] == len(example.literature)
    for key, column in {"setting": "where", "year": "year", "venue": "venue"}.items():
        assert set(choices[key]) == {row[column] for row in rows if row[column]}
    assert set(choices["kind"]) == {row["row"].kind for row in rows}


@pytest.mark.parametrize(
    ("venue", "family"),
    [
        ("ICLR 2024", "ICLR"),
        ("S&P 2019", "S&P"),
        ("preprint", "preprint"),
        ("", ""),
        ("ICML 2022 Workshop on Formal Verification of Machine Learning", "ICML"),
    ],
)
def test_a_venue_is_filtered_without_its_year(venue: str, family: str) -> None:
    assert venue_family(venue) == family


def test_a_setting_that_the_board_lacks_is_named_like_the_others() -> None:
    assert where(reported(BOARD, dataset="cifar100")) == "CIFAR-100 · ℓ∞ · 0.3"


def test_every_row_of_the_page_says_that_it_is_reported(example: Board, pages: Path) -> None:
    text = (pages / "literature" / "index.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("<tr data-kind")]
    assert len(lines) == len(example.literature)
    assert all('<span class="cb-tier cb-tier--paper">reported</span>' in line for line in lines)
    assert "certboard has checked none of these" in text
    assert text.count('href="../literature/papers/#') == len(example.literature)
    cited = (pages / "literature" / "papers.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"literature/papers/#([a-z0-9-]+)", text))
    assert linked == set(re.findall(r'<section class="hl-paper cb-paper" id="([a-z0-9-]+)"', cited))
    assert cited.count("<pre") == len(linked)


def test_a_row_is_signed_by_its_authors_or_by_its_title_and_never_by_a_year_alone() -> None:
    names = {signed(row) for row in load_literature()}
    assert not [name for name in names if not re.search("[A-Za-z]", name)]
    assert "De Palma et al., 2024" in names
    assert "Wong and Kolter, 2018" in names
    assert "VNN-COMP 2026 benchmark" in names  # its authors are not recorded
    assert "Scaling Up Lipschitz Networks, 2025" in names
