import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from leaderboard.board import smoothed
from leaderboard.board.board import Board
from leaderboard.board.smoothed import steps
from leaderboard.results.metrics import certified_at
from leaderboard.website.charts import MOST_STEPS, Chart, Drawing, catalogue
from leaderboard.website.charts.progress import APART, Point, points, state_of_the_art
from tests.fixtures import board as made
from tests.fixtures.board import board, smoothed_rows, tally

SUBJECTS = {
    "home": [""],
    "setting": ["mnist-linf-0.1", "digits-l2-0.25", "cifar10-l1-1.0"],
    "submission": ["mnist-ibp", "digits-noise"],
}
NOTHING = {
    ("progress", "digits-l2-0.25"),  # everything was measured on one day
    ("trade-off", "cifar10-l1-1.0"),  # papers give no clean accuracy there
    ("bounds", "cifar10-l1-1.0"),  # nobody was re-evaluated there
    ("smoothing-curves", "mnist-linf-0.1"),
    ("smoothing-curves", "cifar10-l1-1.0"),  # nobody measured a smoothed model there
    ("authors-curves", "mnist-linf-0.1"),  # their radii are ℓ2
    ("authors-curves", "digits-l2-0.25"),
    ("authors-curves", "cifar10-l1-1.0"),
    ("samples-limit", "mnist-linf-0.1"),  # smoothed models do not compete there
    ("radius-histogram", "mnist-ibp"),
}
PAPERS_ALONE = "cifar10-l1-1.0"
"""Where nobody was re-evaluated a chart may have nothing to draw."""

DRAWINGS = [
    (chart, subject)
    for chart in catalogue().values()
    for page in chart.pages
    for subject in SUBJECTS[page]
    if (chart.name, subject) not in NOTHING
]
of_all_charts = pytest.mark.parametrize(
    ("chart", "subject"), DRAWINGS, ids=lambda value: getattr(value, "name", value)
)


def plotly_reads(drawing: Drawing) -> Any:
    """The figure as Plotly's own classes have it; they refuse what they do not know."""
    return go.Figure(json.loads(drawing.json()))


@of_all_charts
def test_every_chart_draws_with_a_table_of_the_same_data(
    example: Board, chart: Chart, subject: str
) -> None:
    drawing = chart.draw(example, subject)
    if drawing is None and subject == PAPERS_ALONE:
        return
    assert drawing is not None
    assert plotly_reads(drawing).data
    assert drawing.table
    assert all(len(row) == len(drawing.columns) for row in drawing.table)
    assert chart.caption.endswith(".")


