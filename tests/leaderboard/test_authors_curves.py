"""The third tier: what was counted from the files of authors, beside the other two."""

import csv
from fractions import Fraction
from pathlib import Path

import pytest

from leaderboard.board.board import Board
from leaderboard.field.authors_curves import load_authors_curves
from leaderboard.field.literature import load_literature
from leaderboard.website.charts.authors_curves import curves_beside, draw
from leaderboard.website.pages.authors_curves import counts

COURSE = {
    "0.25": ("67", "49", "0", "0", "0", "0", "0"),
    "0.5": ("57", "46", "37", "29", "0", "0", "0"),
    "1": ("44", "38", "33", "26", "19", "15", "12"),
}
"""Cohen et al., table 1 of the supplement: ImageNet by noise, at 0, 0.5, … 3; in whole percent."""


def test_every_file_with_an_example_is_there_with_its_counts(shared: Path) -> None:
    with (shared / "literature" / "authors-curves.csv").open(encoding="utf-8") as lines:
        theirs = [row for row in csv.DictReader(lines) if row["n"] != "0"]
    ours = load_authors_curves()
    assert len(ours) == len(theirs) == 1659
    for curve, row in zip(ours, theirs, strict=True):
        assert (curve.repository, curve.path) == (row["repo"].replace("+", "/"), row["path"])
        assert curve.examples == int(row["n"])
        for radius in curve.counts:
            told = float(
                row[f"r{float(radius):g}" if f"r{float(radius):g}" in row else f"r{float(radius)}"]
            )
            assert 100 * curve.share(radius) == pytest.approx(told, abs=0.005)


def test_a_curve_falls_and_counts_no_more_than_there_are() -> None:
    for curve in load_authors_curves():
        values = list(curve.counts.values())
        assert values == sorted(values, reverse=True)
        assert 0 <= values[-1] <= values[0] <= curve.examples
        assert list(curve.counts) == sorted(curve.counts)


def test_the_table_of_imagenet_by_noise_is_the_paper_s() -> None:
    view = counts(load_authors_curves())
    course = view["course"]
    assert isinstance(course, list)
    for _, sigma, shares in course:
        rounded = tuple(f"{float(share):.0f}" for share in shares)
        assert rounded == COURSE[sigma]
    assert len(course) == len(COURSE)


def test_a_reported_count_is_what_its_file_says_where_the_curve_is_kept() -> None:
    files = {f"{one.repository} {one.path}": one for one in load_authors_curves()}
    kept = tuple(f"{one.repository} " for one in load_authors_curves())
    compared = 0
    for row in load_literature():
        if row.reliability != "recounted" or row.norm != "l2" or not row.read_in.startswith(kept):
            continue
        curve = files[row.read_in]
        assert curve.dataset == row.dataset
        assert curve.examples == row.examples
        assert row.clean == pytest.approx(100 * curve.share(Fraction(0)), abs=0.005)
        if row.radius in curve.counts:
            assert row.certified == pytest.approx(100 * curve.share(row.radius), abs=0.005)
            compared += 1
    assert compared >= 25


def test_every_group_of_the_page_says_of_how_many_files_its_range_is() -> None:
    view = counts(load_authors_curves())
    groups = view["groups"]
    assert isinstance(groups, list)
    assert [title for title, _ in groups] == ["CIFAR-10", "ImageNet", "MNIST"]
    listed = [row for _, rows in groups for row in rows]
    assert sum(row["files"] for row in listed) == view["shown"]
    assert all("–" not in share for row in listed if row["files"] == 1 for share in row["shares"])


@pytest.mark.parametrize("setting", ["imagenet-l2-1.0", "cifar10-l2-0.25", "mnist-l2-1.58"])
def test_the_curves_stand_beside_the_settings_they_are_about(example: Board, setting: str) -> None:
    found = curves_beside(example, setting)
    assert found
    assert {curve.dataset for curve in found} == {example.settings[setting].dataset}
    drawing = draw(example, setting)
    assert drawing is not None
    assert len(drawing.table) == len(found)


def test_no_curve_is_drawn_for_another_norm_or_gets_into_a_ranking(example: Board) -> None:
    assert draw(example, "cifar10-linf-2_255") is None
    for lines in example.standings.values():
        for line in lines:
            if line.tier == "re-evaluated":
                assert line.reported is None
