"""The still picture of a chart shows what the chart shows, where no scripts run."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from leaderboard.board.board import Board
from leaderboard.website import plot
from leaderboard.website.charts import Chart, figure, plain
from leaderboard.website.still import NARROW, WIDTH, svg
from tests.leaderboard.test_charts import of_all_charts

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?\d+\.?\d*")


@pytest.mark.parametrize("width", [WIDTH, NARROW])
@of_all_charts
def test_every_chart_has_a_picture_with_all_its_lines_and_names(
    example: Board, chart: Chart, subject: str, width: int
) -> None:
    drawing = chart.draw(example, subject)
    if drawing is None:
        return
    drawn = ElementTree.fromstring(svg(drawing.figure, chart.title, width))
    assert drawn.findtext(f"{SVG}title") == chart.title
    data = json.loads(drawing.json())["data"]
    lines = [one for one in data if "lines" in one.get("mode", "") and len(one["x"]) > 1]
    painted = [one for one in drawn.iter(f"{SVG}path") if one.get("fill") == "none"]
    assert len(painted) >= sum(one["line"].get("width") != 0 for one in lines)
    texts = {text.text for text in drawn.iter(f"{SVG}text")}
    named = {one["name"] for one in data if one.get("showlegend") is not False and "name" in one}
    assert len(data) == 1 or {plain(text or "") for text in texts} >= named
    height = float(drawn.attrib["height"])
    for circle in drawn.iter(f"{SVG}circle"):
        assert -60 <= float(circle.attrib["cx"]) <= width + 60
        assert -60 <= float(circle.attrib["cy"]) <= height + 60


def test_points_bars_and_steps_are_where_their_numbers_say() -> None:
    made = figure({"xaxis": {"range": [0, 10]}, "yaxis": {"range": [0, 1]}, "height": 300})
    made.add_trace(plot.scatter(x=[0, 5, 10], y=[0, 0.5, 1], mode="markers", marker={"size": 6}))
    drawn = ElementTree.fromstring(svg(made, "A"))
    points = [
        (float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawn.iter(f"{SVG}circle")
    ]
    (left, low), (middle, half), (right, high) = points
    assert middle == pytest.approx((left + right) / 2)
    assert half == pytest.approx((low + high) / 2)
    assert left < right
    assert high < low
    staircase = figure({"yaxis": {"range": [0, 1]}})
    line = {"shape": "hv", "color": "#000", "width": 2}
    staircase.add_trace(plot.scatter(x=[0, 1], y=[0, 1], mode="lines", line=line))
    (path,) = [
        one for one in ElementTree.fromstring(svg(staircase, "")) if one.get("fill") == "none"
    ]
    assert re.fullmatch(r"M[\d.]+ [\d.]+H[\d.]+V[\d.]+", path.attrib["d"])
    bars = figure({"barmode": "stack", "xaxis": {"range": [0, 100]}})
    for colour, share in (("#aa0000", 75), ("#00aa00", 25)):
        bars.add_trace(plot.bar(x=[share], y=["A"], orientation="h", marker={"color": colour}))
    widths = [
        float(NUMBER.findall(one.attrib["d"])[2])
        for one in ElementTree.fromstring(svg(bars, ""))
        if one.get("fill", "").startswith(("#aa", "#00aa"))
    ]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.3)


def test_foreign_text_is_inert_in_a_picture(example: Board) -> None:
    made = figure({})
    hostile = plain('<script>alert("1")</script>')
    made.add_trace(plot.bar(x=[1], y=[hostile], orientation="h", marker={"color": "#000000"}))
    text = svg(made, '<script>"')
    assert "<script" not in text
    assert "script" in ElementTree.fromstring(text).findtext(f"{SVG}title", "")


def test_pictures_for_wide_screens_and_phones_lie_beside_every_figure(
    example: Board, tmp_path: Path
) -> None:
    from leaderboard.website.build import plan, write_files

    write_files([page for page in plan(example) if page.path == "index"], tmp_path)
    figures = sorted(tmp_path.rglob("charts/**/*.json"))
    assert figures
    pictures = {
        path.with_name(path.stem + end) for path in figures for end in (".svg", "-narrow.svg")
    }
    assert pictures == set(tmp_path.rglob("charts/**/*.svg"))


@of_all_charts
def test_on_a_phone_s_picture_no_two_labels_of_an_axis_and_no_entry_of_the_legend_is_cut_or_hidden(
    example: Board, chart: Chart, subject: str
) -> None:
    drawing = chart.draw(example, subject)
    if drawing is None:
        return
    drawn = ElementTree.fromstring(svg(drawing.figure, chart.title, NARROW))
    ends: dict[tuple[str, str], float] = {}
    for text in drawn.iter(f"{SVG}text"):
        if text.get("transform"):
            continue
        x, half = float(text.attrib["x"]), 3 * len(text.text or "")
        low, high = {
            "middle": (x - half, x + half),
            "start": (x, x + 2 * half),
            "end": (x - 2 * half, x),
        }[text.attrib["text-anchor"]]
        assert high <= NARROW + 8, text.text
        line = text.attrib["y"], text.attrib["text-anchor"]
        assert low >= ends.get(line, -8), text.text
        ends[line] = high


@pytest.mark.parametrize(
    ("symbol", "corners"),
    [("triangle-up-open", 3), ("triangle-down", 3), ("square-open", 4), ("diamond", 4)],
)
def test_kinds_that_a_chart_tells_by_their_marks_differ_in_its_picture(
    symbol: str, corners: int
) -> None:
    drawn = figure({"xaxis": {"title": {"text": "x"}}})
    drawn.add_trace(plot.scatter(x=[1], y=[2], mode="markers", marker={"symbol": symbol}))
    paths = [one.attrib["d"] for one in ElementTree.fromstring(svg(drawn, "T")).iter(f"{SVG}path")]
    shape = next(path for path in paths if path.endswith("z"))
    assert len(re.findall("[lhvz]", shape)) == corners
    assert ("h" in shape) == (symbol != "diamond")


def test_a_mark_that_a_picture_cannot_draw_is_noticed() -> None:
    drawn = figure({})
    drawn.add_trace(plot.scatter(x=[1], y=[2], mode="markers", marker={"symbol": "star"}))
    with pytest.raises(ValueError, match="cannot draw the mark 'star'"):
        svg(drawn, "T")
