"""Entries that BibTeX reads as one entry, whatever foreign text they hold."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.common.errors import InputError
from leaderboard.field.literature import Reported, load_literature
from leaderboard.submissions.manifest import Paper
from leaderboard.website.citation import bibtex, bibtex_board, bibtex_reported, load_citation
from leaderboard.website.publishing.tex import tex
from tests.fixtures.board import HOSTILE, board, submission


def entries(text: str) -> list[tuple[str, dict[str, str]]]:
    """A reader of BibTeX that counts braces as BibTeX does: also those after a backslash."""
    found, place = [], 0
    while start := re.compile(r"@(\w+)\{").search(text, place):
        depth, end = 1, start.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        key, _, body = text[start.end() : end - 1].partition(",\n")
        fields = re.findall(r"^  (\w+) = \{?(.*?)\}?,$", body, re.MULTILINE)
        found.append((key, dict(fields)))
        place = end
    assert text[place:].strip() == ""
    return found


@given(st.text(min_size=1))
def test_whatever_a_title_holds_it_stays_one_entry_without_commands(title: str) -> None:
    row = load_literature()[0].model_copy(update={"title": title, "venue": title})
    [(key, fields)] = entries(bibtex_reported(row))
    assert re.fullmatch("[a-z0-9-]+", key)
    assert set(fields) <= {"author", "title", "howpublished", "year", "month", "url", "eprint"} | {
        "archiveprefix"
    }


@given(st.text())
def test_escaped_text_has_matching_braces_and_nothing_live(text: str) -> None:
    made = tex(text)
    assert made.count("{") == made.count("}")
    bare = re.sub(r"\\text\w+\{\}|\$[\\^_]\w+\$", "", made)
    assert not re.search(r"(?<!\\)[$&#%_]|[\^<>|`{}]|\\(?![$&#%_])", bare)
    assert "\n" not in made


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("Lovelace, Ada", "Lovelace, Ada"),
        ("The certboard authors", "{The certboard authors}"),
        ("Barnes and Noble", "{Barnes and Noble}"),
        ("others", "{others}"),
        ("A, B, C, D", "{A, B, C, D}"),
        (
            "} @misc{x, title={y",
            r"\textbraceright{} @misc\textbraceleft{}x, title=\textbraceleft{}y",
        ),
    ],
)
def test_an_author_stays_one_author(name: str, written: str) -> None:
    one = submission("x").model_copy(update={"authors": (name,)})
    assert f"  author = {{{written}}},\n" in bibtex(one)


def test_a_submission_without_a_paper_is_cited_itself() -> None:
    one = submission("hostile", HOSTILE).model_copy(update={"paper": None})
    [(key, fields)] = entries(bibtex(one))
    assert key == "certboard:hostile"
    assert fields["author"] == "A. Author and B. Author"
    assert "SHA-256 " + "0" * 64 in fields["note"]
    assert r"\textless{}script\textgreater{}alert(1)" in fields["title"]


def test_a_submission_without_a_paper_has_the_year_it_was_measured_and_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_URL", "https://board.org/x")
    example = board(tmp_path)
    slug = next(iter(example.results_of))
    unpublished = example.submissions[slug].model_copy(update={"paper": None})
    [(_, fields)] = entries(bibtex(unpublished, example.results_of[slug]))
    assert fields["url"] == f"https://board.org/x/submissions/{slug}/"
    assert fields["year"] == example.results_of[slug][0].provenance.created[:4]


def test_a_published_paper_is_cited_with_its_authors_and_its_venue_s_year() -> None:
    titled = "Expressive Losses for Verified Robustness via Convex Combinations"
    row = next(row for row in load_literature() if row.title == titled)
    [(_, fields)] = entries(bibtex_reported(row))
    assert fields["author"].startswith("Alessandro De Palma and Rudy Bunel and ")
    assert (row.date, fields["year"], fields["howpublished"]) == ("2023-05", "2024", "ICLR 2024")
    assert "month" not in fields


def test_a_month_is_bibtex_own_word() -> None:
    paper = Paper(title="Ours", date="2024-05-07", url="https://x.org/a_b?c=%20#d")
    told = bibtex(submission("x").model_copy(update={"paper": paper}))
    assert "  month = may,\n" in told
    assert "  year = {2024},\n" in told
    assert "  url = {https://x.org/a_b?c=%20#d},\n" in told


def test_an_address_cannot_end_its_brace() -> None:
    row = load_literature()[0].model_copy(update={"url": r"https://x.org/a}\input{/etc/passwd}"})
    [(_, fields)] = entries(bibtex_reported(row))
    assert fields["url"] == "https://x.org/a%7D%5Cinput%7B/etc/passwd%7D"


def test_papers_of_different_titles_have_different_keys() -> None:
    titles: dict[str, set[str]] = {}
    for row in load_literature():
        [(key, _)] = entries(bibtex_reported(row))
        titles.setdefault(key, set()).add(re.sub("[^a-z0-9]", "", row.title.casefold()))
    assert [found for found in titles.values() if len(found) > 1] == []


def test_an_arxiv_address_gives_its_identifier() -> None:
    row: Reported = load_literature()[0].model_copy(
        update={"url": "https://arxiv.org/pdf/2009.04131v8.pdf"}
    )
    [(_, fields)] = entries(bibtex_reported(row))
    assert fields["eprint"] == "2009.04131"


def test_the_board_is_cited_as_citation_cff_asks() -> None:
    told = load_citation()
    [(key, fields)] = entries(bibtex_board())
    assert key == "certboard"
    assert fields["title"].strip("{}") == told.title
    assert told.version in fields["note"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a", "is not a table in YAML"),
        ("a: [", "is not a table in YAML"),
        ("cff-version: 1.2.0\nmessage: x\ntitle: y\nversion: 1.0\nlicense: z\n", "'authors'"),
    ],
)
def test_a_citation_file_that_is_none_is_told_in_a_sentence(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "CITATION.cff"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        load_citation(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_citation(tmp_path / "none.cff")
