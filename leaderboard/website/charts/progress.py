"""How far are we: certified and empirical accuracy by month, with the state of the art as steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing
from leaderboard.common.formatting import safe_url
from leaderboard.website import plot
from leaderboard.website.charts import MARKER, SERIES, Chart, Drawing, figure, plain

# The collection whose settings the home page follows.
FOLLOWED = "SoK leaderboard, progress"

TIERS = ("reported", "re-evaluated")
ROOM = 84
"""Pixels right of the plot, for the settings' names."""

APART = 10
"""Percent between the middles of two names of two lines each."""

BESIDE = 200
"""Days after the newest result at which the plot ends and the names begin."""


@dataclass(frozen=True)
class Point:
    """One result on the time axis, dated to the month or the day; accuracy in percent.

    `link` leads to its submission's page, from the website's root, or to its paper.
    """

    date: str
    accuracy: float
    title: str
    tier: str
    link: str = ""


@dataclass(frozen=True)
class Series:
    """The dated results of one setting and kind, oldest first."""

    setting: str
    kind: str
    label: str
    colour: str
    points: Sequence[Point]

    def of(self, tier: str) -> list[Point]:
        """Those of one tier: what papers claim and what was measured are never one line."""
        return [point for point in self.points if point.tier == tier]


KINDS = ("deterministic", "probabilistic", "empirical")
DASHES = {"deterministic": "solid", "probabilistic": "dashdot", "empirical": "dot"}


def points(lines: Iterable[Standing], kind: str) -> list[Point]:
    """The dated results of one setting and kind, oldest first; on too few examples is none."""
    found = []
    for line in lines:
        accuracy = line.attack if kind == "empirical" else line.certified
        date = line.reported.month if line.reported else line.date
        if accuracy is None or not date or line.kind != kind or line.short:
            continue
        link = f"submissions/{line.slug}/" if line.slug else safe_url(line.url)
        found.append(Point(date, round(100 * accuracy, 2), line.title, line.tier, link))
    return sorted(found, key=lambda point: (point.date, point.accuracy, point.title))


def state_of_the_art(dated: Iterable[Point]) -> list[Point]:
    """The points that were better than everything before them."""
    best: list[Point] = []
    for point in dated:
        if best and point.accuracy <= best[-1].accuracy:
            continue
        # Of one day the best alone: a step has a width.
        if best and point.date == best[-1].date:
            best.pop()
        best.append(point)
    return best


def _settings(board: Board, subject: str) -> list[str]:
    if subject:
        return [subject]
    return [
        name
        for name, lines in board.standings.items()
        if any(line.reported and line.reported.source == FOLLOWED for line in lines)
    ]


def _series(board: Board, subject: str) -> list[Series]:
    found = []
    for position, name in enumerate(_settings(board, subject)):
        title, lines = board.settings[name].title, board.standings[name]
        for kind in KINDS:
            dated = points(lines, kind)
            label = kind if subject else f"{title}, {kind}"
            if dated:
                place = KINDS.index(kind) if subject else position
                found.append(Series(title, kind, label, SERIES[place % len(SERIES)], dated))
    return found


def _steps(series: Series, tier: str, until: str) -> plot.Trace:
    """The state of the art of one tier, up to the newest date of the whole chart."""
    best = state_of_the_art(series.of(tier))
    measured = tier == "re-evaluated"
    return plot.scatter(
        x=[point.date for point in best] + [until],
        y=[point.accuracy for point in best] + [best[-1].accuracy],
        mode="lines",
        line={
            "shape": "hv",
            "color": series.colour,
            "dash": DASHES[series.kind],
            "width": 4 if measured else 1.8,
        },
        name=series.label,
        legendgroup=series.label,
        showlegend=False,
        hoverinfo="skip",
    )


def _marks(series: Series, tier: str) -> plot.Trace:
    """Every result of one tier; those that moved the state of the art stand out."""
    dated = series.of(tier)
    best = state_of_the_art(dated)
    measured = tier == "re-evaluated"
    return plot.scatter(
        x=[point.date for point in dated],
        y=[point.accuracy for point in dated],
        mode="markers",
        marker={
            "symbol": [MARKER[tier]] * len(dated),
            "size": [12 if measured else 8 if point in best else 5 for point in dated],
            "opacity": [1 if measured or point in best else 0.45 for point in dated],
            "color": series.colour,
        },
        text=[f"{plain(point.title)} ({tier})" for point in dated],
        customdata=[point.link for point in dated],  # where a click leads
        hovertemplate="%{y:.2f} % · %{x|%b %Y}<br>%{text}<extra></extra>",
        name=series.label,
        legendgroup=series.label,
        showlegend=False,
    )