def test_no_text_of_a_submission_or_of_rows_is_markup_in_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plotly reads a few tags, links among them, wherever it prints a text."""
    mark, tables, submissions = "<a href='//x'>", made.tables(), made.submissions()
    strange = {slug: one.model_copy(update={"title": mark}) for slug, one in submissions.items()}
    monkeypatch.setattr(made, "submissions", lambda: strange)
    staged = [table.assign(stage=mark + table["stage"]) for table in tables]
    monkeypatch.setattr(made, "tables", lambda: staged)
    hostile = board(tmp_path)
    for chart, subject in DRAWINGS:
        drawing = chart.draw(hostile, subject)
        assert drawing is None or mark not in drawing.json(), chart.name


@pytest.mark.parametrize(("name", "subject"), sorted(NOTHING))
def test_a_chart_of_nothing_is_not_drawn(example: Board, name: str, subject: str) -> None:
    assert catalogue()[name].draw(example, subject) is None


def test_the_limit_is_drawn_for_usual_noise_where_nobody_was_measured(example: Board) -> None:
    drawing = catalogue()["samples-limit"].draw(example, "cifar10-l2-1.0")
    assert drawing is not None
    assert {row[0] for row in drawing.table} == {
        f"gaussian, σ = {s}" for s in ("0.25", "0.5", "1.0")
    }


def test_noise_that_cannot_reach_the_radius_is_not_drawn(example: Board) -> None:
    drawing = catalogue()["samples-limit"].draw(example, "cifar10-l2-2.0")
    assert drawing is not None
    assert {row[0] for row in drawing.table} == {f"gaussian, σ = {s}" for s in ("0.5", "1.0")}


def test_the_envelope_says_that_it_was_chosen_afterwards(
    example: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoothed, "LEAST_EXAMPLES", 297)
    drawing = catalogue()["smoothing-curves"].draw(example, "digits-l2-0.25")
    assert drawing is not None
    names = [trace.name for trace in plotly_reads(drawing).data]
    assert names[0] == "best of all, chosen afterwards"
    assert len(names) == 3
    assert "not the accuracy of any one model" in catalogue()["smoothing-curves"].caption


@pytest.mark.parametrize("name", ["radius-curve", "radius-histogram", "stages"])
def test_a_submission_without_results_has_no_chart(example: Board, name: str) -> None:
    assert catalogue()[name].draw(example, "hostile") is None


def test_two_drawings_of_the_same_rows_are_the_same_text(example: Board, tmp_path: Path) -> None:
    again = board(tmp_path)
    for chart, subject in DRAWINGS:
        one, other = chart.draw(example, subject), chart.draw(again, subject)
        assert (one and one.json()) == (other and other.json())


def test_the_state_of_the_art_keeps_only_improvements() -> None:
    dated = [Point("2019", 50, "a", ""), Point("2020", 40, "b", ""), Point("2021", 60, "c", "")]
    assert [point.title for point in state_of_the_art(dated)] == ["a", "c"]


def test_of_one_day_the_best_alone_is_a_step() -> None:
    dated = [
        Point("2026-11-29", accuracy, name, "re-evaluated")
        for accuracy, name in ((0.0, "a"), (28.0, "b"))
    ]
    assert [point.title for point in state_of_the_art(dated)] == ["b"]


def test_empirical_numbers_are_not_drawn_as_certified(example: Board) -> None:
    lines = example.standings["mnist-linf-0.3"]
    certified = points(lines, "deterministic")
    attacked = points(lines, "empirical")
    assert len(certified) == sum(line.certified is not None and not line.short for line in lines)
    assert len(attacked) == sum(line.kind == "empirical" and not line.short for line in lines)
    assert attacked


def test_measured_and_reported_points_differ_by_symbol(example: Board) -> None:
    drawing = catalogue()["progress"].draw(example, "mnist-linf-0.1")
    assert drawing is not None
    symbols = {
        (symbol, text.rsplit("(", 1)[1])
        for trace in plotly_reads(drawing).data
        if trace.mode == "markers" and trace.text
        for symbol, text in zip(trace.marker.symbol, trace.text, strict=True)
    }
    assert symbols == {("diamond", "re-evaluated)"), ("circle-open", "reported)")}
    keys = [
        trace
        for trace in plotly_reads(drawing).data
        if trace.x == (None,) and trace.mode == "markers"
    ]
    told = {trace.name: trace.marker.symbol for trace in keys}
    assert told == {
        "reported by a paper": "circle-open",
        "re-evaluated by certboard": "diamond",
    }


def test_no_line_joins_measured_and_reported_numbers(example: Board) -> None:
    drawing = catalogue()["progress"].draw(example, "mnist-linf-0.1")
    assert drawing is not None
    lines = example.standings["mnist-linf-0.1"]
    shares = {
        tier: {round(100 * (line.certified or 0), 2) for line in lines if line.tier == tier}
        for tier in ("reported", "re-evaluated")
    }
    drawn = [
        set(trace.y)
        for trace in plotly_reads(drawing).data
        if trace.mode == "lines" and trace.y != (None,)
    ]
    assert len(drawn) == 2
    for values in drawn:
        assert values <= shares["reported"] or values <= shares["re-evaluated"]


@pytest.mark.parametrize("subject", ["", "cifar10-linf-2_255"])
def test_no_line_joins_proofs_and_probabilistic_certificates(example: Board, subject: str) -> None:
    drawing = catalogue()["progress"].draw(example, subject)
    assert drawing is not None
    lines = [line for lines in example.standings.values() for line in lines]
    certified = {
        kind: {round(100 * (line.certified or 0), 2) for line in lines if line.kind == kind}
        for kind in ("deterministic", "probabilistic")
    }
    dashes = {"solid": "deterministic", "dashdot": "probabilistic"}
    drawn = [
        trace
        for trace in plotly_reads(drawing).data
        if trace.mode == "lines" and trace.line.dash in dashes and trace.y != (None,)
    ]
    assert {trace.line.dash for trace in drawn} == set(dashes)
    for trace in drawn:
        assert set(trace.y) <= certified[dashes[trace.line.dash]]


def test_home_follows_the_settings_of_the_talk(example: Board) -> None:
    drawing = catalogue()["progress"].draw(example, "")
    assert drawing is not None
    assert {row[0] for row in drawing.table} == {
        "MNIST · ℓ∞ · 0.1",
        "MNIST · ℓ∞ · 0.3",
        "CIFAR-10 · ℓ∞ · 2/255",
        "CIFAR-10 · ℓ∞ · 8/255",
        "ImageNet · ℓ2 · 2.0",
    }
    assert {row[1] for row in drawing.table} == {"deterministic", "probabilistic", "empirical"}
    vague = {row[5] for row in drawing.table if len(row[2]) < 7}
    assert {title[:14] for title in vague} <= {"VNN-COMP 2026 "}, "dated to the month"


def test_the_curve_of_a_smoothed_model_agrees_with_its_rows_at_every_step() -> None:
    table = smoothed_rows("digits-noise", "digits-l2-0.25", 297)
    falls = steps(tally(table), MOST_STEPS)
    assert falls
    for radius, share in falls:
        assert share == pytest.approx(certified_at(table, radius).mean())
    beyond = falls[-1][0] + Fraction(1, 10**9)
    assert not certified_at(table, beyond).any()


def test_a_long_curve_is_thinned_to_true_points() -> None:
    table = smoothed_rows("digits-noise", "digits-l2-0.25", 3000, n=100_000)
    falls = steps(tally(table), MOST_STEPS)
    assert 100 < len(falls) <= MOST_STEPS + 1
    for radius, share in falls[::50]:
        assert share == pytest.approx(certified_at(table, radius).mean())


def test_the_stages_of_a_setting_add_up_to_its_examples(example: Board) -> None:
    drawing = catalogue()["stages"].draw(example, "mnist-ibp")
    assert drawing is not None
    counted = [int(row[3]) for row in drawing.table if row[0] == "MNIST · ℓ∞ · 0.1"]
    assert sum(counted) == 500
    assert sum(trace.x[0] for trace in plotly_reads(drawing).data) == pytest.approx(100)


def test_names_stand_right_of_every_mark_of_the_home_page_and_clear_of_each_other(
    example: Board,
) -> None:
    drawing = catalogue()["progress"].draw(example, "")
    assert drawing is not None
    traces = plotly_reads(drawing).data
    (names,) = [trace for trace in traces if trace.mode == "text"]
    marks = [day for trace in traces if trace.mode == "markers" for day in trace.x if day]
    assert min(names.x) > max(marks)
    heights = list(names.y)
    assert len(heights) > 1
    assert all(high - low >= APART - 0.01 for low, high in pairwise(heights))
