"""How far each example of a smoothed model is certified."""

from collections import Counter
from math import floor
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.website import plot
from leaderboard.website.charts import COLOURS, SERIES, Chart, Drawing, figure

if TYPE_CHECKING:
    from leaderboard.results.store import Results

_BINS = 40


def _chosen(board: Board, subject: str) -> list["Results"]:
    """One result a dataset and norm: settings that differ in the radius share their radii."""
    found: dict[tuple[str, str], Results] = {}
    for result in board.results_of.get(subject, ()):
        place = board.settings[result.provenance.setting]
        if result.tally.smoothed:
            found[place.dataset, place.norm] = result  # in the order of radii: the largest stays
    return list(found.values())


def bins(result: "Results", width: float) -> tuple[dict[int, int], int]:
    """Examples by the number of their bin, and how many have no radius for the right class."""
    tally = result.tally
    reaching = (*tally.reaching_each, 0)
    counts: Counter[int] = Counter()
    for place, radius in enumerate(tally.reached):
        counts[floor(float(radius) / width)] += reaching[place] - reaching[place + 1]
    return dict(sorted(counts.items())), tally.examples - reaching[0]


def draw(board: Board, subject: str) -> Drawing | None:
    """A histogram for each dataset and norm in which the submission was sampled."""
    chosen = _chosen(board, subject)
    if not chosen:
        return None
    farthest = [float(radii[-1]) for result in chosen if (radii := result.tally.reached)]
    width = max(farthest, default=1.0) / _BINS
    drawn = figure(
        {
            "barmode": "overlay",
            "bargap": 0.04,
            "yaxis": {"title": {"text": "Examples"}},
            "xaxis": {
                "title": {"text": "Certified radius"},
                "range": [-2 * width, (_BINS + 1.5) * width],
            },
            "height": 340,
        }
    )
    table: list[list[str]] = []
    for position, result in enumerate(chosen):
        title = board.settings[result.provenance.setting].title
        counts, none = bins(result, width)
        colour = COLOURS["certified"] if position == 0 else SERIES[position % len(SERIES)]
        question = title.rsplit(" · ", 1)[0]
        drawn.add_trace(_bars(question, counts, width, colour))
        drawn.add_trace(_nothing(question, none, width))
        table.append([title, "none", str(none)])
        table += [
            [title, f"{at * width:.4g} to {(at + 1) * width:.4g}", str(count)]
            for at, count in counts.items()
        ]
    return Drawing(drawn, ("Setting", "Radius", "Examples"), table)


def _bars(title: str, counts: dict[int, int], width: float, colour: str) -> plot.Trace:
    return plot.bar(
        x=[round((at + 0.5) * width, 6) for at in counts],
        y=list(counts.values()),
        width=width,
        marker={"color": colour},
        opacity=0.85,
        name=f"{title}: right class",
        hovertemplate="about %{x:.3f}: %{y} examples<extra></extra>",
    )


def _nothing(title: str, none: int, width: float) -> plot.Trace:
    """The examples without a radius, left of zero."""
    return plot.bar(
        x=[-width],
        y=[none],
        width=width,
        marker={"color": COLOURS["unknown"]},
        name=f"{title}: abstained or wrong",
        hovertemplate="no radius: %{y} examples<extra></extra>",
    )


CHART = Chart(
    name="radius-histogram",
    title="Certified radii, example by example",
    caption="The number of examples by certified radius of the correct class. The bar left of "
    "zero counts those without a radius: the model abstained, or its prediction is wrong. "
    "A peak at the right end is the largest radius that the number of samples allows. If "
    "several settings differ only in their radius, the one with the largest radius is "
    "shown; a procedure that stops early stops at that radius.",
    pages=("submission",),
    draw=draw,
    order=25,
)
