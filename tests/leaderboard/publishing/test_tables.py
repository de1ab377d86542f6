"""A setting's table in LaTeX, CSV and BibTeX: nothing in it is executed, the tiers stay apart."""

import csv
import io
import re
from dataclasses import replace

from leaderboard.board.board import Board
from leaderboard.website.publishing import places, tables
from tests.fixtures.board import HOSTILE
from tests.leaderboard.publishing.conftest import Taken

SETTING = "mnist-linf-0.1"


def with_title(example: Board, title: str) -> Board:
    """The board with a title in every line of one setting."""
    lines = [replace(line, title=title, how=title) for line in example.standings[SETTING]]
    return replace(example, standings={**example.standings, SETTING: lines})


def depth(text: str) -> int:
    """Braces that are still open at the end; never fewer than none."""
    level = 0
    for sign in re.sub(r"(?<!\\)%.*|\\[{}]", "", text):
        level += {"{": 1, "}": -1}.get(sign, 0)
        assert level >= 0
    return level


def test_every_table_has_matching_braces_and_as_many_cells_in_each_row(taken: Taken) -> None:
    found = [place for place in taken if place.endswith(".tex")]
    assert len(found) > 10
    for place in found:
        text = taken[place].decode()
        assert depth(text) == 0
        body = text.partition(r"\toprule")[2]
        rows = [line for line in body.splitlines() if line.split(r" %")[0].endswith(r"\\")]
        for row in rows:
            cells = len(re.findall(r"(?<!\\)&", row))
            assert cells == (0 if r"\multicolumn{6}" in row else 5), row


def test_a_hostile_title_is_text_in_latex(example: Board) -> None:
    hostile = HOSTILE + r" \input{/etc/passwd} % & } \\ \end{tabular}"
    text = tables.latex(with_title(example, hostile), SETTING)
    assert depth(text) == 0
    assert text.count(r"\end{tabular}") == 1
    assert r"\input" not in text
    assert r"\textbackslash{}input\textbraceleft{}/etc/passwd\textbraceright{} \% \&" in text


def test_the_tiers_are_told_apart_and_the_day_and_source_are_named(taken: Taken) -> None:
    text = taken[places.latex_table(SETTING)].decode()
    assert text.index("Re-evaluated by certboard") < text.index("Reported by the papers")
    assert "Newest result: 2026-03-04" in text
    assert f"settings/{SETTING}/" in text


def test_kinds_that_are_ranked_apart_stand_apart(example: Board) -> None:
    setting = "cifar10-l2-0.25"
    text = tables.latex(example, setting)
    headings = [f"not checked: {kind}" for kind in ("deterministic", "probabilistic")]
    assert text.index(headings[0]) < text.index(headings[1])
    assert text.count("\n1 & ") == 2
    rows = list(csv.DictReader(io.StringIO(tables.spreadsheet(example, setting).decode())))
    assert [row["kind"] for row in rows if row["rank"] == "1"] == ["deterministic", "probabilistic"]
    assert all(bool(row["not_ranked"]) == (not row["rank"]) for row in rows)


def test_a_setting_without_lines_is_still_a_table(example: Board) -> None:
    empty = replace(example, standings={**example.standings, SETTING: []})
    assert "Nothing has been measured or reported yet" in tables.latex(empty, SETTING)


def test_no_cell_of_the_table_is_a_formula(example: Board) -> None:
    made = tables.spreadsheet(with_title(example, '=HYPERLINK("x")'), SETTING).decode()
    rows = list(csv.DictReader(io.StringIO(made)))
    assert {row["title"] for row in rows} == {'\'=HYPERLINK("x")'}
    assert {row["tier"] for row in rows} == {"re-evaluated", "reported"}


def test_every_key_named_beside_a_row_is_in_the_bibliography_once(taken: Taken) -> None:
    keys = re.findall("% cite: (.+)", taken[places.latex_table(SETTING)].decode())
    entries = re.findall(r"^@misc\{(.+),$", taken[places.references(SETTING)].decode(), re.M)
    assert set(keys) <= set(entries)
    assert len(set(entries)) == len(entries)
    assert "certboard" in entries
