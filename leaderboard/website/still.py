"""A figure as a still picture (SVG): what is seen without scripts, while Plotly loads, in print.

It knows what the project's charts use of Plotly: lines, steps, marks and bars, on axes that are
linear, logarithmic, dates or names.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from itertools import groupby
from typing import Any

from leaderboard.website.plot import Figure

WIDTH, NARROW = 800, 400
"""Pixels across, on wide screens and on phones, where letters of the wide picture are too small."""

INK, GRID = "#73736c", "#73736c55"
_LETTER = 6.4
"""About the width of a letter, in pixels."""

_LEGEND = 20
"""Pixels a line of the legend takes."""


@dataclass(frozen=True)
class Axis:
    """From values to pixels: `low` and `high` are drawn at `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    kind: str = "linear"
    names: tuple[str, ...] = ()

    def number(self, value: Any) -> float:
        """A value of this axis as a number."""
        if self.kind == "category":
            return float(self.names.index(str(value)))
        if self.kind == "date":
            return _days(str(value))
        return math.log10(max(float(value), 1e-300)) if self.kind == "log" else float(value)

    def at(self, value: Any) -> float:
        """Where a value is drawn."""
        return self.place(self.number(value))

    def place(self, number: float) -> float:
        """Where a number of this axis is drawn, inside the picture if it is far away."""
        share = (number - self.low) / ((self.high - self.low) or 1)
        return round(self.start + min(max(share, -0.05), 1.05) * (self.end - self.start), 1)


def height_of(figure: Figure, width: int = WIDTH) -> int:
    """How high its picture is: a legend that takes more lines takes no room from the plot."""
    layout: Mapping[str, Any] = figure.layout
    entries = _legend(figure, layout)
    more = len(_lines_of(entries, width)) - len(_lines_of(entries, WIDTH))
    return int(layout.get("height", 360)) + _LEGEND * more


def svg(figure: Figure, title: str, width: int = WIDTH) -> str:
    """The picture of a figure, that wide; the same text for the same figure."""
    layout: Mapping[str, Any] = figure.layout
    height = height_of(figure, width)
    lines = _lines_of(_legend(figure, layout), width)
    left = _left(figure, layout, width)
    bottom = height - 46 - _LEGEND * len(lines)
    right = int(layout.get("margin", {}).get("r", 16))
    across = _axis(figure, "x", left, width - right)
    upward = _axis(figure, "y", bottom, 12)
    parts = [*_grid(layout, across, upward), *_bars(figure, layout, across, upward)]
    for trace in figure.data:
        if trace["type"] == "scatter":
            parts += _scatter(trace, across, upward)
    parts += _legend_drawn(lines, height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="13" fill="{INK}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _days(text: str) -> float:
    """A date, to the year, the month or the day, in days."""
    year, month, day = [*map(int, text.split("-")), 1, 1][:3] if text else (1970, 1, 1)
    return float(date(year, month, day).toordinal())


def _values(trace: Mapping[str, Any], name: str) -> list[Any]:
    return [value for value in trace.get(name, ()) if value is not None]


def _left(figure: Figure, layout: Mapping[str, Any], width: int) -> int:
    """Room for the names of a vertical axis, at most two fifths of the picture."""
    names = [*layout.get("yaxis", {}).get("ticktext", ())] or [
        value for trace in figure.data for value in _values(trace, "y") if _named(value)
    ]
    return min(2 * width // 5, max([60, *(int(_LETTER * len(str(name))) + 16 for name in names)]))


def _named(value: object) -> bool:
    return isinstance(value, str)


def _axis(figure: Figure, name: str, start: float, end: float) -> Axis:
    told: Mapping[str, Any] = figure.layout.get(f"{name}axis", {})  # type: ignore[assignment]
    values = [value for trace in figure.data for value in _values(trace, name)]
    kind = told.get("type") or ("category" if any(map(_named, values)) else "linear")
    names = tuple(dict.fromkeys(map(str, values))) if kind == "category" else ()
    draft = Axis(0, 1, start, end, kind, names)
    values += told.get("tickvals", ())
    bars = any(one["type"] == "bar" and one.get("orientation") != "h" for one in figure.data)
    numbers = [draft.number(value) for value in values] + [0.0] * (bars and name == "y")
    numbers = numbers or [0.0, 1.0]
    low, high = min(numbers), max(numbers)
    if "range" in told:
        low, high = map(_days if kind == "date" else float, told["range"])
    elif kind == "category":
        low, high = -0.5, len(names) - 0.5
        if told.get("autorange") == "reversed":
            low, high = high, low
    else:
        low = min(low, 0.0) if told.get("rangemode") == "tozero" else low
        room = 0.05 * ((high - low) or 1)
        low, high = low - room * (low != 0), high + room
    return Axis(low, high, start, end, kind, names)


def _ticks(axis: Axis, told: Mapping[str, Any]) -> Iterable[tuple[float, str]]:
    """Numbers of an axis, and what is written there."""
    low, high = sorted((axis.low, axis.high))
    if "tickvals" in told:
        pairs = zip(map(axis.number, told["tickvals"]), told["ticktext"], strict=True)
        return [(number, text) for number, text in pairs if low <= number <= high]
    if axis.kind == "category":
        return [(float(place), name) for place, name in enumerate(axis.names)]
    if axis.kind == "log":
        return [(float(n), f"{10**n:,g}") for n in range(math.ceil(low), math.floor(high) + 1)]
    if axis.kind == "date":
        first, last = date.fromordinal(int(low)).year, date.fromordinal(int(high)).year + 1
        years = range(first, last, 1 + (last - first) // 10)
        starts = [(float(date(year, 1, 1).toordinal()), str(year)) for year in years]
        return [(number, text) for number, text in starts if low <= number <= high]
    raw = (high - low) / 6
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    first_tick, last_tick = math.ceil(low / step), math.floor(high / step)
    return [(n * step, f"{n * step:.10g}") for n in range(first_tick, last_tick + 1)]


def _grid(layout: Mapping[str, Any], across: Axis, upward: Axis) -> Iterable[str]:
    told = {name: layout.get(f"{name}axis", {}) for name in "xy"}
    left, bottom = across.start, upward.start
    ticks = list(_ticks(across, told["x"]))
    room = max((_LETTER * 1.1 * len(text) + 8 for _, text in ticks), default=1.0)
    each = max(1, math.ceil(len(ticks) * room / abs(across.end - across.start)))
    for number, text in ticks[::each]:
        x = across.place(number)
        yield f'<path d="M{x} {bottom}V{upward.end}" stroke="{GRID}"/>'
        yield _text(x, bottom + 17, text, "middle")
    for number, text in _ticks(upward, told["y"]):
        y = upward.place(number)
        yield f'<path d="M{left} {y}H{across.end}" stroke="{GRID}"/>'
        most = int((left - 8) / _LETTER)
        yield _text(left - 8, y + 4, text if len(text) <= most else f"{text[: most - 1]}…", "end")
    x_title = told["x"].get("title", {}).get("text", "")
    y_title = told["y"].get("title", {}).get("text", "")
    yield _text((left + across.end) / 2, bottom + 36, x_title, "middle")
    middle = (bottom + upward.end) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    yield _text(14, middle, y_title, "middle", turned)


def _text(x: float, y: float, text: object, anchor: str, more: str = "") -> str:
    # Titles are kept safe for Plotly, which reads entities.
    shown = escape(str(text).replace("&lt;", "<").replace("&amp;", "&"))
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" {more}>{shown}</text>' if shown else ""


def _bars(figure: Figure, layout: Mapping[str, Any], across: Axis, upward: Axis) -> Iterable[str]:
    """Bars, on top of each other or, where they overlay, from zero."""
    stacked = layout.get("barmode") == "stack"
    begun: dict[Any, float] = {}
    for trace in figure.data:
        if trace["type"] != "bar":
            continue
        flat = trace.get("orientation") == "h"
        along, beside = (across, upward) if flat else (upward, across)
        lengths, places = (_values(trace, "x"), _values(trace, "y"))[:: 1 if flat else -1]
        unit = abs(beside.place(1) - beside.place(0)) if beside.kind == "category" else 0
        told = float(str(trace.get("width", 0)))
        thick = max(
            2.0, unit * (1 - layout.get("bargap", 0.2)) or abs(beside.place(told) - beside.place(0))
        )
        for length, place in zip(lengths, places, strict=True):
            start = begun.get(place, 0.0) if stacked else 0.0
            begun[place] = start + length
            one, other = sorted((along.place(start), along.place(start + length)))
            middle = beside.at(place) - thick / 2
            x, y, w, h = (
                (one, middle, other - one, thick) if flat else (middle, one, thick, other - one)
            )
            colour = _one(trace["marker"].get("color"), 0)  # type: ignore[attr-defined]
            if other > one:
                yield f'<path d="M{x:.1f} {y:.1f}h{w:.1f}v{h:.1f}h-{w:.1f}z" fill="{colour}"/>'


def _one(value: Any, place: int) -> Any:
    return value[place] if isinstance(value, list) else value


_DASHES = {"dash": "8 5", "dot": "2 4", "dashdot": "8 4 2 4"}


def _stroke(line: Mapping[str, Any]) -> str:
    dashes = _DASHES.get(str(line.get("dash")), "")
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'stroke="{line.get("color", INK)}" stroke-width="{line.get("width", 2)}"{dashed}'


def _scatter(trace: Mapping[str, Any], across: Axis, upward: Axis) -> Iterable[str]:
    pairs = [
        None if x is None or y is None else (across.at(x), upward.at(y))
        for x, y in zip(trace["x"], trace["y"], strict=True)
    ]
    mode, line = str(trace.get("mode", "lines")), trace.get("line", {})
    if "lines" in mode and line.get("width") != 0:
        for unbroken, run in groupby(pairs, lambda pair: pair is not None):
            if unbroken:
                path = _path([pair for pair in run if pair], line.get("shape"))
                yield f'<path d="{path}" fill="none" {_stroke(line)}/>'
    for place, pair in enumerate(pairs):
        if pair is None:
            continue
        x, y = pair
        if "markers" in mode:
            yield from _error(trace, place, across, y)
            yield _mark(trace.get("marker", {}), place, x, y)
        if mode == "text":
            more = f'fill="{_one(trace["textfont"]["color"], place)}"'
            lines = str(_one(trace["text"], place)).split("<br>")
            for number, line in enumerate(lines):
                down = 5 + 16 * (number - (len(lines) - 1) / 2)
                yield _text(x + 4, y + down, line, "start", more)


def _path(pairs: Sequence[tuple[float, float]], shape: str | None) -> str:
    """A line through points, or a staircase."""
    told = [f"M{pairs[0][0]} {pairs[0][1]}"]
    for x, y in pairs[1:]:
        told.append({"hv": f"H{x}V{y}", "vh": f"V{y}H{x}"}.get(str(shape), f"L{x} {y}"))
    return "".join(told)


def _error(trace: Mapping[str, Any], place: int, across: Axis, y: float) -> Iterable[str]:
    bars = trace.get("error_x")
    if not bars:
        return
    x = trace["x"][place]
    low, high = across.at(x - bars["arrayminus"][place]), across.at(x + bars["array"][place])
    yield f'<path d="M{low} {y}H{high}" stroke="{bars["color"]}" stroke-width="1.5"/>'


def _mark(marker: Mapping[str, Any], place: int, x: float, y: float) -> str:
    symbol = str(_one(marker.get("symbol", "circle"), place))
    half = float(_one(marker.get("size", 6), place)) / 2
    colour, opacity = _one(marker.get("color", INK), place), _one(marker.get("opacity", 1), place)
    paint = (
        f'fill="none" stroke="{colour}" stroke-width="1.5"'
        if "open" in symbol
        else f'fill="{colour}"'
    )
    paint += f' opacity="{opacity}"' if opacity != 1 else ""
    if symbol.startswith("line"):
        stroke = marker.get("line", {})
        return f'<path d="M{x} {y - half}v{2 * half}" {_stroke(stroke)}/>'
    if symbol.startswith("circle"):
        return f'<circle cx="{x}" cy="{y}" r="{half:g}" {paint}/>'
    if symbol.startswith("square"):
        return f'<path d="M{x - half} {y - half}h{2 * half}v{2 * half}h-{2 * half}z" {paint}/>'
    if symbol.startswith("triangle"):
        tip = -half if "up" in symbol else half
        return f'<path d="M{x} {y + tip}l{half} {-2 * tip}h-{2 * half}z" {paint}/>'
    if not symbol.startswith("diamond"):
        raise ValueError(f"A still picture cannot draw the mark '{symbol}'.")
    return f'<path d="M{x} {y - half}l{half} {half}l-{half} {half}l-{half} -{half}z" {paint}/>'


def _legend(figure: Figure, layout: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The traces that a legend names; a figure of one trace has none unless it asks."""
    found = {
        str(trace["name"]): trace
        for trace in reversed(figure.data)
        if trace.get("showlegend") is not False and trace.get("name")
    }
    shown = len(figure.data) > 1 or layout.get("showlegend")
    return list(reversed(found.items())) if shown else []


def _lines_of(
    entries: Iterable[tuple[str, Mapping[str, Any]]], across: int
) -> list[list[tuple[float, str, Mapping[str, Any]]]]:
    """The legend's entries with where each begins, in lines that fit."""
    lines: list[list[tuple[float, str, Mapping[str, Any]]]] = []
    x = float(across)
    for name, trace in entries:
        width = 44 + _LETTER * 1.1 * len(name)
        if x + width > across:
            lines.append([])
            x = 8.0
        lines[-1].append((round(x, 1), name, trace))
        x += width
    return lines


def _legend_drawn(
    lines: Sequence[Sequence[tuple[float, str, Mapping[str, Any]]]], height: int
) -> Iterable[str]:
    for number, line in enumerate(lines):
        y = height - _LEGEND * (len(lines) - number) + 10
        for x, name, trace in line:
            yield _sample(trace, x, y) + _text(x + 34, y + 4, name, "start")


def _sample(trace: Mapping[str, Any], x: float, y: float) -> str:
    """What the marks of a trace look like."""
    if trace["type"] == "bar":
        return f'<path d="M{x + 8} {y - 6}h12v12h-12z" fill="{_one(trace["marker"]["color"], 0)}"/>'
    drawn = ""
    if "lines" in str(trace.get("mode")):
        drawn = f'<path d="M{x} {y}h28" {_stroke(trace.get("line", {}))}/>'
    if "markers" in str(trace.get("mode")):
        drawn += _mark(trace.get("marker", {}), 0, x + 14, y)
    return drawn
