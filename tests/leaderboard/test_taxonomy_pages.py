"""The taxonomy's pages: the diagram, each node's page, and what is counted under it."""

import re
from pathlib import Path

import pytest

from leaderboard.board.board import Board, assemble
from leaderboard.board.taxonomy_rows import below, rows_below, upwards
from leaderboard.field.taxonomy import load_taxonomy, read_taxonomy
from leaderboard.website.pages.taxonomy import plans
from tests.fixtures.board import HOSTILE
from tests.fixtures.website import generated

INCOMPLETE = "verification/deterministic/incomplete"
INTERVAL = f"{INCOMPLETE}/linear-relaxation/linear-inequality/interval"
POLYHEDRA = f"{INCOMPLETE}/linear-relaxation/linear-inequality/polyhedra"
GAUSSIAN = "verification/probabilistic/smoothed-networks/zeroth-order/neyman-pearson"


@pytest.fixture(scope="module")
def taxonomy(pages: Path) -> Path:
    return pages / "taxonomy"


def test_the_diagram_has_one_link_for_each_node(taxonomy: Path) -> None:
    text = (taxonomy / "index.md").read_text("utf-8")
    diagram = "".join(re.findall(r'<nav class="cb-diagram".*?</nav>', text, re.DOTALL))
    links = re.findall(r'<a href="\.\./taxonomy/([^"]*)/"', diagram)
    assert sorted(links) == sorted(load_taxonomy().nodes)


def test_every_page_has_picture_formulas_strengths_limits_and_references(taxonomy: Path) -> None:
    for path in load_taxonomy().nodes:
        text = (taxonomy / f"{path}.md").read_text("utf-8")
        for part in ('role="img"', "<math", 'id="strengths"', 'id="limits"', 'id="references"'):
            assert part in text, (path, part)


def test_ids_on_a_page_are_unique(taxonomy: Path) -> None:
    for path in taxonomy.rglob("*.md"):
        ids = re.findall(r'\bid="([^"]+)"', path.read_text("utf-8"))
        assert len(ids) == len(set(ids)), path


def test_a_submission_counts_where_it_was_certified_where_trained_and_above(example: Board) -> None:
    found = below(example)

    def slugs(path: str) -> list[str]:
        return [one.slug for one in found[path].submissions]

    assert slugs(INTERVAL) == ["mnist-ibp"]
    assert slugs(POLYHEDRA) == slugs(INCOMPLETE) == ["mnist-ibp", "mnist-plain"]
    assert slugs(GAUSSIAN) == ["digits-noise", "digits-noise-2"]
    assert slugs("training/relaxation-based") == ["hostile", "mnist-ibp", "mnist-plain"]
    assert slugs("falsification") == ["mnist-ibp", "mnist-plain"]


def test_the_share_of_an_idea_is_counted_from_rows(example: Board) -> None:
    """340 of 500 examples by intervals, 60 by CROWN, 40 falsified by the attack."""
    found = below(example)

    def share(path: str) -> float | None:
        rows = rows_below(example, found[path])
        return next(row.share for row in rows if row.setting.id == "mnist-linf-0.1")

    assert share(INTERVAL) == pytest.approx(340 / 500)
    assert share(INCOMPLETE) == pytest.approx(400 / 500)
    assert share("falsification") == pytest.approx(40 / 500)
    assert share("training/relaxation-based") is None
    assert found[INTERVAL].proved["ibp"] == (540, 2)


def test_the_best_of_each_tier_stands_apart(example: Board, taxonomy: Path) -> None:
    found = below(example)
    row = next(
        row for row in rows_below(example, found[INTERVAL]) if row.setting.id == "mnist-linf-0.1"
    )
    assert row.ours is not None
    assert row.paper is not None
    assert row.ours.slug == "mnist-ibp"
    assert row.ours.certified == pytest.approx(0.8)
    assert row.paper.certified == 97.95
    text = (taxonomy / f"{INTERVAL}.md").read_text("utf-8")
    line = next(one for one in text.splitlines() if "mnist-linf-0.1" in one and "97.95" in one)
    ours, _, paper = line.partition("97.95")
    assert "cb-tier--ours" in ours
    assert "cb-tier--paper" not in ours
    assert "cb-tier--paper" in paper


def test_every_reported_row_is_called_reported_and_unchecked(taxonomy: Path) -> None:
    text = (taxonomy / f"{INTERVAL}.md").read_text("utf-8")
    assert "certboard has <strong>not</strong> checked them" in text


def test_what_lies_under_a_node_lies_under_its_parents(example: Board) -> None:
    found = below(example)
    for path, inside in found.items():
        for above in upwards(path):
            assert len(inside.reported) <= len(found[above].reported)
            assert {one.slug for one in inside.submissions} <= {
                one.slug for one in found[above].submissions
            }


def test_foreign_text_is_inert_in_a_node(example: Board, tmp_path: Path) -> None:
    quoted = HOSTILE.replace('"', '\\"').replace("{{", "{ {")
    told = f'title = "{quoted}"\nsummary = "{quoted}"\n'
    lists = f'strengths = ["{quoted}"]\nlimits = ["{quoted}"]\npicture = "region"\n'
    more = f'where = "{quoted}"\nreferences = [{{ label = "{quoted}", venue = "{quoted}" }}]\n'
    formula = "formulas = [{ latex = '''\\text{<script>alert(1)</script>}''', says = 'x' }]\n"
    path = tmp_path / "taxonomy.toml"
    path.write_text(f'[[node]]\npath = "a"\n{told}{lists}{more}{formula}', encoding="utf-8")
    hostile = assemble(
        example.settings, example.datasets, {}, [], example.literature, read_taxonomy(path)
    )
    made = generated(hostile, tmp_path / "checkout") / "taxonomy"
    for page in ("index.md", "a.md"):
        markdown = (made / page).read_text("utf-8").split("\n---\n", 1)[-1]
        assert "alert" in markdown
        assert "<script" not in markdown
        assert "](javascript" not in markdown


def test_many_submissions_are_listed_in_part(example: Board) -> None:
    from tests.fixtures.board import submission

    many = {f"s-{number:03}": submission(f"s-{number:03}") for number in range(45)}
    crowded = assemble(
        example.settings, example.datasets, many, [], example.literature, example.taxonomy
    )
    page = next(one for one in plans(crowded) if one.path == "taxonomy/training/relaxation-based")
    submissions = page.view["submissions"]
    assert isinstance(submissions, list)
    assert len(submissions) == 40
    assert page.view["more"] == 5