def _names(drawn: Sequence[Series], until: str) -> plot.Trace:
    """The settings' names right of the plot, beside the ends of one certified line each."""
    first: dict[str, tuple[float, Series]] = {}
    for one in drawn:
        if one.kind != "empirical":
            end = state_of_the_art(one.of("reported") or one.points)[-1].accuracy
            first.setdefault(one.setting, (end, one))
    named = sorted(first.values(), key=lambda pair: pair[0])
    return plot.scatter(
        x=[until] * len(named),
        y=_spread([end for end, _ in named]),
        mode="text",
        text=[one.setting.replace(" · ", "<br>", 1) for _, one in named],
        textposition="middle right",
        textfont={"color": [one.colour for _, one in named], "size": 12},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _spread(ends: Sequence[float]) -> list[float]:
    """Rising heights near these, none closer to the next than `APART`."""
    runs: list[list[float]] = []
    for end in ends:
        runs.append([end])
        while len(runs) > 1 and _low(runs[-1]) < _low(runs[-2]) + APART * len(runs[-2]):
            last = runs.pop()
            runs[-1] += last
    return [round(_low(run) + APART * place, 2) for run in runs for place in range(len(run))]


def _low(run: Sequence[float]) -> float:
    """The height of the lowest of names on each other, around the middle of their ends."""
    return sum(run) / len(run) - APART * (len(run) - 1) / 2


def _day(text: str) -> date:
    """The first day of a year or a month, or the day itself."""
    return date.fromisoformat(f"{text}-01-01"[:10])


def _span(dates: Iterable[str]) -> list[str]:
    """The days between which the plot lies."""
    days = [_day(text) for text in dates]
    room = timedelta(BESIDE)
    return [(min(days) - room).isoformat(), (max(days) + room).isoformat()]


def _key(tier: str) -> plot.Trace:
    """An entry of the legend that says what a mark means."""
    told = {"reported": "reported by a paper", "re-evaluated": "re-evaluated by certboard"}
    return plot.scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={"symbol": MARKER[tier], "size": 10, "color": "#8a8a80"},
        name=told[tier],
        hoverinfo="skip",
    )


_PROVED = {
    "deterministic": "certified by proof",
    "probabilistic": "certified with high probability",
    "empirical": "under attack, nothing proved",
}


def _kind_key(kind: str, colour: str) -> plot.Trace:
    """An entry of the legend that says what a line means."""
    return plot.scatter(
        x=[None],
        y=[None],
        mode="lines",
        line={"dash": DASHES[kind], "width": 2, "color": colour},
        name=_PROVED[kind],
        hoverinfo="skip",
    )


def draw(board: Board, subject: str) -> Drawing | None:
    """The settings that the literature followed over time, or one setting with several dates."""
    drawn = _series(board, subject)
    dates = {point.date for one in drawn for point in one.points}
    if len(dates) < 2:  # progress needs a before and an after
        return None
    until = max(dates)
    chart = figure(
        {
            "yaxis": {"title": {"text": "Accuracy (%)"}, "range": [0, 106]},
            "xaxis": {"type": "date"},
            "height": 340 if subject else 500,
        }
    )
    present = [(one, tier) for one in drawn for tier in TIERS if one.of(tier)]
    chart.data.extend(_steps(one, tier, until) for one, tier in present)
    chart.data.extend(_marks(one, tier) for one, tier in present)
    if not subject:
        span = _span(dates)
        chart.layout["xaxis"] = {"type": "date", "range": span}
        chart.layout["margin"] = {"l": 52, "r": ROOM, "t": 12, "b": 92}
        chart.add_trace(_names(drawn, span[1]))
    colours = {one.kind: one.colour if subject else "#8a8a80" for one in drawn}
    chart.data.extend(_kind_key(kind, colours[kind]) for kind in KINDS if kind in colours)
    used = {tier for _, tier in present}
    chart.data.extend(_key(tier) for tier in TIERS if tier in used)
    table = [
        [one.setting, one.kind, point.date, f"{point.accuracy:.2f}", point.tier, point.title]
        for one, tier in present
        for point in state_of_the_art(one.of(tier))
    ]
    return Drawing(chart, ("Setting", "Kind", "Date", "Accuracy (%)", "Tier", "Title"), table)


CHART = Chart(
    name="progress",
    title="Progress",
    caption="Steps are the state of the art: accuracy certified by proofs (solid), certified with "
    "high probability (dashes and dots), and under the strongest attack tried (dotted). "
    "Results on too few examples for a rank are left out. Open circles are numbers "
    "reported by papers, and thin lines their steps; filled diamonds and thick lines were "
    "re-evaluated by certboard. The two never share a line. Small circles did not improve "
    "the state of the art. A paper is dated by month where the collection or its preprint "
    "gives one, and otherwise by the start of its year.",
    pages=("home", "setting"),
    draw=draw,
    order=10,
)
