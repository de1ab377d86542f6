"""How far are we: certified and empirical accuracy by date, with the state of the art as steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leaderboard import plot
from leaderboard.board import Board
from leaderboard.charts import MARKER, SERIES, Chart, Drawing, figure, plain
from leaderboard.ranking import Standing

# The collection whose settings the home page follows.
FOLLOWED = "SoK leaderboard, progress"


@dataclass(frozen=True)
class Point:
    """One result on the time axis; accuracy in percent."""

    date: str
    accuracy: float
    title: str
    tier: str


def points(lines: Iterable[Standing], *, empirical: bool) -> list[Point]:
    """The dated results of one setting, oldest first; certified ones, or those under attack."""
    found = []
    for line in lines:
        accuracy = line.attack if empirical else line.certified
        if accuracy is None or not line.date or (line.kind == "empirical") != empirical:
            continue
        found.append(Point(line.date, round(100 * accuracy, 2), line.title, line.tier))
    return sorted(found, key=lambda point: (point.date, point.accuracy, point.title))


def state_of_the_art(dated: Sequence[Point]) -> list[Point]:
    """The points that were better than everything before them."""
    best: list[Point] = []
    for point in dated:
        if not best or point.accuracy > best[-1].accuracy:
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


def _add(drawn: plot.Figure, dated: Sequence[Point], label: str, colour: str, dash: str) -> None:
    best = state_of_the_art(dated)
    latest = dated[-1].date
    drawn.add_trace(
        plot.scatter(
            x=[point.date for point in best] + [latest],
            y=[point.accuracy for point in best] + [best[-1].accuracy],
            mode="lines",
            line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
            name=label,
            legendgroup=label,
            hoverinfo="skip",
        )
    )
    drawn.add_trace(
        plot.scatter(
            x=[point.date for point in dated],
            y=[point.accuracy for point in dated],
            mode="markers",
            marker={
                "symbol": [MARKER[point.tier] for point in dated],
                "size": [11 if point.tier == "re-evaluated" else 7 for point in dated],
                "color": colour,
            },
            text=[f"{plain(point.title)} ({point.tier})" for point in dated],
            hovertemplate="%{y:.2f} % · %{x|%b %Y}<br>%{text}<extra></extra>",
            name=label,
            legendgroup=label,
            showlegend=False,
        )
    )


def draw(board: Board, subject: str) -> Drawing | None:
    """The settings that the literature followed over time, or one setting with several dates."""
    drawn = figure(
        {
            "yaxis": {"title": {"text": "Accuracy (%)"}, "range": [0, 101]},
            "xaxis": {"type": "date"},
            "height": 460 if not subject else 340,
        }
    )
    table: list[list[str]] = []
    dates: set[str] = set()
    for position, name in enumerate(_settings(board, subject)):
        setting, lines = board.settings[name], board.standings[name]
        for empirical, dash in ((False, "solid"), (True, "dot")):
            dated = points(lines, empirical=empirical)
            if not dated:
                continue
            kind = "empirical" if empirical else "certified"
            label = kind if subject else f"{setting.title}, {kind}"
            dates.update(point.date for point in dated)
            _add(drawn, dated, label, SERIES[position % len(SERIES)], dash)
            table += [
                [setting.title, kind, point.date, f"{point.accuracy:.2f}", point.tier, point.title]
                for point in state_of_the_art(dated)
            ]
    if len(dates) < 2:  # progress needs a before and an after
        return None
    return Drawing(drawn, ("Setting", "Kind", "Date", "Accuracy (%)", "Tier", "Title"), table)


CHART = Chart(
    name="progress",
    title="Progress",
    caption="Steps are the state of the art: certified accuracy (solid) and accuracy under the "
    "strongest attack tried (dotted). Filled diamonds were re-evaluated by certboard, open circles "
    "are numbers reported by papers; a paper known by its year only stands at the year's start.",
    pages=("home", "setting"),
    draw=draw,
    order=10,
)
