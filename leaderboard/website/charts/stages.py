"""What decided how many examples, setting by setting, for one submission."""

from collections import Counter
from collections.abc import Iterable

from leaderboard.board.board import Board
from leaderboard.website import plot
from leaderboard.website.charts import COLOURS, STATUSES, Chart, Drawing, figure, plain

# A narrower share of a bar, in percent, has no room for its name.
READABLE = 14


def draw(board: Board, subject: str) -> Drawing | None:
    """One bar a setting, cut into what each stage proved, broke or left open."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    sizes: dict[str, int] = {}
    for result in board.results_of.get(subject, ()):
        title = board.settings[result.provenance.setting].title
        sizes[title] = result.tally.examples
        for decided, count in result.tally.decided.items():
            counts.setdefault(decided, {})[title] = count
    if not counts:
        return None
    drawn = figure(
        {
            "barmode": "stack",
            "bargap": 0.45,
            "xaxis": {"title": {"text": "Examples (%)"}, "range": [0, 100]},
            "yaxis": {"automargin": True, "autorange": "reversed"},
            "height": 170 + 46 * len(sizes),
        }
    )
    table: list[list[str]] = []
    order = sorted(counts, key=lambda key: _place(key, counts[key]))
    for (status, stage), shade in _shades(order).items():
        by_setting = counts[status, stage]
        drawn.add_trace(_bar(status, stage, by_setting, sizes, shade))
        table += [[title, status, stage, str(count)] for title, count in by_setting.items()]
    return Drawing(drawn, ("Setting", "Status", "Decided by", "Examples"), sorted(table))


def _place(key: tuple[str, str], by_setting: dict[str, int]) -> tuple[int, int, str]:
    """Certified first; within a status what decided most first."""
    status, stage = key
    return STATUSES.index(status), -sum(by_setting.values()), stage


def _bar(
    status: str, stage: str, by_setting: dict[str, int], sizes: dict[str, int], shade: str
) -> plot.Trace:
    titles, name = list(sizes), plain(stage)
    counted = [by_setting.get(title, 0) for title in titles]
    shares = [100 * count / sizes[title] for count, title in zip(counted, titles, strict=True)]
    return plot.bar(
        y=titles,
        x=shares,
        customdata=counted,
        orientation="h",
        name=f"{status} by {name}" if status != "unknown" else f"unknown after {name}",
        marker={"color": shade, "line": {"width": 1, "color": "rgba(255,255,255,0.6)"}},
        text=[name if share >= READABLE else "" for share in shares],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        hovertemplate="%{fullData.name}: %{customdata} examples (%{x:.1f} %)<extra></extra>",
        legendgroup=status,
    )


def _shades(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Several stages of one status keep its colour and differ by strength and name."""
    seen: Counter[str] = Counter()
    shades = {}
    for status, stage in keys:
        red, green, blue = (int(COLOURS[status][start : start + 2], 16) for start in (1, 3, 5))
        shades[status, stage] = (
            f"rgba({red},{green},{blue},{max(0.4, 1 - 0.22 * seen[status]):.2f})"
        )
        seen[status] += 1
    return shades


CHART = Chart(
    name="stages",
    title="What decided",
    caption="Evaluators run from the cheapest to the most expensive, and each "
    "example is decided by the first that can.",
    pages=("submission",),
    draw=draw,
    order=30,
)
